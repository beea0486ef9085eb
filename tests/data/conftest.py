"""Tiny datasets, written to order."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 24, 80
DATE, DRIVE = "2011_09_26", "2011_09_26_drive_0001_sync"
CAM = f"""calib_time: 09-Jan-2012 13:57:47
S_rect_02: {WIDTH} {HEIGHT}
R_rect_00: 1 0 0 0 1 0 0 0 1
P_rect_02: 50 0 39.5 0 0 50 11.5 0 0 0 1 0
P_rect_03: 50 0 39.5 -25 0 50 11.5 0 0 0 1 0
"""
VELO = """calib_time: 15-Mar-2012 11:37:16
R: 0 -1 0 0 0 -1 1 0 0
T: 0 0 0
"""


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def write_raw(root: Path, frames: int = 4, drive: str = DRIVE, noisy: bool = True, exact: bool = False) -> Path:
    """Write a drive in KITTI raw's layout; returns its folder."""
    rng = np.random.default_rng(0)
    folder = root / DATE / drive
    folder.mkdir(parents=True)
    (root / DATE / "calib_cam_to_cam.txt").write_text(CAM)
    (root / DATE / "calib_velo_to_cam.txt").write_text(VELO)
    shape = (HEIGHT, WIDTH)
    for i in range(frames):
        name = f"data/{i:010d}.png"
        save(folder / "image_02" / name, rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
        if noisy:
            save(folder / "segmentation_02" / name, rng.integers(0, 19, shape, dtype=np.uint8))
            save(folder / f"segmentation_02/entropy/{i:010d}.png", rng.integers(0, 256, shape, dtype=np.uint8))
        if exact:
            save(folder / "labels_02" / name, rng.integers(0, 19, shape, dtype=np.uint8))
            save(folder / "depth_02" / name, np.full(shape, 256 * (i + 1), dtype=np.uint16))
            save(folder / "moving_02" / name, (rng.random(shape) < 0.5).astype(np.uint8) * 255)
    if exact:
        (folder / "poses_02.txt").write_text(
            "".join(f"1 0 0 0 0 1 0 0 0 0 1 {2.0 * i}\n" for i in range(frames)),
        )
    return folder


@pytest.fixture
def raw_drive(tmp_path: Path) -> Callable[..., Path]:
    return lambda **options: write_raw(tmp_path, **options)


@pytest.fixture(scope="session")
def write_drive() -> Callable[..., Path]:
    """``raw_drive`` for fixtures that several tests share: takes the root."""
    return write_raw


@pytest.fixture
def write_scan() -> Callable[..., Path]:
    def write(path: Path, points: list[list[float]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.array(points, dtype="<f4").tofile(path)
        return path

    return write
