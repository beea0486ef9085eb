"""Rendered drives whose camera swings like one in a hand, with wrong focal lengths in their calibration.

python benchmarks/swinging_drives.py worlds/swing --factor 1.3

Yaw swings by ±7° and pitch by ±1.5° about the direction of the drive, up to 3.1° a frame: enough to see the focal length by.
``docs/results/learnt_focal.md`` says what is learnt from them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from semdepth.synthetic import scene
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.world import World
from semdepth.synthetic.writer import DATES, synthesise

FRAMES, HEIGHT, WIDTH = 12, 64, 192
PERIOD = 14.0
"""Frames of one swing to and fro."""
YAW_DEG, PITCH_DEG = 7.0, 1.5

Array = npt.NDArray[np.float64]
steady = scene.camera_poses


def swinging(world: World, frames: Array) -> tuple[Array, Array]:
    """Return ``scene.camera_poses`` with a swing on top: every drive starts it at another phase."""
    pose, s = steady(world, frames)
    rate = 2 * np.pi / PERIOD
    yaw = np.radians(YAW_DEG) * np.sin(rate * frames + world.phases[0] * 3)
    pitch = np.radians(PITCH_DEG) * np.sin(rate * 1.37 * frames + world.phases[1] * 5)
    turned = pose.copy()
    turned[:, :3, :3] = pose[:, :3, :3] @ _turn(yaw, pitch)
    return turned, s


def _turn(yaw: Array, pitch: Array) -> Array:
    cy, sy, cp, sp, zero, one = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.zeros_like(yaw),
        np.ones_like(yaw),
    )
    about_y = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).reshape(-1, 3, 3)
    about_x = np.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1).reshape(-1, 3, 3)
    turned: Array = about_y @ about_x
    return turned


def scale_focal_lengths(calibration: Path, factor: float) -> float:
    """Multiply both focal lengths of a KITTI calibration by ``factor``; return the true fx in pixels."""
    lines = calibration.read_text().splitlines()
    true = 0.0
    for number, line in enumerate(lines):
        name, _, values = line.partition(": ")
        if name.startswith("P_rect_"):
            matrix = np.array(values.split(), dtype=float).reshape(3, 4)
            true = float(matrix[0, 0])
            matrix[(0, 1), (0, 1)] *= factor
            lines[number] = f"{name}: " + " ".join(f"{value:.6e}" for value in matrix.ravel())
    calibration.write_text("\n".join(lines) + "\n")
    return true


def main() -> None:
    """Render the drives and spoil their calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that receives the drives; must not exist")
    parser.add_argument("--factor", type=float, default=1.3, help="what the true focal lengths are multiplied by")
    parser.add_argument("--drives", type=int, default=30)
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists; delete it or give another folder")
    config = WorldConfig(scene="simple", min_speed=6.0, traffic=0.3)
    with mock.patch.object(scene, "camera_poses", swinging), Progress() as progress:
        task = progress.add_task("Rendering", total=options.drives * FRAMES)
        synthesise(
            options.out, "train", options.drives, FRAMES, height=HEIGHT, width=WIDTH, config=config,
            progress=lambda index, done: progress.update(task, completed=index * FRAMES + done),
        )  # fmt: skip
    true = scale_focal_lengths(options.out / DATES["train"] / "calib_cam_to_cam.txt", options.factor)
    print(f"{options.out}: {options.drives} drives; fx {true:.2f} px, said to be {options.factor * true:.2f} px")


if __name__ == "__main__":
    main()
