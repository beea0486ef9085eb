"""Writes shards: clips of consecutive records, mixed, some dozens of records to a tar file."""

from __future__ import annotations

import io
import json
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from copy import copy
from pathlib import Path
from typing import Any

import torch

from semdepth.data.drives import drives_named
from semdepth.data.prepared import (
    DataFile,
    Header,
    plan_digest,
    read_header,
    require_free,
    write_header,
    write_whole,
)
from semdepth.data.records import LabelKind
from semdepth.data.shards import MEMBERS, encode_array, encode_map
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

CLIP = 16
"""Consecutive records that stay together and share their frames; at its ends a clip keeps its neighbours twice."""


def write_shards(
    dataset: FrameDataset,
    out: Path,
    *,
    labels: LabelKind,
    records: int,
    threads: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Header:
    """Write a collection of shards; what an interrupted call left is taken up.

    Args:
        dataset: what to write, with ``cache=True`` (each shard keeps its frames while it is written).
        out: a folder that is not there yet; nothing is done if it holds these very shards.
        labels: which labels the records carry, for the header.
        records: how many records a shard holds, about; a multiple of ``CLIP`` wastes nothing.
        threads: shards written at a time.
        progress: called with the records done so far, and all records.

    Returns:
        The header.

    Raises:
        InputError: if a frame cannot be read, or ``out`` holds something else or cannot be written.
    """
    digest = plan_digest(dataset, labels, f"shards of {records}")
    if require_free(out, "shards", digest):
        return read_header(out, "shards")
    folder = out.absolute().with_name(f".{out.name}.partial")
    shares = shard_shares(len(dataset), records)
    try:
        note = folder / "plan.txt"
        if not note.is_file() or note.read_text(encoding="utf-8", errors="replace") != digest:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            write_whole(note, digest.encode())
        files = _write_all(dataset, folder, shares, threads, progress)
        sample = dataset[0]
        optional = ("labels", "confidence", "depth", "source_from_target")
        header = Header(
            kind="shards",
            plan=digest,
            height=dataset.size[0],
            width=dataset.size[1],
            offsets=sample.offsets,
            labels=labels,
            fields=tuple(name for name in optional if getattr(sample, name) is not None),
            records=len(dataset),
            frames=len({path for record in dataset.records for path in (record.image, *record.sources)}),
            files=tuple(files),
            drives=dict(drives_named(record.name for record in dataset.records)),
        )
        write_header(folder, header)
        note.unlink()
        if out.exists():
            out.rmdir()  # it is empty
        folder.replace(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); free the disk or give another folder") from None
    return header


def shard_shares(length: int, records: int) -> list[list[int]]:
    """Return which records go into which shard: clips of consecutive ones, the clips mixed, always in the same way."""
    clip = min(CLIP, records)
    clips = [range(first, min(first + clip, length)) for first in range(0, length, clip)]
    mixed = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).tolist()
    together = max(records // clip, 1)
    return [
        sorted(number for place in mixed[first : first + together] for number in clips[place])
        for first in range(0, len(clips), together)
    ]


def _write_all(
    dataset: FrameDataset, folder: Path, shares: list[list[int]], threads: int, progress: Callable[[int, int], None]
) -> list[DataFile]:
    files: dict[int, DataFile] = {}
    pool = ThreadPoolExecutor(threads)
    try:
        waiting = {
            pool.submit(_write_shard, dataset, folder / f"{shard:06d}.tar", share): shard
            for shard, share in enumerate(shares)
        }
        for future in as_completed(waiting):
            files[waiting[future]] = future.result()
            progress(sum(file.records for file in files.values()), len(dataset))
    finally:
        pool.shutdown(cancel_futures=True)
    return [files[shard] for shard in range(len(shares))]


def _write_shard(dataset: FrameDataset, path: Path, share: list[int]) -> DataFile:
    """Write one shard whole, or take the one that is there."""
    if not path.exists():
        write_whole(path, _tar(copy(dataset), share))
    content = path.read_bytes()
    return DataFile(path.name, len(content), zlib.crc32(content), len(share))


def _tar(dataset: FrameDataset, share: list[int]) -> bytes:
    from webdataset import TarWriter

    stream = io.BytesIO()
    keys: dict[Path, str] = {}
    # No time and no user in it: the same frames give the same bytes.
    with TarWriter(stream, encoder=False, mtime=0, user="", group="") as tar:
        for number in share:
            item, record = dataset[number], dataset.records[number]
            paths = (record.image, *record.sources)
            for path, frame in zip(paths, (item.target[0], *item.sources[0]), strict=True):
                if path not in keys:
                    keys[path] = f"f{len(keys):08d}"
                    tar.write({"__key__": keys[path], "png": encode_map(frame.numpy())})
            tar.write({"__key__": f"r{number:08d}", **_members(item, [keys[path] for path in paths])})
    return stream.getvalue()


def _members(item: FrameBatch, frames: list[str]) -> dict[str, bytes]:
    about: dict[str, Any] = {"name": item.names[0], "frames": frames, "intrinsics": item.intrinsics[0].tolist()}
    if item.source_from_target is not None:
        about["source_from_target"] = item.source_from_target[0].tolist()
    members = {"json": json.dumps(about).encode()}
    for name, (member, _) in MEMBERS.items():
        if (values := getattr(item, name)) is not None:
            encode = encode_map if member.endswith(".png") else encode_array
            members[member] = encode(values[0].numpy())
    return members
