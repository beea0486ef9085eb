import http.server
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from semdepth.data import shards
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.prepared import read_header
from semdepth.data.shard_writer import shard_shares, write_shards
from semdepth.data.shards import ShardFrames, verify_shards
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

SIZE = (12, 40)
RECORDS = 22
FIELDS = ("target", "sources", "intrinsics", "labels", "confidence", "depth", "source_from_target")


@pytest.fixture(scope="module")
def plain(write_drive: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> FrameDataset:
    root = tmp_path_factory.mktemp("raw")
    write_drive(root, frames=RECORDS + 2, exact=True)
    config = DataConfig(root=root, height=SIZE[0], width=SIZE[1], with_depth=True, cache=True)
    dataset = open_dataset(config)
    assert isinstance(dataset, FrameDataset)
    return dataset


@pytest.fixture(scope="module")
def root(plain: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight shards of two or three records."""
    out = tmp_path_factory.mktemp("prepared") / "shards"
    write_shards(plain, out, labels="noisy", records=3)
    return out


@pytest.fixture
def frames(root: Path) -> ShardFrames:
    return ShardFrames(root, SIZE, with_depth=True)


def names(batches: Iterator[FrameBatch] | list[FrameBatch]) -> list[str]:
    return list(chain.from_iterable(batch.names for batch in batches))


def load(frames: ShardFrames, workers: int, **options: int) -> list[FrameBatch]:
    """Return what a training process gets."""
    return list(DataLoader(frames.stream(2, **options), batch_size=None, num_workers=workers))


def test_records_are_the_plain_readers(frames: ShardFrames, plain: FrameDataset) -> None:
    expected = {plain.name(i): plain[i] for i in range(len(plain))}
    assert len(frames) == len(plain) == RECORDS
    for i in range(len(frames)):
        found = frames[i]
        for field in FIELDS:
            a, b = getattr(found, field), getattr(expected[found.names[0]], field)
            assert a.dtype == b.dtype
            assert torch.equal(a, b), field
    assert {frames.name(i) for i in range(RECORDS)} == expected.keys()
    assert frames.name(-1) == frames.name(RECORDS - 1)


def test_labels_and_depth_only_if_wanted(root: Path) -> None:
    record = ShardFrames(root, SIZE, labels="none")[0]
    assert record.labels is record.confidence is record.depth is None


@settings(max_examples=40)
@given(length=st.integers(1, 400), records=st.integers(1, 100))
def test_every_record_is_in_one_shard(length: int, records: int) -> None:
    shares = shard_shares(length, records)
    assert sorted(chain.from_iterable(shares)) == list(range(length))
    assert max(map(len, shares)) <= records


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workers=st.integers(1, 4), world=st.integers(1, 2), epoch=st.integers(0, 3), seed=st.integers(0, 5))
def test_no_frame_twice_in_an_epoch(frames: ShardFrames, workers: int, world: int, epoch: int, seed: int) -> None:
    """All readers of all processes together: every record once."""
    stream, readers = frames.stream(1, steps=1, seed=seed), workers * world
    read = [item for r in range(readers) for _, order in stream.epoch(epoch, r, readers) for item in order]
    every = {(shard, i) for shard, file in enumerate(frames.header.files) for i in range(file.records)}
    assert Counter(read) == Counter(every)


def test_loader_processes_share_the_epoch(frames: ShardFrames) -> None:
    """Two ranks with two loader processes each, for real: what they give up to the first one's next epoch has no doubles."""
    given_names: list[list[str]] = []
    for rank in range(2):
        given_names.append(names(load(frames, 2, steps=4, rank=rank, world=2)))
    together = given_names[0] + given_names[1]
    assert len(together) == 2 * 4 * 2
    assert len(set(together)) == len(together)


def test_one_reader_gives_every_epoch_whole_and_in_another_order(frames: ShardFrames) -> None:
    read = names(load(frames, 0, steps=RECORDS, seed=1))
    first, second = read[:RECORDS], read[RECORDS:]
    assert set(first) == set(second)
    assert len(set(first)) == RECORDS
    assert first != second
    assert read == names(load(frames, 0, steps=RECORDS, seed=1))
    assert read != names(load(frames, 0, steps=RECORDS, seed=2))


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_later_gives_the_same_batches(frames: ShardFrames, workers: int) -> None:
    whole = load(frames, workers, steps=17, seed=3)
    assert len(whole) == 17
    for start in (1, 8, 14):
        rest = load(frames, workers, steps=17, start=start, seed=3)
        assert [batch.names for batch in rest] == [batch.names for batch in whole[start:]]
    assert torch.equal(rest[-1].target, whole[-1].target)


def test_what_is_skipped_is_not_read(frames: ShardFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    monkeypatch.setattr(frames, "open", lambda shard, whole=frames.open: (opened.append(shard), whole(shard))[1])
    next(iter(frames.stream(2, steps=1000, start=11 * 80)))
    assert len(opened) <= 4


def test_more_readers_than_shards_is_one_line(frames: ShardFrames) -> None:
    with pytest.raises(InputError, match=r"8 shards for 9 readers; lower trainer\.workers"):
        next(iter(frames.stream(1, steps=1, world=9)))


def test_damage_is_one_line(plain: FrameDataset, tmp_path: Path) -> None:
    root = tmp_path / "shards"
    write_shards(plain, root, labels="noisy", records=8)
    shard = root / "000001.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:2000] + bytes([whole[2000] ^ 4]) + whole[2001:])
    for read in (lambda: load(ShardFrames(root, SIZE), 0, steps=11), lambda: verify_shards(root)):
        with pytest.raises(InputError, match=r"000001\.tar: the shard is damaged"):
            read()
    shard.write_bytes(whole[:2000])
    with pytest.raises(InputError, match=r"000001\.tar: has 2000 bytes where its header says"):
        ShardFrames(root, SIZE)
    shard.unlink()
    with pytest.raises(InputError, match=r"000001\.tar: prepared file not found"):
        ShardFrames(root, SIZE)


def test_bytes_do_not_depend_on_the_day(root: Path, plain: FrameDataset, tmp_path: Path) -> None:
    again = write_shards(plain, tmp_path / "again", labels="noisy", records=3, threads=1)
    assert again.files == read_header(root, "shards").files == verify_shards(root).files


def test_an_interrupted_call_is_taken_up(
    plain: FrameDataset, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_item: Callable = FrameDataset.__getitem__

    def fails(self: FrameDataset, index: int) -> FrameBatch:
        if index == RECORDS - 1:
            raise InputError("a frame; copy it again")
        return read_item(self, index)

    monkeypatch.setattr(FrameDataset, "__getitem__", fails)
    with pytest.raises(InputError, match="copy it again"):
        write_shards(plain, tmp_path / "shards", labels="noisy", records=3, threads=1)
    assert not (tmp_path / "shards").exists()
    monkeypatch.undo()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / ".shards.partial").glob("*.tar")}
    header = write_shards(plain, tmp_path / "shards", labels="noisy", records=3)
    assert header.files == read_header(root, "shards").files
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "shards").glob("*.tar")}
    assert before
    assert all(after[path.name] == time for path, time in before.items())


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(root: Path, handler: type[Quiet]) -> Iterator[str]:
    """Give the address of a server of a folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


class BreaksOff(Quiet):
    """Ends two of three answers in the middle, or without a word, as a bad connection does."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.asked % 3 == 0:
            super().do_GET()
        elif self.asked % 3 == 1:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"abc")
        self.close_connection = True


def test_a_download_that_breaks_off_is_tried_again(
    root: Path, frames: ShardFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PAUSE", 0.01)
    (tmp_path / "shards.json").write_bytes((root / "shards.json").read_bytes())
    with served(root, BreaksOff) as url:
        assert torch.equal(ShardFrames(tmp_path, SIZE, base_url=url)[0].target, frames[0].target)
        assert BreaksOff.asked == 3
    with pytest.raises(InputError, match="cannot be fetched"):
        ShardFrames(tmp_path, SIZE, base_url="http://127.0.0.1:1/with a blank/")[0]


def test_shards_come_from_elsewhere(
    root: Path, frames: ShardFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the header is at hand; the tar files are fetched."""
    monkeypatch.setattr(shards, "PAUSE", 0.01)
    (tmp_path / "shards.json").write_bytes((root / "shards.json").read_bytes())
    with served(root, Quiet) as url:
        away = ShardFrames(tmp_path, SIZE, base_url=url)
        streams = (f.stream(2, steps=3) for f in (away, frames))
        a, b = (list(islice(stream, 3)) for stream in streams)
        assert all(torch.equal(x.target, y.target) for x, y in zip(a, b, strict=True))
    with pytest.raises(InputError, match="cannot be fetched"):
        away[0]


def test_only_the_web_is_fetched_from(root: Path) -> None:
    for url in ("pipe:echo", "file:///etc", "/somewhere"):
        with pytest.raises(InputError, match=r"data\.base_url .*: give an http"):
            ShardFrames(root, SIZE, base_url=url)
