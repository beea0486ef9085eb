"""Leaks: drives that are both learnt from and judged on, which makes the numbers better than they are.

Frames of one drive resemble each other, so the drive, not the frame, is what must not be shared. Lists that were published for
training have contained drives of the usual test list; nobody sees that in a table of errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from semdepth.data.catalog import DataConfig, Frames, open_dataset
from semdepth.data.drives import drive_named, drives_named
from semdepth.data.kitti import read_split
from semdepth.data.prepared import Kind, read_header
from semdepth.data.records import FrameRecord
from semdepth.data.synthetic_frames import SyntheticFrames
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError

_KIND: dict[str, Kind] = {"prepared": "cache", "shards": "shards"}


def drive_of(record: FrameRecord) -> str:
    """Return what stands for the drive of a frame, the same for whoever reads it.

    What its name tells (``drives.drive_named``), wherever it lies. Anything else is a folder: rendered worlds and home-made
    videos of one name in two places are two drives.
    """
    if named := drive_named(record.name):
        return named
    folder = record.image.resolve().parent
    return str(folder.parents[1] if folder.name == "data" else folder)


def drives_of(frames: Frames) -> Counter[str]:
    """Return the drives of a dataset, and how many frames it has of each.

    Prepared caches and shards say what they were made from.
    """
    if isinstance(frames, FrameDataset):
        return Counter(drive_of(record) for record in frames.records)
    if isinstance(frames, SyntheticFrames):
        return drives_named(frames.name(index) for index in range(len(frames)))
    return Counter(frames.header.drives)


def drives_of_list(path: Path, root: Path | None) -> Counter[str]:
    """Return the drives of a list of ``drive frame side`` lines, of frames that need not be there.

    Args:
        path: the list.
        root: where drives that are not KITTI's own are looked for.

    Raises:
        InputError: if the list cannot be used.
    """
    named = Counter(drive for drive, _, _ in read_split(path))
    return Counter({_listed_drive(drive, root): count for drive, count in named.items()})


def _listed_drive(drive: str, root: Path | None) -> str:
    if named := drive_named(drive):
        return named
    return str((root / drive[:10] / drive).resolve()) if root else drive


def drives_learnt_from(config: DataConfig) -> Counter[str]:
    """Return the drives of a training set that need not be there any more; empty where that cannot be told.

    Synthetic drives are not told: their worlds are chosen by split, and no two splits share one.
    """
    try:
        if config.name in ("prepared", "shards"):
            return Counter(read_header(config.root, _KIND[config.name]).drives) if config.root else Counter()
        if config.name == "kitti_raw" and config.split is not None:
            return drives_of_list(config.split, config.root)
        return drives_of(open_dataset(config)) if config.root else Counter()
    except InputError:
        return Counter()


def shared_drives(learnt: Mapping[str, int], judged: Collection[str]) -> list[str]:
    """Return the drives in both, sorted."""
    return sorted(learnt.keys() & set(judged))


def describe(shared: Iterable[str], learnt: Mapping[str, int], judged: Collection[str], shown: int = 3) -> str:
    """Return e.g. ``2 of the 28 drives judged on are also learnt from (90 frames): A, B``."""
    shared = list(shared)
    names = ", ".join(shared[:shown]) + (f" and {len(shared) - shown} more" if len(shared) > shown else "")
    count = sum(learnt[drive] for drive in shared)
    verb = "is" if len(shared) == 1 else "are"
    return f"{len(shared)} of the {len(judged)} drives judged on {verb} also learnt from ({count} frames): {names}"


def refuse_leak(learnt: Frames, judged: Frames, what: str) -> None:
    """Make sure that no drive is both learnt from and judged on.

    Args:
        learnt: what is learnt from.
        judged: what is judged on.
        what: the option that names the latter, for the message.

    Raises:
        InputError: if they share drives.
    """
    ours, theirs = drives_of(learnt), drives_of(judged)
    if shared := shared_drives(ours, theirs):
        raise InputError(
            f"data and {what}: {describe(shared, ours, theirs)}; choose other drives (data.sequences, data.split), or "
            "set --allow_leak true and report no such number"
        )


def refuse_same_frames(learnt: Frames, judged: Frames, what: str) -> None:
    """Make sure that no frame is both learnt from and judged on; the rest of the same drive may be.

    Args:
        learnt: what is learnt from; its frames are known where it is read from files, else nothing is refused.
        judged: what is judged on.
        what: the option that names the latter, for the message.

    Raises:
        InputError: if they share frames.
    """
    if not (isinstance(learnt, FrameDataset) and isinstance(judged, FrameDataset)):
        return
    images = {record.image.resolve() for record in learnt.records}
    if shared := [record for record in judged.records if record.image.resolve() in images]:
        raise InputError(
            f"data and {what}: {len(shared)} of the {len(judged)} frames judged on are also learnt from, e.g. "
            f"{shared[0].image}; keep them apart by data.frames and {what}.frames, or set --allow_leak true"
        )
