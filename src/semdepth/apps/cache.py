"""``semdepth cache``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semdepth.data.cache import verify_cache
from semdepth.data.cache_writer import prepare
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.prepared import HEADER, Header
from semdepth.data.shard_writer import write_shards
from semdepth.data.shards import verify_shards
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError


def cache(out: Path, data: DataConfig, shards: int = 0, verify: bool = False, threads: int = 2) -> None:
    """Prepare frames for fast training: decoded and resized once, each stored once, read back in whole batches.

    Then train with --data.name prepared (or shards) --data.root OUT: training sees exactly the numbers that it would see
    without. The folder appears when it is complete; an interrupted command goes on where it was. Rendered worlds are
    prepared from what semdepth synthesise wrote.

    Args:
        out: Folder to write; one that holds this very cache is left as it is.
        data: Which frames, at which size, with which labels.
        shards: Write tar files of about so many records each, to be streamed (WebDataset's layout), e.g. 64; 0: a cache.
        verify: Write nothing, but read all of OUT against its checksums.
        threads: Decoders at work.

    Examples:
        semdepth cache prepared/kitti --data.root KITTI --data.split train_files.txt  # for this machine
        semdepth cache shards/kitti --data.root KITTI --shards 64                     # to be streamed
        semdepth cache prepared/kitti --verify true                                   # is every byte right?
    """
    console = Console()
    if verify:
        with _bar("verifying") as progress:
            header = (verify_shards if (out / HEADER["shards"]).exists() else verify_cache)(out, progress)
        console.print(f"{out}: whole, {_about(header)}", highlight=False, soft_wrap=True)
        return
    if shards < 0 or threads < 1:
        raise InputError("cache: shards must not be negative, threads must be at least 1")
    if data.name in ("synthetic", "prepared", "shards"):
        raise InputError(
            f"data.name {data.name}: give recorded frames, or worlds that `semdepth synthesise` wrote (kitti_raw)"
        )
    dataset = open_dataset(replace(data, cache=True))
    assert isinstance(dataset, FrameDataset)
    with _bar("preparing") as progress:
        if shards:
            header = write_shards(dataset, out, labels=data.labels, records=shards, threads=threads, progress=progress)
        else:
            header = prepare(dataset, out, labels=data.labels, threads=threads, progress=progress)
    console.print(
        f"{out}: {_about(header)}\nTrain on it: {training_command(out, header)}", highlight=False, soft_wrap=True
    )


def training_command(root: Path, header: Header) -> str:
    """Return the command that learns from what was prepared."""
    name = "prepared" if header.kind == "cache" else "shards"
    options = {"name": name, "root": shlex.quote(str(root)), "height": header.height, "width": header.width}
    if header.offsets != (-1, 1):
        options["offsets"] = f"'{list(header.offsets)}'".replace(" ", "")
    if header.labels != "noisy":
        options["labels"] = header.labels
    workers = " --trainer.workers 0" if header.kind == "cache" else ""
    return "semdepth train " + " ".join(f"--data.{key} {value}" for key, value in options.items()) + workers


def _about(header: Header) -> str:
    return (
        f"{header.records} records of {header.frames} frames at {header.width}×{header.height}, "
        f"{header.bytes / 1e6:.1f} MB in {len(header.files)} files"
    )


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
