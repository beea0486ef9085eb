"""Shards: tar files of some dozens of records each (WebDataset's layout), for collections that are streamed.

::

    <root>/shards.json   size, offsets, version; every shard's bytes, records and checksum; written last
    <root>/000000.tar    f00000012.png            a frame at the network's size, once a shard
                         r00000005.json           a record: name, its frames, intrinsics, motion
                         r00000005.labels.png     and what belongs to its target: labels,
                         r00000005.confidence.png confidence,
                         r00000005.depth.npy      depth

PNG keeps every value: a record read from a shard is the plain reader's, bit by bit. A shard is made of short clips from all
over the collection, so that a few shards in memory give well-mixed batches.
"""

from __future__ import annotations

import hashlib
import io
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException, InvalidURL
from itertools import islice
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from semdepth.data.prepared import DataFile, Header, ToLearnFrom, check_asked, check_size, damaged, read_header
from semdepth.data.records import LabelKind
from semdepth.images import as_rgb
from semdepth.runtime import InputError, parse_json
from semdepth.structures import FrameBatch, stack_frames

POOL = 4
"""So many shards are open at once in a loader process; records are drawn from all of them."""
TIMEOUT = 60.0
"""Seconds without an answer after which a download has failed."""
ATTEMPTS, PAUSE = 3, 2.0
"""How often a download that broke off is tried, and the seconds between."""


class Shard:
    """The records of one shard, in memory; frames are decoded when they are first needed."""

    def __init__(self, content: bytes, offsets: tuple[int, ...], wanted: frozenset[str]) -> None:
        """Take a tar file apart.

        Args:
            content: the tar file.
            offsets: of the collection.
            wanted: which of labels, confidence and depth to give.
        """
        from webdataset.tariterators import group_by_keys, tar_file_expander

        samples = group_by_keys(tar_file_expander([{"url": "", "stream": io.BytesIO(content)}]))
        members = {sample["__key__"]: sample for sample in samples}
        self._encoded: dict[str, bytes] = {key: sample["png"] for key, sample in members.items() if "png" in sample}
        self._records = [members[key] for key in sorted(members) if "json" in members[key]]
        self._offsets, self._wanted = offsets, wanted
        self._decoded: dict[str, Tensor] = {}

    def record(self, number: int) -> FrameBatch:
        """Return a record as a batch with B = 1."""
        members = self._records[number]
        about = parse_json(members["json"])
        target, *sources = (self._frame(key) for key in about["frames"])
        motion = about.get("source_from_target")
        optional = {
            name: decode(members[member])[None]
            for name, (member, decode) in MEMBERS.items()
            if name in self._wanted and member in members
        }
        return FrameBatch(
            names=(about["name"],),
            target=target[None],
            sources=torch.stack(sources)[None] if sources else target.new_empty(1, 0, *target.shape),
            offsets=self._offsets,
            intrinsics=torch.tensor([about["intrinsics"]]),
            source_from_target=None if motion is None else torch.tensor([motion]).view(1, -1, 4, 4),
            **optional,
        )

    def _frame(self, key: str) -> Tensor:
        if key not in self._decoded:
            pixels = as_rgb(Image.open(io.BytesIO(self._encoded[key])))
            self._decoded[key] = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        return self._decoded[key]


def _decode_map(content: bytes) -> Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)), dtype=np.uint8))


def _decode_array(content: bytes) -> Tensor:
    try:
        return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))
    except (ValueError, EOFError, TypeError) as error:  # arrays of objects (pickles) among it
        raise InputError(
            f"a shard's depth cannot be read ({str(error).splitlines()[0]}); write the shards again"
        ) from None


MEMBERS: dict[str, tuple[str, Callable[[bytes], Tensor]]] = {
    "labels": ("labels.png", _decode_map),
    "confidence": ("confidence.png", _decode_map),
    "depth": ("depth.npy", _decode_array),
}
"""Field of a batch → what it is called in a shard, and how it is read."""


class ShardFrames(ToLearnFrom, Dataset[FrameBatch]):
    """A collection of shards. ``stream`` is how to learn from it; single records by number are slow to get."""

    def __init__(
        self,
        root: Path,
        size: tuple[int, int],
        offsets: Sequence[int] = (-1, 1),
        labels: LabelKind = "noisy",
        with_depth: bool = False,
        base_url: str | None = None,
    ) -> None:
        """Read the header, and check the size of every shard that lies beside it.

        Args:
            root: the folder of ``shards.json``.
            size: (H, W) of the network's input.
            offsets: frame offsets of the sources; those it was prepared with.
            labels: those it was prepared with, or ``none``.
            with_depth: give ground truth in the batches.
            base_url: http(s) address that the tar files lie below, if not beside the header.

        Raises:
            InputError: if files are missing or damaged, or something else is asked for than was prepared.
        """
        if base_url is not None and not base_url.startswith(("http://", "https://")):
            raise InputError(
                f"data.base_url {base_url}: give an http(s) address, or leave it out for files beside {root}"
            )
        self.root, self.base_url = root, base_url
        self.header = read_header(root, "shards")
        check_asked(root, self.header, size, offsets, labels, with_depth)
        if base_url is None:
            for file in self.header.files:
                check_size(root / file.name, file.bytes)
        unwanted = {"labels", "confidence"} if labels == "none" else set()
        self._wanted = frozenset({"labels", "confidence", *(["depth"] if with_depth else [])} - unwanted)
        self._ends = np.cumsum([file.records for file in self.header.files])

    def __len__(self) -> int:
        return self.header.records

    def __getitem__(self, index: int) -> FrameBatch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index % len(self), side="right"))
        return self.open(shard).record(index % len(self) - int(self._ends[shard]) + self.header.files[shard].records)

    def name(self, index: int) -> str:
        """Return the name of a record."""
        return self[index].names[0]

    def open(self, shard: int) -> Shard:
        """Fetch a shard.

        Raises:
            InputError: if it cannot be fetched, is cut off or damaged.
        """
        file = self.header.files[shard]
        content = self._read(file) if self.base_url is None else self._download(file)
        path = self.root / file.name
        if len(content) != file.bytes:
            raise InputError(f"{path}: {len(content)} of {file.bytes} bytes arrived; copy or write it again")
        if zlib.crc32(content) != file.crc32:
            raise damaged(path, "the shard")
        return Shard(content, self.header.offsets, self._wanted)

    def stream(
        self, batch: int, *, steps: int, start: int = 0, seed: int = 0, rank: int = 0, world: int = 1
    ) -> ShardStream:
        """Return the batches of steps ``start`` … ``steps``−1 for one of ``world`` processes, see ``ShardStream``."""
        return ShardStream(self, batch, steps=steps, start=start, seed=seed, rank=rank, world=world)

    def _read(self, file: DataFile) -> bytes:
        try:
            return (self.root / file.name).read_bytes()
        except OSError as error:
            raise InputError(f"{self.root / file.name}: cannot be read ({error.strerror}); check the disk") from None

    def _download(self, file: DataFile, attempts: int = ATTEMPTS) -> bytes:
        url, content = f"{str(self.base_url).rstrip('/')}/{file.name}", b""
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # http(s) only, see __init__
                content = answer.read(file.bytes + 1)  # who sends more shall not fill the memory
        except (OSError, HTTPException) as error:
            final = isinstance(error, InvalidURL) or (isinstance(error, HTTPError) and error.code < 500)
            if final or attempts == 1:
                reason = getattr(error, "reason", None) or error
                raise InputError(f"{url}: cannot be fetched ({reason}); check data.base_url and the network") from None
        if len(content) == file.bytes or attempts == 1:
            return content
        time.sleep(PAUSE)
        return self._download(file, attempts - 1)


class ShardStream(IterableDataset[FrameBatch]):
    """Batches from shards, for any number of loader processes, training processes and machines.

    Every reader (loader process of a training process) takes its own shards of an epoch, in an order drawn from
    (seed, epoch); none reads a record twice in an epoch, and no two read the same. It draws records at random from
    ``POOL`` shards at a time. Its batches run on from one epoch into the next, so none is left out and none is short.

    The batches are a function of (seed, step) *and of the numbers of processes*: a run that is resumed with as many loader and
    training processes gets exactly what it would have got, and reads nothing that it skips. With other numbers it goes on at
    about the same place, but may meet records of that epoch again.
    """

    def __init__(
        self, frames: ShardFrames, batch: int, *, steps: int, start: int, seed: int, rank: int, world: int
    ) -> None:
        """Read nothing yet.

        Args:
            frames: the collection.
            batch: frames a step, of this process.
            steps: end of the schedule.
            start: first step.
            seed: of the order.
            rank: number of this training process.
            world: how many there are.
        """
        self.frames, self.batch, self.seed, self.rank, self.world = frames, batch, seed, rank, world
        self.start, self.steps = start, steps

    def __iter__(self) -> Iterator[FrameBatch]:
        worker = get_worker_info()
        workers = 1 if worker is None else worker.num_workers
        # The loader asks its processes in turn, starting with the first, which here has to give step `start`.
        place = (self.start + (0 if worker is None else worker.id)) % workers
        readers, reader = self.world * workers, self.rank * workers + place
        if readers > len(self.frames.header.files):
            raise InputError(
                f"{self.frames.root}: {len(self.frames.header.files)} shards for {readers} readers; lower "
                "trainer.workers or write smaller shards"
            )
        before, until = (max(0, (step - place + workers - 1) // workers) for step in (self.start, self.steps))
        records = self._records(reader, readers, before * self.batch)
        for _ in range(before, until):
            yield stack_frames(list(islice(records, self.batch)))

    def _records(self, reader: int, readers: int, skip: int) -> Iterator[FrameBatch]:
        """Yield one reader's records for ever, but for the first ``skip``; what is skipped is not read."""
        epoch = 0
        while True:
            for shards, order in self.epoch(epoch, reader, readers):
                if skip < len(order):
                    opened = {shard: self.frames.open(shard) for shard in shards}
                    for shard, number in order[skip:]:
                        yield opened[shard].record(number)
                skip = max(0, skip - len(order))
            epoch += 1

    def epoch(self, epoch: int, reader: int, readers: int) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
        """Yield what a reader reads in an epoch, pool by pool: its shards, and the order of (shard, record)."""
        files = self.frames.header.files
        order = torch.randperm(len(files), generator=_generator(self.seed, epoch)).tolist()[reader::readers]
        for first in range(0, len(order), POOL):
            shards = order[first : first + POOL]
            items = [(shard, number) for shard in shards for number in range(files[shard].records)]
            mixed = torch.randperm(len(items), generator=_generator(self.seed, epoch, *shards)).tolist()
            yield shards, [items[i] for i in mixed]


def _generator(*numbers: int) -> torch.Generator:
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def verify_shards(root: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Header:
    """Read every shard beside a header against its checksum.

    Raises:
        InputError: at the first that is missing, cut off or damaged.
    """
    header = read_header(root, "shards")
    frames = ShardFrames(root, (header.height, header.width), header.offsets, header.labels)
    for shard in range(len(header.files)):
        frames.open(shard)
        progress(shard + 1, len(header.files))
    return header
