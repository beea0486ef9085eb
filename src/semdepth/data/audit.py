"""Is a folder ready? What a dataset lacks, found in a minute before training rather than in hour three."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from semdepth.data.audit_files import (
    check_confidence,
    check_ground_truth,
    check_images,
    check_intrinsics,
    check_labels,
)
from semdepth.data.catalog import MAY_LACK_DEPTH, DataConfig, DatasetName, list_records
from semdepth.data.findings import Each, Finding, evenly, from_error, plain
from semdepth.data.folder import sequence_folders
from semdepth.data.leaks import describe, drive_of, drives_of_list, shared_drives
from semdepth.data.motion import moving_share, read_grey
from semdepth.data.prepared import HEADER
from semdepth.data.records import FrameRecord
from semdepth.runtime import InputError, counted

SAMPLE, PAIRS, PAIRS_FULL = 40, 24, 240
"""Files that are read of each kind, and neighbouring frames that are compared, without and with ``full``."""
STANDING = 0.1
"""A camera stands where less than this share of the image moves."""
CITIES = tuple(f"{kind}{end}" for kind in ("leftImg8bit_sequence", "leftImg8bit") for end in ("", "_trainvaltest"))
"""Folders that Cityscapes' archives unpack to."""


def recognise(root: Path) -> DatasetName | None:
    """Return the dataset that a folder looks like, or None."""
    if (root / "sequences").is_dir():
        return "kitti_odometry"
    if next(root.glob("*/*/image_0[23]"), None) is not None:
        return "kitti_raw"
    if any((root / name).is_dir() for name in CITIES):
        return "cityscapes"
    if any((root / name).is_dir() for name in ("Test134", "Test134Img")):
        return "make3d"
    if (root / HEADER["cache"]).is_file():
        return "prepared"
    if (root / HEADER["shards"]).is_file():
        return "shards"
    return "folder" if root.is_dir() and sequence_folders(root) else None


def audit(config: DataConfig, *, full: bool = False, against: Path | None = None, each: Each = plain) -> list[Finding]:
    """Look a dataset over.

    Args:
        config: the options that it would be trained or judged with.
        full: read every file, not a sample.
        against: list of ``drive frame side`` lines to be judged on, whose drives must not be among these.
        each: goes through files (to show a progress bar).

    Returns:
        Findings, in the order of a reader's questions; the dataset is ready if none is a problem.

    Raises:
        InputError: if it is a prepared cache or shards, which are checked otherwise.
    """
    if config.name in ("prepared", "shards"):
        raise InputError(
            f"{config.root}: holds prepared frames; check them with `semdepth cache {config.root} --verify true`, or the "
            "data set that they were made from"
        )
    if config.name == "synthetic":
        return [Finding("frames", "ok", "synthetic frames are rendered as they are asked for: nothing to check")]
    records, listed = find_records(config)
    leak = [] if against is None else [check_leak(config, against)]
    findings = [*listed, *leak]
    if not records:
        return findings
    sample = records if full else evenly(records, SAMPLE)
    sizes, images = check_images(records if full else sample, each)
    findings += [images, check_intrinsics(sample, sizes)]
    if not any(finding.topic == "labels" for finding in listed):
        findings.append(check_labels(sample, sizes, each))
    if any(record.labels for record in sample):
        findings.append(check_confidence(sample, sizes, each))
    if not any(finding.topic == "ground truth" for finding in listed):
        findings.append(check_ground_truth(records, len(sample), sizes, each))
    findings.append(check_motion(records, PAIRS_FULL if full else PAIRS, each))
    return findings


def find_records(config: DataConfig) -> tuple[list[FrameRecord], list[Finding]]:
    """Return what there is of the records that the options ask for, and what there is not.

    If not all of it is there, each demand is made in turn, so that a missing folder of labels does not hide a missing half of
    the frames.
    """
    try:
        records = list_records(config)
        return records, [check_frames(records, config)]
    except InputError:
        return _find_piecemeal(config)


def _find_piecemeal(config: DataConfig) -> tuple[list[FrameRecord], list[Finding]]:
    demands: list[tuple[str, dict[str, Any]]] = [("labels", {"labels": "none"})]
    if config.name == "kitti_raw":
        demands += [("ground truth", {"require_depth": False, "ground_truth": "none"}), ("list", {"split": None})]
    elif config.name in MAY_LACK_DEPTH:
        demands.append(("ground truth", {"require_depth": False}))
    modest = replace(config, frames=None, **{k: v for _, options in demands for k, v in options.items()})
    findings = []
    try:
        records = list_records(modest)
    except InputError as error:
        findings.append(from_error("frames", error))
        try:
            modest = replace(modest, offsets=())
            records = list_records(modest)
        except InputError:
            return [], findings
    demands.append(("frames", {"frames": None}))
    for topic, options in reversed(demands):
        asked = replace(modest, **{name: getattr(config, name) for name in options})
        if asked != modest:
            try:
                records, modest = list_records(asked), asked
            except InputError as error:
                findings.append(from_error(topic, error))
    return records, [check_frames(records, modest), *findings]


def check_frames(records: Sequence[FrameRecord], config: DataConfig) -> Finding:
    """Count frames, and those that have their neighbours."""
    drives = Counter(drive_of(record) for record in records)
    text = f"{counted(len(records), 'frame')} of {counted(len(drives), 'sequence')}"
    if not config.offsets:
        return Finding("frames", "ok", text)
    alone = len(list_records(replace(config, offsets=()))) - len(records)
    text += f" have neighbours at {list(config.offsets)}; {alone} more have not"
    if alone > len(records):
        mend = "give consecutive frames; where a drive has holes, download it again"
        return Finding("frames", "warning", text, mend)
    return Finding("frames", "ok", text)


def check_leak(config: DataConfig, against: Path) -> Finding:
    """Compare the drives with those of a list to be judged on; frames of either need not be there."""
    try:
        judged = drives_of_list(against, config.root)
        if config.name == "kitti_raw" and config.split is not None:
            learnt = drives_of_list(config.split, config.root)
        else:
            learnt = Counter(drive_of(r) for r in list_records(replace(config, labels="none", offsets=())))
    except InputError as error:
        return from_error("leak", error)
    if shared := shared_drives(learnt, judged):
        text = f"against {against}: {describe(shared, learnt, judged)}"
        return Finding("leak", "problem", text, "leave these drives out of one of the lists")
    return Finding("leak", "ok", f"none of {len(learnt)} drives is among the {len(judged)} of {against}")


def check_motion(records: Sequence[FrameRecord], pairs: int, each: Each) -> Finding:
    """Compare neighbouring frames: does the camera move?"""
    moving = [record for record in records if record.sources]
    if not moving:
        return Finding("motion", "ok", "not looked at: no neighbours are asked for (offsets [])")
    shares = []
    for record in each(evenly(moving, pairs), "motion"):
        nearest = min(zip(record.offsets, record.sources, strict=True), key=lambda pair: abs(pair[0]))[1]
        try:
            shares.append(moving_share(read_grey(record.image), read_grey(nearest)))
        except InputError:
            continue  # counted where the images are
    known = [share for share in shares if not math.isnan(share)]
    if not known:
        return Finding("motion", "warning", "no pair of frames can be compared", "look at the images")
    standing = sum(share < STANDING for share in known)
    text = f"the camera stands in {standing} of {len(known)} pairs of frames"
    if standing == len(known):
        return Finding("motion", "problem", f"{text}: nothing to learn depth from", "give frames of a moving camera")
    if standing > 0.2 * len(known):
        return Finding("motion", "warning", text, "leave standing frames out of the list: they teach nothing")
    return Finding("motion", "ok", text)
