"""Which drive a frame is of, as far as its name tells: the same for whoever reads it, and wherever it lies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_KITTI_DRIVE = re.compile(r"2011_\d\d_\d\d_drive_\d{4}")
_KITTI_SEQUENCE = re.compile(r"(\d\d)/\d{6}/[0-3]")
_CITY = re.compile(r"([a-z-]+)/\d{6}_\d{6}/l")
SEQUENCE_DRIVES = {
    "00": "2011_10_03_drive_0027", "01": "2011_10_03_drive_0042", "02": "2011_10_03_drive_0034",
    "03": "2011_09_26_drive_0067", "04": "2011_09_30_drive_0016", "05": "2011_09_30_drive_0018",
    "06": "2011_09_30_drive_0020", "07": "2011_09_30_drive_0027", "08": "2011_09_30_drive_0028",
    "09": "2011_09_30_drive_0033", "10": "2011_09_30_drive_0034",
}  # fmt: skip
"""KITTI odometry's sequences are cut out of these raw drives (its development kit says so); 11–20 are not told."""


def drive_named(name: str) -> str | None:
    """Return the drive that a frame's name (or a list's drive) tells, None where a name says nothing beyond its own folder.

    A KITTI drive is its name, an odometry sequence the raw drive that it was cut from, a frame of Cityscapes its city: no
    city is in two splits, and the labelled frames are copies of the snippets'.
    """
    if drive := _KITTI_DRIVE.match(name):
        return drive.group()
    if (sequence := _KITTI_SEQUENCE.fullmatch(name)) and sequence[1] in SEQUENCE_DRIVES:
        return SEQUENCE_DRIVES[sequence[1]]
    city = _CITY.fullmatch(name)
    return f"Cityscapes {city[1]}" if city else None


def drives_named(names: Iterable[str]) -> Counter[str]:
    """Return drives by the names of their frames alone, and how many frames there are of each."""
    return Counter(drive_named(name) or name.partition("/")[0] for name in names)
