"""Write drives to disk in KITTI raw's layout, with a segmenter's noisy labels, and the exact truth beside.

A drive appears under its final name only when it is complete; complete drives are skipped when the command runs again,
with the same settings: a date's folder says in ``synthesise.json`` what its drives were rendered with.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from semdepth.runtime import InputError, parse_json

from .drive import Drive, Split, render_drive, world_seed
from .label_noise import DEFAULT_NOISE, LabelNoiseConfig, corrupt_labels
from .style import DEFAULT_WORLD, WorldConfig

DATES: dict[Split, str] = {"train": "2026_01_01", "val": "2026_01_02", "test": "2026_01_03", "foreign": "2026_01_04"}
"""Every split has its own date, as every KITTI date has its own calibration."""
DEPTH_SCALE = 256
"""16-bit depth images hold metres times this, as KITTI's do; 0: unknown."""
SETTINGS = "synthesise.json"
"""The file in a date's folder that says what its drives were rendered with."""


MOST_DRIVES = 10_000
"""Of a split: KITTI's names have four digits for them."""


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
    first: int = 0,
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
        first: number of the first drive: drive n of a split is the same world wherever it is rendered.
        device: where to render.
        progress: called with how many drives are complete, and how many frames of the next one.

    Returns:
        The drives' folders.

    Raises:
        InputError: as `render_drive` and `write_drive`; or if the folder holds drives of this split that were rendered
            with other settings (their number may grow).
    """
    if split == "foreign":
        config = replace(config, style="foreign")
    if drives < 1:
        raise InputError(f"drives {drives}: must be at least 1")
    if first + drives > MOST_DRIVES:
        raise InputError(f"drives {first} to {first + drives - 1}: a split has {MOST_DRIVES}, numbered from 0")
    settings = _flat(
        {"frames": frames, "height": height, "width": width, "world": asdict(config), "noise": asdict(noise)}
    )
    _check_settings(out / DATES[split], settings)
    folders = []
    for done, index in enumerate(range(first, first + drives)):
        folder = drive_folder(out, index, DATES[split])
        if not folder.is_dir():
            seed = world_seed(split, index)
            report = None if progress is None else partial(progress, done)
            drive = render_drive(seed, frames, height, width, config=config, device=device, progress=report)
            _write_settings(out / DATES[split], settings)
            write_drive(drive, out, number=index, date=DATES[split], noise=noise, seed=seed)
        folders.append(folder)
    return folders


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"world.scene": …, …}``: what JSON keeps of one entry for every option."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
    parsed: dict[str, Any] = json.loads(json.dumps(flat))
    return parsed


def _check_settings(date: Path, settings: dict[str, Any]) -> None:
    """Refuse to take drives for what was asked that were rendered with other settings.

    Raises:
        InputError: if there are such, or none knows how they were rendered.
    """
    if not any(date.glob(f"{date.name}_drive_*_sync")):
        return
    mend = "delete the folder or give another"
    try:
        found = parse_json((date / SETTINGS).read_text(encoding="utf-8"))
        there = {name: found.get(name) for name in settings.keys() | found.keys()}
    except FileNotFoundError:
        raise InputError(
            f"{date}: holds drives without {SETTINGS}, which says how they were rendered; {mend}"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{date / SETTINGS}: cannot be read ({error}); {mend}") from None
    other = [f"{n} {there[n]}, not {settings.get(n)}" for n in sorted(there) if there[n] != settings.get(n)]
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise InputError(f"{date}: its drives were rendered with {'; '.join(other[:3])}{more}; {mend}")


def _write_settings(date: Path, settings: dict[str, Any]) -> None:
    partial = date / f".{SETTINGS}.{os.getpid()}.partial"
    try:
        date.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        partial.replace(date / SETTINGS)
    except OSError as error:
        raise InputError(f"{date}: cannot be written ({error.strerror}); check the path and the free space") from None


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
