"""Measure flicker and error of predicted depth on rendered drives, with and without stabilisation.

python benchmarks/flicker.py WEIGHTS DRIVES [--memory 0 0.6]

DRIVES: what `semdepth synthesise DRIVES` wrote. Every drive is one video. AbsRel is judged with the median scaling of the
field, image by image, and once with a single scale a drive, which a scale that wanders cannot hide from.
"""

import argparse
from pathlib import Path

import numpy as np

from semdepth.data.calibration import matrix, pinhole, read_calibration, read_poses
from semdepth.evaluation.flicker import flicker
from semdepth.images import read_depth_png, read_image
from semdepth.inference.predictor import Predictor, load
from semdepth.inference.stabilise import Stabiliser

MAX_DEPTH = 80.0


def judge(predictor: Predictor, drive: Path, memory: float | None) -> tuple[float, float, float]:
    """Return flicker, AbsRel by image and AbsRel by drive."""
    poses = read_poses(drive / "poses_02.txt")
    file = drive.parent / "calib_cam_to_cam.txt"
    camera = pinhole(matrix(read_calibration(file), "P_rect_02", (3, 4), file), file)
    frames = sorted((drive / "image_02/data").glob("*.png"))
    steady = None if memory is None else Stabiliser(memory)
    jumps, by_image, pairs, past = [], [], [], None
    for number, path in enumerate(frames):
        pixels = read_image(path)
        prediction = predictor.predict(pixels)
        depth = (prediction if steady is None else steady(pixels, prediction)).depth
        truth = read_depth_png(drive / "depth_02/data" / path.name)
        if past is not None:
            motion = np.linalg.inv(poses[number - 1]) @ poses[number]
            jumps.append(flicker(depth, past[0], truth, past[1], camera, motion))
        past = depth, truth
        known = (truth > 0) & (truth < MAX_DEPTH)
        by_image.append(abs_rel(depth[known], truth[known]))
        pairs.append((depth[known], truth[known]))
    by_drive = abs_rel(*(np.concatenate(column) for column in zip(*pairs, strict=True)))
    return float(np.nanmean(jumps)), float(np.mean(by_image)), by_drive


def abs_rel(depth: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean relative error after median scaling."""
    scaled = np.clip(depth * np.median(truth) / np.median(depth), 1e-3, MAX_DEPTH)
    return float(np.mean(np.abs(scaled - truth) / truth))


def main() -> None:
    """Print a row of a Markdown table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("drives", type=Path)
    parser.add_argument("--memory", type=float, nargs="+", default=[0.0, 0.6])
    arguments = parser.parse_args()
    predictor = load(arguments.weights)
    drives = sorted(p.parent for p in arguments.drives.glob("*/*_sync/poses_02.txt"))
    print(f"{len(drives)} drives\n\n| memory | flicker | AbsRel, scaled by image | AbsRel, one scale a drive |")
    print("|---|---|---|---|")
    for memory in (None, *arguments.memory):
        rows = np.array([judge(predictor, drive, memory) for drive in drives])
        cells = [f"{mean:.4f} ± {spread:.4f}" for mean, spread in zip(rows.mean(0), rows.std(0), strict=True)]
        print(f"| {'no stabilisation' if memory is None else memory} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
