"""Prepared cache: frames decoded and resized once, each stored once, read back as whole batches by number.

::

    <root>/cache.json       size, offsets, version, every file's bytes; written last, with a checksum of its own
    <root>/rows.npz         which rows make up a record; intrinsics at the cache's size, motion; checksum of every row
    <root>/images.bin       (F, 3, H, W) uint8: every frame once, whether it is a target, a source or both
    <root>/labels.bin       (N, H, W) uint8, row i belongs to record i; there if the records have labels
    <root>/confidence.bin   (N, H, W) uint8, there if the labels have confidence
    <root>/depth.bin        (N, 1, H, W) float32, there if asked for

The rows lie bare one after the other, so that the system's page cache serves every process that reads them. They are read by
position (``preadv``, Linux and macOS) into the batch itself: a file cut off while it is read is an error, not a crash.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from semdepth.data.prepared import Header, ToLearnFrom, check_asked, check_size, damaged, read_header
from semdepth.data.records import LabelKind
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

ROWS = "rows.npz"
PIECES: dict[str, tuple[torch.dtype, int | None]] = {
    "images": (torch.uint8, 3),
    "labels": (torch.uint8, None),
    "confidence": (torch.uint8, None),
    "depth": (torch.float32, 1),
}
"""What has a file of rows: type, and channels (None: no such axis)."""


def row_shape(piece: str, height: int, width: int) -> tuple[int, ...]:
    """Return the shape of one row of a piece."""
    channels = PIECES[piece][1]
    return (height, width) if channels is None else (channels, height, width)


def row_bytes(piece: str, height: int, width: int) -> int:
    """Return the bytes of one row of a piece."""
    return math.prod(row_shape(piece, height, width)) * PIECES[piece][0].itemsize


class RowFile:
    """Rows of equal size in one file, read by number; each is checked the first time that a process reads it."""

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: torch.dtype, checksums: npt.NDArray[np.uint32]
    ) -> None:
        """Open nothing yet.

        Args:
            path: the file.
            shape: of a row.
            dtype: of its values.
            checksums: CRC-32 of every row.
        """
        self.path, self.shape, self.dtype, self.checksums = path, shape, dtype, checksums
        self._checked = np.zeros(len(checksums), dtype=np.bool_)
        self._stream: FileIO | None = None

    def __getstate__(self) -> dict[str, object]:
        """A process that is spawned opens the file for itself."""
        return {**self.__dict__, "_stream": None}

    def read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return (len(rows), *shape), in a loader process in memory that it shares with the training process.

        Raises:
            InputError: if the file is gone, cut off, or a row does not fit its checksum.
        """
        found = _new((len(rows), *self.shape), self.dtype)
        places = found.view(len(rows), math.prod(self.shape)).numpy()
        try:
            if self._stream is None:
                self._stream = FileIO(self.path)
            for place, row in zip(places, rows.tolist(), strict=True):
                if os.preadv(self._stream.fileno(), [place], row * place.nbytes) != place.nbytes:
                    raise InputError(f"{self.path}: was cut off while it was read; copy or write it again")
                if not self._checked[row]:
                    if zlib.crc32(place) != self.checksums[row]:
                        raise damaged(self.path, f"row {row}")
                    self._checked[row] = True
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be read ({error.strerror}); check the disk and permissions"
            ) from None
        return found


def _new(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an empty tensor; a loader process makes it in shared memory, as torch's own collation does: no copy later."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage, 0, shape)  # type: ignore[call-overload, no-any-return, unused-ignore]


class PreparedFrames(ToLearnFrom, Dataset[FrameBatch]):
    """Reads a prepared cache; a loader that asks for a batch gets it in one piece (``__getitems__``).

    The batches are those of ``FrameDataset``, bit by bit. A batch of 12 at 640×192 is read in milliseconds from the page
    cache, so training needs no loader processes (``trainer.workers 0``) unless the disk is slow.
    """

    def __init__(
        self,
        root: Path,
        size: tuple[int, int],
        offsets: Sequence[int] = (-1, 1),
        labels: LabelKind = "noisy",
        with_depth: bool = False,
    ) -> None:
        """Read the index, and check it and every file's size.

        Args:
            root: the cache's folder.
            size: (H, W) of the network's input.
            offsets: frame offsets of the sources; those it was prepared with.
            labels: those it was prepared with, or ``none``.
            with_depth: give ground truth in the batches.

        Raises:
            InputError: if the cache is missing, damaged, of another version, or holds something else than asked for.
        """
        self.root, self.size = root, size
        self.header = read_header(root, "cache")
        check_asked(root, self.header, self.size, offsets, labels, with_depth)
        for file in self.header.files:
            check_size(root / file.name, file.bytes)
        index = read_rows(root, self.header)
        self._names: npt.NDArray[np.str_] = index["names"]
        self._frames: npt.NDArray[np.int64] = index["frames"]
        self._intrinsics = torch.from_numpy(index["intrinsics"])
        motion = index.get("source_from_target")
        self._motion = None if motion is None else torch.from_numpy(motion)
        unwanted = {"labels", "confidence"} if labels == "none" else set()
        unwanted |= set() if with_depth else {"depth"}
        self.files = {name: file for name, file in open_rows(root, self.header, index).items() if name not in unwanted}

    def __len__(self) -> int:
        return self.header.records

    def __getitem__(self, index: int) -> FrameBatch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[FrameBatch]:
        """Return one batch of all these records, in their order: what ``structures.stack_frames`` makes of it is itself."""
        chosen = np.asarray(indices, dtype=np.int64)
        frames, files = self._frames[chosen], self.files
        images, count = files["images"], self._frames.shape[1] - 1
        sources = images.read(frames[:, 1:].reshape(-1)).view(len(chosen), count, 3, *self.size)
        optional = {name: files[name].read(chosen) for name in ("labels", "confidence", "depth") if name in files}
        batch = FrameBatch(
            names=tuple(self._names[chosen].tolist()),
            target=images.read(frames[:, 0]),
            sources=sources,
            offsets=self.header.offsets,
            intrinsics=self._intrinsics[chosen],
            source_from_target=None if self._motion is None else self._motion[chosen],
            **optional,
        )
        return [batch]

    def name(self, index: int) -> str:
        """Return the name of a record."""
        return str(self._names[index])


def read_rows(root: Path, header: Header) -> dict[str, npt.NDArray]:
    """Return the arrays of ``rows.npz``.

    Raises:
        InputError: if the file is damaged.
    """
    path, file = root / ROWS, next(file for file in header.files if file.name == ROWS)
    check_size(path, file.bytes)
    if zlib.crc32(path.read_bytes()) != file.crc32:
        raise damaged(path, "the index")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception:  # whatever a ZIP of arrays can be wrong in; arrays of objects (pickles) among it
        raise damaged(path, "the index") from None


def open_rows(root: Path, header: Header, index: dict[str, npt.NDArray]) -> dict[str, RowFile]:
    """Return piece → its rows."""
    return {
        piece: RowFile(
            root / f"{piece}.bin", row_shape(piece, header.height, header.width), dtype, index[f"{piece}_crc32"]
        )
        for piece, (dtype, _) in PIECES.items()
        if f"{piece}_crc32" in index
    }


def verify_cache(root: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Header:
    """Read every byte of a cache against its checksums.

    Args:
        root: the cache's folder.
        progress: called with the rows read so far, and all rows.

    Raises:
        InputError: at the first file that is missing, cut off or damaged.
    """
    header = read_header(root, "cache")
    for file in header.files:
        check_size(root / file.name, file.bytes)
    pieces = open_rows(root, header, read_rows(root, header))
    total, done = sum(len(rows.checksums) for rows in pieces.values()), 0
    for rows in pieces.values():
        for row in range(len(rows.checksums)):
            rows.read(np.array([row]))
            done += 1
            progress(done, total)
    return header
