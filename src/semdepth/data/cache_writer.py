"""Writes prepared caches: the plain reader's own batches, each frame once, in a folder that appears when it is complete."""

from __future__ import annotations

import io
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.data.cache import PIECES, ROWS, row_bytes
from semdepth.data.drives import drives_named
from semdepth.data.prepared import DataFile, Header, plan_digest, read_header, require_free, write_header, write_whole
from semdepth.data.records import LabelKind
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

CHUNK = 32
"""Consecutive records that are read in one go; frames that two chunks share are decoded twice."""


@dataclass(frozen=True)
class _Plan:
    """What is written where."""

    dataset: FrameDataset
    digest: str
    labels: LabelKind
    folder: Path
    """Where it grows; renamed when complete."""
    pieces: tuple[str, ...]

    @cached_property
    def row_of(self) -> dict[Path, int]:
        """Image file → its row, in the order in which the records name them."""
        paths = (path for number in range(len(self.dataset)) for path in self.paths(number))
        return {path: row for row, path in enumerate(dict.fromkeys(paths))}

    @cached_property
    def owner(self) -> dict[Path, int]:
        """Image file → the chunk that writes it: the first that needs it."""
        found: dict[Path, int] = {}
        for number in range(len(self.dataset)):
            for path in self.paths(number):
                found.setdefault(path, number // CHUNK)
        return found

    def paths(self, number: int) -> tuple[Path, ...]:
        """Return the image files of a record, the target's first."""
        record = self.dataset.records[number]
        return (record.image, *record.sources)

    @property
    def chunks(self) -> int:
        return -(-len(self.dataset) // CHUNK)

    def file_bytes(self, piece: str) -> int:
        rows = len(self.row_of) if piece == "images" else len(self.dataset)
        return rows * row_bytes(piece, *self.dataset.size)

    def done(self, chunk: int) -> Path:
        """Return the file that says that a chunk is complete, and keeps what goes into the index."""
        return self.folder / f"chunk_{chunk:06d}.npz"


def prepare(
    dataset: FrameDataset,
    out: Path,
    *,
    labels: LabelKind,
    threads: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Header:
    """Write a prepared cache; what an interrupted call left is taken up.

    Args:
        dataset: what to prepare, with ``cache=True`` (each chunk of records keeps its frames while it is read).
        out: a folder that is not there yet; nothing is done if it holds this very cache.
        labels: which labels the records carry, for the header.
        threads: decoders at work; Pillow decodes and resizes without Python's lock.
        progress: called with the records done so far, and all records.

    Returns:
        The header.

    Raises:
        InputError: if a frame cannot be read, ``out`` holds something else, or the disk is too small.
    """
    digest = plan_digest(dataset, labels, "cache")
    if require_free(out, "cache", digest):
        return read_header(out, "cache")
    sample = dataset[0]
    pieces = tuple(piece for piece in PIECES if piece == "images" or getattr(sample, piece) is not None)
    plan = _Plan(dataset, digest, labels, out.absolute().with_name(f".{out.name}.partial"), pieces)
    try:
        _start(plan)
        _write_chunks(plan, threads, progress)
        header = _finish(plan, sample)
        if out.exists():
            out.rmdir()  # it is empty
        plan.folder.replace(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); free the disk or give another folder") from None
    return header


def _start(plan: _Plan) -> None:
    """Make the folder, or keep what an interrupted call with the same plan left in it."""
    note = plan.folder / "plan.txt"
    if not note.is_file() or note.read_text(encoding="utf-8", errors="replace") != plan.digest:
        if plan.folder.exists():
            shutil.rmtree(plan.folder)
        plan.folder.mkdir(parents=True)
        write_whole(note, plan.digest.encode())
    files = {piece: plan.folder / f"{piece}.bin" for piece in plan.pieces}
    missing = sum(plan.file_bytes(piece) for piece in plan.pieces) - sum(_on_disk(path) for path in files.values())
    if missing > (free := shutil.disk_usage(plan.folder).free):
        raise InputError(
            f"{plan.folder.parent}: {missing / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; give another folder"
        )
    for piece, path in files.items():
        with path.open("ab") as stream:
            stream.truncate(plan.file_bytes(piece))


def _on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def _write_chunks(plan: _Plan, threads: int, progress: Callable[[int, int], None]) -> None:
    waiting = [chunk for chunk in range(plan.chunks) if not plan.done(chunk).exists()]
    total = len(plan.dataset)
    done = min((plan.chunks - len(waiting)) * CHUNK, total)
    pool = ThreadPoolExecutor(threads)
    try:
        for future in as_completed([pool.submit(_write_chunk, plan, chunk) for chunk in waiting]):
            done += future.result()
            progress(min(done, total), total)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_chunk(plan: _Plan, chunk: int) -> int:
    """Read the records of a chunk, write their rows, and note what goes into the index; return how many."""
    dataset = copy(plan.dataset)  # with a memory of its own, which goes when the chunk is done
    numbers = range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(dataset)))
    images: dict[int, npt.NDArray] = {}
    others: dict[str, list[npt.NDArray]] = {}
    for number in numbers:
        item = dataset[number]
        for path, frame in zip(plan.paths(number), (item.target[0], *item.sources[0]), strict=True):
            if plan.owner[path] == chunk:
                images[plan.row_of[path]] = frame.numpy()
        for name in (*plan.pieces, "intrinsics", "source_from_target"):
            if name != "images" and (values := getattr(item, name)) is not None:
                others.setdefault(name, []).append(values[0].numpy())
    _write_rows(plan.folder / "images.bin", images)
    notes: dict[str, npt.NDArray] = {"image_rows": np.array(list(images), dtype=np.int64)}
    notes["images_crc32"] = _checksums(images.values())
    for name, rows in others.items():
        if name in plan.pieces:
            _write_rows(plan.folder / f"{name}.bin", dict(zip(numbers, rows, strict=True)))
            notes[f"{name}_crc32"] = _checksums(rows)
        else:
            notes[name] = np.stack(rows)
    write_whole(plan.done(chunk), _npz(notes))
    return len(numbers)


def _write_rows(path: Path, rows: Mapping[int, npt.NDArray]) -> None:
    """Write rows to their places, and wait until they are on the disk: then the chunk may be called done."""
    with path.open("r+b") as stream:
        for row, values in rows.items():
            stream.seek(row * values.nbytes)
            stream.write(np.ascontiguousarray(values).data)
        stream.flush()
        os.fsync(stream.fileno())


def _checksums(rows: Iterable[npt.NDArray]) -> npt.NDArray[np.uint32]:
    return np.array([zlib.crc32(np.ascontiguousarray(row).data) for row in rows], dtype=np.uint32)


def _finish(plan: _Plan, sample: FrameBatch) -> Header:
    """Join the chunks' notes to the index, and write the header."""
    chunks = []
    for chunk in range(plan.chunks):
        with np.load(plan.done(chunk), allow_pickle=False) as notes:
            chunks.append(dict(notes))
    index = {name: np.concatenate([notes[name] for notes in chunks]) for name in chunks[0]}
    rows = index.pop("image_rows")
    index["images_crc32"] = index["images_crc32"][np.argsort(rows)]
    records = plan.dataset.records
    index["names"] = np.array([record.name for record in records])
    frames = [[plan.row_of[path] for path in plan.paths(number)] for number in range(len(records))]
    index["frames"] = np.array(frames, dtype=np.int64)
    content = _npz(index)
    write_whole(plan.folder / ROWS, content)
    height, width = plan.dataset.size
    optional = ("labels", "confidence", "depth", "source_from_target")
    files = tuple(DataFile(f"{piece}.bin", plan.file_bytes(piece)) for piece in plan.pieces)
    header = Header(
        kind="cache",
        plan=plan.digest,
        height=height,
        width=width,
        offsets=sample.offsets,
        labels=plan.labels,
        fields=tuple(name for name in optional if getattr(sample, name) is not None),
        records=len(records),
        frames=len(plan.row_of),
        files=(*files, DataFile(ROWS, len(content), zlib.crc32(content))),
        drives=dict(drives_named(record.name for record in plan.dataset.records)),
    )
    write_header(plan.folder, header)
    for note in (*map(plan.done, range(plan.chunks)), plan.folder / "plan.txt"):
        note.unlink()
    return header


def _npz(arrays: dict[str, npt.NDArray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()
