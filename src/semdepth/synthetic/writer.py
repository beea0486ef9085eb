"""Write drives to disk in KITTI raw's layout, with a segmenter's noisy labels, and the exact truth beside.

A drive appears under its final name only when it is complete; complete drives are skipped when the command runs again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from semdepth.runtime import InputError

from .drive import Drive, Split, render_drive, world_seed
from .label_noise import DEFAULT_NOISE, LabelNoiseConfig, corrupt_labels
from .style import DEFAULT_WORLD, WorldConfig

DATES: dict[Split, str] = {"train": "2026_01_01", "val": "2026_01_02", "test": "2026_01_03", "foreign": "2026_01_04"}
"""Every split has its own date, as every KITTI date has its own calibration."""
DEPTH_SCALE = 256
"""16-bit depth images hold metres times this, as KITTI's do; 0: unknown."""


def drive_folder(out: Path, number: int, date: str) -> Path:
    """Return where a drive is written."""
    return out / date / f"{date}_drive_{number:04d}_sync"


def write_drive(
    drive: Drive,
    out: Path,
    *,
    number: int = 0,
    date: str = DATES["train"],
    noise: LabelNoiseConfig = DEFAULT_NOISE,
    seed: int = 0,
) -> Path:
    """Write a drive, unless it is there already.

    ``image_02/data``, ``segmentation_02/data`` (noisy trainIds), ``segmentation_02/entropy`` (255·(1 − confidence)) and
    the truth: ``depth_02/data`` (16 bit, metres × 256, 0 unknown), ``labels_02/data``, ``moving_02/data`` (0 or 255) as
    ``%010d.png``; ``poses_02.txt`` (a line per frame: the first three rows of world_from_camera).

    Args:
        drive: the frames.
        out: the data set's root.
        number: NNNN of the drive's name.
        date: its date; all drives of a date share one camera.
        noise: how wrong the labels are.
        seed: of the labels' errors.

    Returns:
        The drive's folder.

    Raises:
        InputError: if the date already holds another camera, or the folder cannot be written.
    """
    folder = drive_folder(out, number, date)
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_calibration(folder.parent / "calib_cam_to_cam.txt", drive)
        _write_frames(drive, partial, noise, seed)
        partial.rename(folder)
    except OSError as error:
        if not folder.is_dir():
            raise InputError(
                f"{folder}: cannot be written ({error.strerror}); check the path and the free space"
            ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def synthesise(
    out: Path,
    split: Split,
    drives: int,
    frames: int,
    *,
    height: int = 192,
    width: int = 640,
    config: WorldConfig = DEFAULT_WORLD,
    noise: LabelNoiseConfig = DEFAULT_NOISE,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render a split's drives and write them; drives that are there already are not rendered again.

    Args:
        out: the data set's root.
        split: which worlds; ``foreign`` implies the foreign style.
        drives: how many drives.
        frames: frames per drive.
        height: of the images, in pixels.
        width: of the images, in pixels.
        config: what the worlds are like.
        noise: how wrong the labels are.
        device: where to render.
        progress: called with the drive's index and its number of finished frames.

    Returns:
        The drives' folders.

    Raises:
        InputError: as `render_drive` and `write_drive`.
    """
    if split == "foreign":
        config = replace(config, style="foreign")
    folders = []
    for index in range(drives):
        folder = drive_folder(out, index, DATES[split])
        if not folder.is_dir():
            seed = world_seed(split, index)
            report = None if progress is None else (lambda done, index=index: progress(index, done))
            drive = render_drive(seed, frames, height, width, config=config, device=device, progress=report)
            write_drive(drive, out, number=index, date=DATES[split], noise=noise, seed=seed)
        folders.append(folder)
    return folders


def _write_calibration(path: Path, drive: Drive) -> None:
    height, width = drive.images.shape[-2:]
    k = drive.intrinsics.double().cpu().numpy()
    identity = np.eye(3)
    projection = np.concatenate([k, np.zeros((3, 1))], axis=1)
    rows = {
        "S_rect_02": np.array([width, height]),
        "R_rect_00": identity,
        "P_rect_00": projection,
        "P_rect_02": projection,
    }
    lines = ["calib_time: 01-Jan-2026 00:00:00", "corner_dist: 0.000000e+00"]
    lines += [f"{name}: {' '.join(f'{v:.6e}' for v in values.ravel())}" for name, values in rows.items()]
    text = "\n".join(lines) + "\n"
    if path.exists():
        if path.read_text() != text:
            raise InputError(f"{path}: holds another camera or image size; write to another folder")
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.rename(path)


def _write_frames(drive: Drive, folder: Path, noise: LabelNoiseConfig, seed: int) -> None:
    labels, confidence = corrupt_labels(drive.labels, seed, noise, drive.instances)
    depth = (drive.depth[:, 0].double() * DEPTH_SCALE).round().clamp(0, 65535)
    layers: dict[str, npt.NDArray[np.generic]] = {
        "image_02/data": _array(drive.images.permute(0, 2, 3, 1)),
        "segmentation_02/data": _array(labels),
        "segmentation_02/entropy": _array((255 * (1 - confidence)).round()).astype(np.uint8),
        "depth_02/data": _array(depth).astype(np.uint16),
        "labels_02/data": _array(drive.labels),
        "moving_02/data": _array(drive.moving).astype(np.uint8) * 255,
    }
    for name, frames in layers.items():
        (folder / name).mkdir(parents=True)
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / name / f"{index:010d}.png", compress_level=3)
    poses = drive.world_from_camera[:, :3].reshape(-1, 12).double().cpu().numpy()
    np.savetxt(folder / "poses_02.txt", poses, fmt="%.9g")


def _array(tensor: Tensor) -> npt.NDArray[np.generic]:
    return np.ascontiguousarray(tensor.cpu().numpy())
