import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from semdepth.data.cache import PreparedFrames, verify_cache
from semdepth.data.cache_writer import prepare
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, stack_frames

SIZE = (12, 40)
FIELDS = ("target", "sources", "intrinsics", "labels", "confidence", "depth", "source_from_target")


def same(a: FrameBatch, b: FrameBatch) -> bool:
    """Return whether two batches are equal bit by bit, in type and in shape."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in FIELDS]
    return (a.names, a.offsets) == (b.names, b.offsets) and all(
        x is y if x is None or y is None else x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs
    )


@pytest.fixture
def config(raw_drive: Callable[..., Path]) -> DataConfig:
    """Six frames with everything that a record may carry: four records."""
    root = raw_drive(frames=6, exact=True).parents[1]
    return DataConfig(root=root, height=SIZE[0], width=SIZE[1], with_depth=True)


@pytest.fixture
def plain(config: DataConfig) -> FrameDataset:
    dataset = open_dataset(replace(config, cache=True))
    assert isinstance(dataset, FrameDataset)
    return dataset


@pytest.fixture
def root(plain: FrameDataset, tmp_path: Path) -> Path:
    prepare(plain, tmp_path / "cache", labels="noisy")
    return tmp_path / "cache"


def read(root: Path, with_depth: bool = True) -> PreparedFrames:
    return PreparedFrames(root, SIZE, with_depth=with_depth)


def test_frames_are_stored_once(root: Path, plain: FrameDataset) -> None:
    header = verify_cache(root)
    assert (header.records, header.frames) == (4, 6)
    assert (root / "images.bin").stat().st_size == 6 * 3 * SIZE[0] * SIZE[1]
    assert {p.name for p in root.iterdir()} == {file.name for file in header.files} | {"cache.json"}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_batches_are_the_plain_readers(root: Path, plain: FrameDataset, indices: list[int]) -> None:
    (batch,) = read(root).__getitems__(indices)
    assert same(batch, stack_frames([plain[i] for i in indices]))


def test_single_records_are_the_plain_readers(root: Path, plain: FrameDataset) -> None:
    cache = read(root)
    assert len(cache) == len(plain)
    assert all(same(cache[i], plain[i]) and cache.name(i) == plain.name(i) for i in range(4))
    assert same(cache[-1], plain[3])
    with pytest.raises(IndexError):
        cache[4]


def test_chunks_join_to_the_same_cache(plain: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semdepth.data.cache_writer.CHUNK", 3)
    prepare(plain, tmp_path / "cache", labels="noisy", threads=2)
    cache = read(tmp_path / "cache")
    assert all(same(cache[i], plain[i]) for i in range(4))
    verify_cache(tmp_path / "cache")


def test_without_labels_depth_and_motion(raw_drive: Callable[..., Path], tmp_path: Path) -> None:
    root = raw_drive(frames=4).parents[1]
    config = DataConfig(root=root, height=SIZE[0], width=SIZE[1], labels="none", cache=True)
    plain = open_dataset(config)
    assert isinstance(plain, FrameDataset)
    prepare(plain, tmp_path / "cache", labels="none")
    cache = PreparedFrames(tmp_path / "cache", SIZE, labels="none")
    assert same(cache[0], plain[0])
    assert cache[0].labels is cache[0].depth is cache[0].source_from_target is None


@pytest.mark.slow
@pytest.mark.parametrize(("method", "workers"), [("fork", 2), ("spawn", 1)])
def test_loader_processes_give_the_same(root: Path, plain: FrameDataset, method: str, workers: int) -> None:
    cache = read(root)
    cache[0]  # opened here already
    loader = DataLoader(cache, 2, num_workers=workers, collate_fn=stack_frames, multiprocessing_context=method)
    batches = list(loader)
    assert len(batches) == 2
    assert all(same(batch, stack_frames([plain[2 * i], plain[2 * i + 1]])) for i, batch in enumerate(batches))


def test_the_catalog_opens_it(root: Path, config: DataConfig, plain: FrameDataset) -> None:
    prepared = DataConfig(name="prepared", root=root, height=SIZE[0], width=SIZE[1])
    batch = open_dataset(prepared)[1]
    assert batch.depth is None
    assert torch.equal(batch.target, plain[1].target)
    none = open_dataset(replace(prepared, labels="none"))[1]
    assert none.labels is None
    assert none.confidence is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 24, "width": 80}, r"was prepared at 40×12, not 80×24; set data\.height 12"),
        ({"offsets": (1,)}, r"offsets \[-1, 1\], not \[1\]"),
        ({"labels": "exact"}, "labels noisy, not exact"),
        ({"root": None}, "root of prepared not given"),
        ({"root": Path("/nowhere")}, "cache.json: header of prepared cache not found"),
    ],
)
def test_what_was_not_prepared_is_refused(root: Path, changes: dict, message: str) -> None:
    config = DataConfig(name="prepared", root=root, height=SIZE[0], width=SIZE[1])
    with pytest.raises(InputError, match=message):
        open_dataset(replace(config, **changes))


def test_depth_that_was_not_prepared_is_refused(config: DataConfig, tmp_path: Path) -> None:
    plain = open_dataset(replace(config, cache=True, with_depth=False))
    assert isinstance(plain, FrameDataset)
    prepare(plain, tmp_path / "cache", labels="noisy")
    with pytest.raises(InputError, match="without depth"):
        read(tmp_path / "cache")


def test_a_cache_without_depth_is_not_taken_for_one_with_it(
    config: DataConfig, plain: FrameDataset, tmp_path: Path
) -> None:
    without = open_dataset(replace(config, with_depth=False))
    assert isinstance(without, FrameDataset)
    prepare(without, tmp_path / "cache", labels="noisy")
    with pytest.raises(InputError, match="other frames or options"):
        prepare(plain, tmp_path / "cache", labels="noisy")


def test_nobody_is_judged_on_it(root: Path) -> None:
    for ask in (read(root).ground_truth, read(root).labels, read(root).moving):
        with pytest.raises(InputError, match="are to learn from; judge on the data set"):
            ask(0)


@pytest.mark.parametrize("name", ["images.bin", "labels.bin", "confidence.bin", "depth.bin"])
def test_a_flipped_byte_is_found_when_it_is_read(root: Path, name: str) -> None:
    content = bytearray((root / name).read_bytes())
    content[-1] ^= 1
    (root / name).write_bytes(content)
    cache = read(root)
    cache[0]
    for found in (lambda: cache[3], lambda: verify_cache(root)):
        with pytest.raises(InputError, match=rf"{name}: row \d is damaged, it does not fit its checksum"):
            found()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_of_the_index_is_found_on_opening(root: Path, data: st.DataObject) -> None:
    path = root / data.draw(st.sampled_from(["cache.json", "rows.npz"]))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(0, len(whole) - 2))] ^= 1 << data.draw(st.integers(0, 6))  # the last is a line's end
    path.write_bytes(damaged)
    try:
        with pytest.raises(InputError) as caught:
            read(root)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["images.bin", "labels.bin", "rows.npz"])
def test_a_file_cut_off_is_one_line(root: Path, name: str) -> None:
    with (root / name).open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(InputError, match=f"{name}: has 100 bytes where its header says"):
        read(root)


def test_a_file_cut_off_while_open_is_one_line(root: Path) -> None:
    cache = read(root)
    cache[0]
    with (root / "images.bin").open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(InputError, match=r"images\.bin: was cut off while it was read"):
        cache[0]


def test_another_version_is_refused(root: Path) -> None:
    path = root / "cache.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 1}))
    with pytest.raises(InputError, match="written in version 1, this program reads version 2; write it again"):
        read(root)


def test_nothing_is_written_twice_and_nothing_over_another(root: Path, plain: FrameDataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.iterdir()}
    prepare(plain, root, labels="noisy")
    assert {path: path.stat().st_mtime_ns for path in root.iterdir()} == before
    with pytest.raises(InputError, match="other frames or options"):
        prepare(FrameDataset(plain.records[:2], *SIZE, cache=True), root, labels="noisy")
    (root / "cache.json").unlink()
    with pytest.raises(InputError, match="holds no prepared cache"):
        prepare(plain, root, labels="noisy")


def test_an_interrupted_call_is_taken_up(plain: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semdepth.data.cache_writer.CHUNK", 1)
    out, read_item = tmp_path / "cache", FrameDataset.__getitem__
    asked: list[int] = []

    def fails_once(self: FrameDataset, index: int) -> FrameBatch:
        asked.append(index)
        if index == 2 and asked.count(2) == 1:
            raise KeyboardInterrupt
        return read_item(self, index)

    monkeypatch.setattr(FrameDataset, "__getitem__", fails_once)
    with pytest.raises(KeyboardInterrupt):
        prepare(plain, out, labels="noisy", threads=1)
    assert not out.exists()
    done = len(list((tmp_path / ".cache.partial").glob("chunk_*.npz")))
    assert done >= 2
    asked[:] = [2]
    prepare(plain, out, labels="noisy", threads=1)
    assert len(asked) == 1 + 1 + (4 - done)  # the mark, the look at the first record, and what was left
    assert not (tmp_path / ".cache.partial").exists()
    monkeypatch.undo()
    assert all(same(read(out)[i], plain[i]) for i in range(4))
    verify_cache(out)


def test_a_frame_that_cannot_be_read_leaves_no_cache(plain: FrameDataset, tmp_path: Path) -> None:
    plain.records[3].image.write_bytes(b"no image")
    with pytest.raises(InputError, match=plain.records[3].image.name):
        prepare(plain, tmp_path / "cache", labels="noisy")
    assert not (tmp_path / "cache").exists()


def test_a_full_disk_is_one_line(plain: FrameDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Usage", (), {"free": 10})
    monkeypatch.setattr("semdepth.data.cache_writer.shutil.disk_usage", lambda _: free)
    with pytest.raises(InputError, match="GB are needed"):
        prepare(plain, tmp_path / "cache", labels="noisy")


def test_memory_is_page_locked_field_by_field(plain: FrameDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    assert same(plain[0].pin_memory(), plain[0])
    assert len(pinned) == len(FIELDS)


def test_names_stay_text(root: Path) -> None:
    assert np.load(root / "rows.npz", allow_pickle=False)["names"].dtype.kind == "U"
