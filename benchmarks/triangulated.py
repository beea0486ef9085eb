"""Judge weights on real frames that have camera poses and no lidar: depth is triangulated where several frames agree.

    python benchmarks/triangulated.py SEQUENCE POSES WEIGHTS [WEIGHTS ...]

SEQUENCE: a folder of KITTI odometry's layout with calib.txt and image_0; POSES: its file of poses. Optical flow (OpenCV's
DIS) finds each pixel in the frames before and after; its depth is the one that fits both. Kept is what flow finds both ways,
what lands within 0.7 pixel in both, and moves by at least five pixels against what is infinitely far. The scene must stand
still.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from semdepth.data.calibration import matrix, read_calibration, read_poses
from semdepth.evaluation.baselines import MeanDepthMap, constant_depth
from semdepth.evaluation.metrics import mean_errors
from semdepth.evaluation.protocols import kitti_eigen
from semdepth.images import read_image
from semdepth.inference.predictor import load

OFFSETS = (-1, 1)
"""Frames to look for a pixel in."""
TOLERANCE, PARALLAX = 0.7, 5.0
"""Pixels."""
NEAREST, FARTHEST = 2.0, 80.0
"""Metres."""
EVERY = 3
"""One of so many frames is judged."""

Array = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]


def matches(target: Grey, source: Grey) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return where each pixel of ``target`` lies in ``source``, (H, W, 2), and whether the way back agrees."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, back = dis.calc(target, source, None), dis.calc(source, target, None)
    y, x = np.mgrid[: target.shape[0], : target.shape[1]].astype(np.float32)
    at = np.stack([x, y], axis=-1) + there
    returned = cv2.remap(
        back, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1e6
    )
    return at.astype(np.float64), np.hypot(*np.moveaxis(there + returned, -1, 0)) < TOLERANCE


def triangulate(frames: list[Grey], poses: Array, camera: Array, index: int) -> Array:
    """Return (H, W) metres along the optical axis, 0 where unknown."""
    target = frames[index]
    height, width = target.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    rays = np.stack([(x - camera[0, 2]) / camera[0, 0], (y - camera[1, 2]) / camera[1, 1], np.ones_like(x)], axis=-1)
    top, below = np.zeros((height, width)), np.full((height, width), 1e-12)
    good, views = np.ones((height, width), dtype=bool), []
    for offset in OFFSETS:
        at, agrees = matches(target, frames[index + offset])
        good &= agrees
        motion = np.linalg.inv(poses[index + offset]) @ poses[index]  # source_from_target
        far, near = rays @ (camera @ motion[:3, :3]).T, camera @ motion[:3, 3]
        for axis in (0, 1):
            # (far·d + near)[axis] = at[axis]·(far·d + near)[2] is linear in the depth d.
            a = far[..., axis] - at[..., axis] * far[..., 2]
            b = near[axis] - at[..., axis] * near[2]
            top, below = top - a * b, below + a * a
        views.append((at, far, near))
    depth = top / below
    moved = np.zeros((height, width))
    for at, far, near in views:
        point = far * depth[..., None] + near
        good &= np.hypot(*np.moveaxis(point[..., :2] / point[..., 2:] - at, -1, 0)) < TOLERANCE
        moved = np.maximum(moved, np.hypot(*np.moveaxis(at - far[..., :2] / far[..., 2:], -1, 0)))
    good &= (moved > PARALLAX) & (depth > NEAREST) & (depth < FARTHEST)
    return np.where(good, depth, 0.0)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("poses", type=Path)
    parser.add_argument("weights", nargs="+")
    arguments = parser.parse_args()
    file = arguments.sequence / "calib.txt"
    camera = matrix(read_calibration(file), "P0", (3, 4), file)[:, :3]
    poses = read_poses(arguments.poses)
    paths = sorted((arguments.sequence / "image_0").iterdir())
    images = [read_image(path) for path in paths]
    frames = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    chosen = range(max(OFFSETS), len(frames) - max(OFFSETS), EVERY)
    truths = [triangulate(frames, poses, camera, index).astype(np.float32) for index in chosen]
    known = np.mean([(truth > 0).mean() for truth in truths])
    print(
        f"{len(truths)} frames, {known:.0%} of the pixels known, median {np.median(truths[0][truths[0] > 0]):.1f} m\n"
    )
    rows = {"best constant depth": [constant_depth(*truth.shape) for truth in truths]}
    mean_map = MeanDepthMap()
    for truth in truths:
        mean_map.update(truth)
    rows["mean depth map of these very frames (an oracle)"] = [mean_map.depth(*truth.shape) for truth in truths]
    for name in arguments.weights:
        predictor = load(name)
        rows[name] = [predictor.predict(images[index]).depth for index in chosen]
    print("| | AbsRel | RMSE | δ<1.25 |\n|---|---:|---:|---:|")
    for name, depths in rows.items():
        errors = mean_errors(kitti_eigen(truth, depth).errors for truth, depth in zip(truths, depths, strict=True))
        print(f"| {name} | {errors.abs_rel:.3f} | {errors.rmse:.3f} | {errors.delta1:.3f} |")


if __name__ == "__main__":
    main()
