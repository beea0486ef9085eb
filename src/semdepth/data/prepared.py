"""What prepared caches and shards share: the header that describes them, and what they refuse."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from semdepth.data.records import FrameRecord, LabelKind
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError, parse_json, require_file

VERSION = 2
"""Raised when the layout changes; a reader takes no other."""
TO_LEARN_FROM = "prepared frames are to learn from; judge on the data set they were made from"
Kind = Literal["cache", "shards"]
HEADER: dict[Kind, str] = {"cache": "cache.json", "shards": "shards.json"}
"""Kind → the file that describes it."""


@dataclass(frozen=True)
class DataFile:
    """A file beside the header, as it must be found."""

    name: str
    bytes: int
    crc32: int | None = None
    """Of the whole file; None: its rows have checksums of their own."""
    records: int = 0
    """Shards: how many records it holds."""


@dataclass(frozen=True)
class Header:
    """What a prepared collection says of itself."""

    kind: Kind
    plan: str
    """Digest of what it was made from (``plan_digest``)."""
    height: int
    width: int
    offsets: tuple[int, ...]
    labels: LabelKind
    """As chosen when it was made."""
    fields: tuple[str, ...]
    """Which of labels, confidence, depth and source_from_target the records carry."""
    records: int
    """Target frames."""
    frames: int
    """Frames, targets and sources together, each counted once."""
    files: tuple[DataFile, ...]
    drives: dict[str, int]
    """Which drives it was made from (``leaks.drive_of``), and how many records of each: it may be judged on none of them."""
    version: int = VERSION

    @property
    def bytes(self) -> int:
        """Bytes of all files but the header."""
        return sum(file.bytes for file in self.files)


def write_header(root: Path, header: Header) -> None:
    """Write the header, which makes the collection complete: it comes last."""
    plain = asdict(header)
    write_whole(root / HEADER[header.kind], json.dumps(plain | {"sha256": _digest(plain)}, indent=1).encode() + b"\n")


def read_header(root: Path, kind: Kind) -> Header:
    """Read the header of a prepared collection.

    Raises:
        InputError: if it is missing, damaged, or of another kind or version.
    """
    path = require_file(root / HEADER[kind], f"header of prepared {kind}")
    again = f"write it again with `semdepth cache`{' --shards' if kind == 'shards' else ''}"
    try:
        found: dict[str, Any] = parse_json(path.read_bytes())
        version, digest = found["version"], found.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: is no header of prepared {kind}, or damaged; {again}") from None
    if version != VERSION:
        raise InputError(f"{path}: was written in version {version}, this program reads version {VERSION}; {again}")
    if digest != _digest(found):
        raise InputError(f"{path}: damaged, it does not fit its checksum; {again}")
    files = tuple(DataFile(**file) for file in found.pop("files"))
    offsets, names = tuple(found.pop("offsets")), tuple(found.pop("fields"))
    return Header(**found, files=files, offsets=offsets, fields=names)


def check_asked(
    root: Path, header: Header, size: tuple[int, int], offsets: Sequence[int], labels: LabelKind, with_depth: bool
) -> None:
    """Make sure that a collection holds what is asked for.

    Raises:
        InputError: if it was prepared at another size, with other neighbours or labels, or without depth, or if no
            neighbours are asked for, as for judging.
    """
    if not offsets:
        raise InputError(f"{root}: {TO_LEARN_FROM}")
    if size != (header.height, header.width):
        raise InputError(
            f"{root}: was prepared at {header.width}×{header.height}, not {size[1]}×{size[0]}; set data.height "
            f"{header.height} and data.width {header.width}, or prepare it again at the size wanted"
        )
    if tuple(offsets) != header.offsets:
        raise InputError(
            f"{root}: was prepared with offsets {list(header.offsets)}, not {list(offsets)}; ask for those"
        )
    if labels not in ("none", header.labels):
        raise InputError(f"{root}: was prepared with labels {header.labels}, not {labels}; ask for those, or for none")
    if with_depth and "depth" not in header.fields:
        raise InputError(f"{root}: was prepared without depth; leave out with_depth, or prepare it again with it")


def check_size(path: Path, expected: int) -> None:
    """Make sure that a file has as many bytes as its header says.

    Raises:
        InputError: if it is missing, cut off or too long.
    """
    found = require_file(path, "prepared file").stat().st_size
    if found != expected:
        raise InputError(f"{path}: has {found} bytes where its header says {expected}; copy or write it again")


def damaged(path: Path, where: str) -> InputError:
    """Return the complaint about content that does not fit its checksum."""
    return InputError(f"{path}: {where} is damaged, it does not fit its checksum; copy or write it again")


def plan_digest(dataset: FrameDataset, labels: LabelKind, form: str) -> str:
    """Return a digest of all that decides the content: size, form, fields, records, and the state of their files."""
    digest = hashlib.sha256(repr((VERSION, form, dataset.size, labels, dataset.with_depth)).encode())
    for record in dataset.records:
        digest.update(repr((record, [_state(path) for path in _files(record)])).encode())
    return digest.hexdigest()


def require_free(out: Path, kind: Kind, plan: str) -> bool:
    """Return whether ``out`` already holds this very collection; False: it is free to be written.

    Raises:
        InputError: if it holds something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / HEADER[kind]).is_file():
        raise InputError(f"{out}: is there and holds no prepared {kind}; give another folder")
    if read_header(out, kind).plan != plan:
        raise InputError(f"{out}: holds {kind} of other frames or options; give another folder, or delete it")
    return True


def write_whole(path: Path, content: bytes) -> None:
    """Write a file all at once: a reader (or a crash) never sees half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


class ToLearnFrom:
    """What is prepared at the network's size has no truth at its native size, so nobody can be judged on it."""

    root: Path

    def ground_truth(self, index: int) -> npt.NDArray[np.float32]:
        """Refuse.

        Raises:
            InputError: always.
        """
        raise self._refusal()

    def labels(self, index: int) -> npt.NDArray[np.uint8] | None:
        """Refuse, see ``ground_truth``."""
        raise self._refusal()

    def moving(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Refuse, see ``ground_truth``."""
        raise self._refusal()

    def _refusal(self) -> InputError:
        return InputError(f"{self.root}: {TO_LEARN_FROM}")


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _files(record: FrameRecord) -> list[Path]:
    found = [record.image, *record.sources, record.labels, record.confidence]
    found += [getattr(record.depth, name, None) for name in ("path", "scan", "cached")]
    return [path for path in found if path is not None]


def _state(path: Path) -> tuple[int, int]:
    """Return bytes and time of change; a file that is missing is complained about when it is read."""
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns
