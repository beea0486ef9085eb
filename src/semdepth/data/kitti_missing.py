"""What of KITTI raw a list asks for and the disk does not hold: one summary before the first step, not a crash at hour three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from semdepth.runtime import InputError

DOWNLOAD = "give the folder that holds 2011_09_26 and the other dates (cvlibs.net/datasets/kitti/raw_data.php)"
ARCHIVES = "s3.eu-central-1.amazonaws.com/avg-kitti/raw_data"
SHOWN = 3
Frame = tuple[str, int, int]
"""Drive, camera, frame number."""


def require_listed(
    wanted: Sequence[Frame], frames: Mapping[tuple[str, int], Mapping[int, Path]], root: Path, split: Path
) -> None:
    """Make sure that every frame of a list has its image, and every date its calibration.

    Args:
        wanted: the frames of the list.
        frames: (drive, camera) → frame number → image, of what is there.
        root: the folder that holds the dates.
        split: the list, for the message.

    Raises:
        InputError: how many frames are missing, of which dates and drives, and what to download.
    """
    missing = [frame for frame in wanted if frame[2] not in frames.get(frame[:2], {})]
    if missing:
        raise InputError(
            f"{split}: {len(missing)} of its {len(wanted)} frames are not under {root}: "
            f"{by_drive(missing)}; {_download(missing[0])}, or choose drives and cameras that are there"
        )
    dates = sorted({drive[:10] for drive, _, _ in wanted})
    if bare := [date for date in dates if not (root / date / "calib_cam_to_cam.txt").is_file()]:
        raise InputError(
            f"{root / bare[0] / 'calib_cam_to_cam.txt'}: calibration file not found, as of {len(bare)} of {len(dates)} "
            f"dates ({', '.join(bare)}); download {bare[0]}_calib.zip ({ARCHIVES}/{bare[0]}_calib.zip) and so on"
        )


def by_drive(frames: Sequence[Frame]) -> str:
    """Return e.g. ``2 drives of 1 date: 2011_09_26_drive_0001_sync/image_02 (frames 5 to 108, 104 of them), …``."""
    counts = Counter(frame[:2] for frame in frames)
    dates = Counter(drive[:10] for drive in {frame[0] for frame in frames})
    drives = sum(dates.values())
    named = [
        f"{drive}/image_{camera:02d} ({count} frames, first {next(f[2] for f in frames if f[:2] == (drive, camera))})"
        for (drive, camera), count in counts.most_common(SHOWN)
    ]
    more = f" and {len(counts) - SHOWN} more camera folders" if len(counts) > SHOWN else ""
    of_dates = ", ".join(f"{date}: {count}" for date, count in sorted(dates.items()))
    return f"{drives} drive{'s' * (drives > 1)} ({of_dates}): {', '.join(named)}{more}"


def _download(frame: Frame) -> str:
    drive = frame[0].removesuffix("_sync")
    if not drive.startswith("2011_"):
        return "render or copy these drives again"
    return f"download each drive's archive, e.g. {ARCHIVES}/{drive}/{drive}_sync.zip, and unpack it into the root"
