"""How the field's research code usually judges depth against lidar: image after image, the projection's collisions one by one.

Written for this comparison from the published protocol (Eigen et al. 2014; Garg et al. 2016; Zhou et al. 2017); no code of theirs
is in it. Conventions of the published numbers are kept: pixel = round(projection) − 1, and pixels told apart by
y·(W − 1) + x.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

MIN_DEPTH, MAX_DEPTH = 1e-3, 80.0


def lidar_depth(calib_dir: Path, scan: Path, camera: int = 2) -> np.ndarray:
    """Return the (H, W) depth of a scan in a rectified camera, 0 = no point."""
    cam, velo = read_rows(calib_dir / "calib_cam_to_cam.txt"), read_rows(calib_dir / "calib_velo_to_cam.txt")
    velo_to_cam = np.vstack((np.hstack((velo["R"].reshape(3, 3), velo["T"][:, None])), [0, 0, 0, 1.0]))
    rectify = np.eye(4)
    rectify[:3, :3] = cam["R_rect_00"].reshape(3, 3)
    projection = np.dot(np.dot(cam[f"P_rect_{camera:02d}"].reshape(3, 4), rectify), velo_to_cam)
    width, height = cam[f"S_rect_{camera:02d}"].astype(np.int32)
    points = np.fromfile(scan, dtype=np.float32).reshape(-1, 4).astype(np.float64)
    points[:, 3] = 1.0
    points = points[points[:, 0] >= 0, :]
    seen = np.dot(projection, points.T).T
    seen[:, :2] = seen[:, :2] / seen[:, 2][:, None]
    seen[:, :2] = np.round(seen[:, :2]) - 1
    valid = (seen[:, 0] >= 0) & (seen[:, 1] >= 0) & (seen[:, 0] < width) & (seen[:, 1] < height)
    seen = seen[valid]
    depth = np.zeros((height, width))
    depth[seen[:, 1].astype(int), seen[:, 0].astype(int)] = seen[:, 2]
    indices = seen[:, 1] * (width - 1) + seen[:, 0]
    shared = [index for index, count in Counter(indices).items() if count > 1]
    for index in shared:
        at = np.where(indices == index)[0]
        x, y = int(seen[at[0], 0]), int(seen[at[0], 1])
        depth[y, x] = seen[at, 2].min()
    depth[depth < 0] = 0
    return depth


def read_rows(path: Path) -> dict[str, np.ndarray]:
    """Return the rows of numbers of a calibration file."""
    rows = {}
    for line in path.read_text().splitlines():
        key, _, values = line.partition(":")
        try:
            rows[key] = np.array([float(value) for value in values.split()])
        except ValueError:  # the date
            continue
    return rows


def image_errors(truth: np.ndarray, disparity: np.ndarray) -> tuple[float, ...]:
    """Return AbsRel, SqRel, RMSE, RMSElog and the three accuracies of one image, after median scaling."""
    height, width = truth.shape
    prediction = 1 / np.array(Image.fromarray(disparity).resize((width, height), Image.Resampling.BILINEAR))
    mask = np.logical_and(truth > MIN_DEPTH, truth < MAX_DEPTH)
    top, bottom = int(0.40810811 * height), int(0.99189189 * height)
    left, right = int(0.03594771 * width), int(0.96405229 * width)
    inside = np.zeros(mask.shape)
    inside[top:bottom, left:right] = 1
    mask = np.logical_and(mask, inside)
    depth, true = prediction[mask], truth[mask]
    depth = depth * (np.median(true) / np.median(depth))
    depth[depth < MIN_DEPTH] = MIN_DEPTH
    depth[depth > MAX_DEPTH] = MAX_DEPTH
    worst = np.maximum(true / depth, depth / true)
    return (
        np.mean(np.abs(true - depth) / true),
        np.mean((true - depth) ** 2 / true),
        np.sqrt(np.mean((true - depth) ** 2)),
        np.sqrt(np.mean((np.log(true) - np.log(depth)) ** 2)),
        (worst < 1.25).mean(),
        (worst < 1.25**2).mean(),
        (worst < 1.25**3).mean(),
    )


def evaluate(scans: list[tuple[Path, Path]], disparities: list[np.ndarray]) -> np.ndarray:
    """Return the seven mean errors over images.

    Args:
        scans: the date's folder and the scan, by image.
        disparities: (h, w) predictions; image i takes the i-th, round and round.
    """
    rows = []
    for i, (calib_dir, scan) in enumerate(scans):
        rows.append(image_errors(lidar_depth(calib_dir, scan), disparities[i % len(disparities)]))
    return np.array(rows).mean(0)
