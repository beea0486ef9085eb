import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from semdepth.data.kitti import kitti_raw
from semdepth.data.records import FrameRecord
from semdepth.data.video import FrameDataset, read_ground_truth, read_moving, resize_nearest
from semdepth.images import read_image
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, stack_frames

SIZE = (24, 80)  # of conftest's drives


def same(a: FrameBatch, b: FrameBatch) -> bool:
    return all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in ((getattr(a, f), getattr(b, f)) for f in FrameBatch.__dataclass_fields__)
    )


@pytest.fixture
def records(raw_drive):
    return kitti_raw(raw_drive(frames=5, exact=True).parents[1], labels="noisy")


def test_item_at_native_size_holds_the_files_pixels(records):
    item = FrameDataset(records, *SIZE, with_depth=True)[0]
    record = records[0]
    assert item.names == ("2011_09_26_drive_0001_sync/0000000001/l",)
    assert item.offsets == (-1, 1)
    assert item.target.dtype == item.sources.dtype == torch.uint8
    np.testing.assert_array_equal(item.target[0].permute(1, 2, 0), read_image(record.image))
    for s in range(2):
        np.testing.assert_array_equal(item.sources[0, s].permute(1, 2, 0), read_image(record.sources[s]))
    np.testing.assert_array_equal(item.labels[0], np.array(Image.open(record.labels)))
    np.testing.assert_array_equal(item.confidence[0], 255 - np.array(Image.open(record.confidence)))
    np.testing.assert_array_equal(item.depth[0, 0], np.full(SIZE, 2.0))
    np.testing.assert_allclose(item.intrinsics[0], record.intrinsics)
    assert item.intrinsics.dtype == torch.float32


def test_motion_takes_target_points_into_the_source(records):
    """The camera moves 2 m forward a frame: what is at z in the target is at z − 2 in the next frame."""
    motion = FrameDataset(records, *SIZE)[0].source_from_target
    np.testing.assert_allclose(motion[0, :, :3, 3], [[0, 0, 2], [0, 0, -2]])
    np.testing.assert_allclose(motion[0, :, :3, :3], np.tile(np.eye(3), (2, 1, 1)))


def test_resized_intrinsics_see_the_same_rays(records):
    """A pixel's centre moves by (x + 0.5)·s − 0.5; its ray must not move."""
    item = FrameDataset(records, 12, 40)[0]
    x = 17.0
    ray = (x - 39.5) / 50.0
    moved = (x + 0.5) / 2 - 0.5
    assert (moved - item.intrinsics[0, 0, 2]) / item.intrinsics[0, 0, 0] == pytest.approx(ray)
    assert item.target.shape == (1, 3, 12, 40)
    assert item.labels.shape == item.confidence.shape == (1, 12, 40)


def test_resize_is_antialiased(tmp_path):
    """One-pixel stripes become their mean, not a pattern."""
    stripes = np.zeros((48, 96, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(tmp_path / "a.png")
    item = FrameDataset([FrameRecord("a", tmp_path / "a.png", np.eye(3))], 12, 24)[0]
    assert (item.target[..., 3:-3].int() - 100).abs().max() <= 3
    assert item.sources.shape == (1, 0, 3, 12, 24)


def test_images_smaller_than_their_calibration(records, tmp_path):
    """Half-size copies of a dataset keep its calibration files: the result is that of the originals."""
    Image.open(records[0].image).resize((40, 12)).save(tmp_path / "half.png")
    half = replace(records[0], image=tmp_path / "half.png", sources=(), offsets=(), labels=None, confidence=None)
    whole = replace(half, image=records[0].image)
    assert torch.equal(FrameDataset([half], 12, 40)[0].intrinsics, FrameDataset([whole], 12, 40)[0].intrinsics)
    Image.open(records[0].image).crop((0, 0, 40, 24)).save(tmp_path / "half.png")
    with pytest.raises(InputError, match=r"half\.png: is 40×24, its calibration speaks of 80×24"):
        FrameDataset([half], 12, 40)[0]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_nearest_takes_the_pixel_under_the_centre(height, width, new_height, new_width):
    values = np.arange(height * width, dtype=np.int32).reshape(height, width)
    resized = resize_nearest(values, (new_height, new_width))
    rows = np.floor((np.arange(new_height) + 0.5) * height / new_height + 1e-9).astype(int)
    columns = np.floor((np.arange(new_width) + 0.5) * width / new_width + 1e-9).astype(int)
    np.testing.assert_array_equal(resized, values[np.ix_(rows, columns)])


def test_sparse_depth_is_not_averaged(records):
    depth = FrameDataset(records, 7, 23, with_depth=True)[0].depth
    assert set(np.unique(depth)) == {2.0}
    without = [replace(records[0], depth=None), records[1]]
    first, second = (FrameDataset(without, 7, 23, with_depth=True)[i].depth for i in range(2))
    assert not first.any()
    assert second.all()
    assert FrameDataset(records, 7, 23)[0].depth is None


def test_cache_changes_nothing_but_the_number_of_reads(records, monkeypatch):
    from semdepth.data import video

    plain, cached = FrameDataset(records, 12, 40), FrameDataset(records, 12, 40, cache=True)
    opened = []
    read = video.open_rgb
    monkeypatch.setattr(video, "open_rgb", lambda path: (opened.append(path), read(path))[1])
    for _ in range(2):
        items = [cached[i] for i in range(len(cached))]
    assert len(opened) == 5, "five frames make three triplets"
    assert all(same(item, plain[i]) for i, item in enumerate(items))
    assert pickle.loads(pickle.dumps(cached))._cache == {}


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_stacks_items(records, workers):
    dataset = FrameDataset(records, 12, 40, with_depth=True)
    loader = DataLoader(dataset, batch_size=3, num_workers=workers, collate_fn=stack_frames)
    (batch,) = loader
    assert len(batch) == 3
    assert same(batch, stack_frames([dataset[i] for i in range(3)]))


def test_optional_fields_are_there_in_every_item_or_in_none(records):
    mixed = [records[0], replace(records[1], labels=None, confidence=None, world_from_camera=None)]
    batch = stack_frames([FrameDataset(mixed, 12, 40)[i] for i in range(2)])
    assert (batch.labels[1] == 255).all()
    assert (batch.confidence[1] == 255).all()
    assert batch.source_from_target is None
    bare = FrameDataset([mixed[1]], 12, 40)[0]
    assert bare.labels is None
    assert bare.confidence is None


def test_ground_truth_at_native_size(records, shared):
    dataset = FrameDataset(records, 12, 40)
    assert dataset.ground_truth(0).shape == SIZE
    assert dataset.labels(0).shape == SIZE
    assert dataset.moving(0).dtype == np.bool_
    assert dataset.moving(0).any()
    assert not dataset.moving(0).all()
    bare = replace(records[0], depth=None, labels=None, moving=None)
    assert read_moving(bare) is None
    with pytest.raises(InputError, match="no ground truth depth"):
        read_ground_truth(bare)
    lidar = kitti_raw(shared / "data" / "kitti_raw", offsets=(), require_depth=True)
    golden = np.load(shared / "reference" / "velodyne_depth.npz")
    np.testing.assert_array_equal(read_ground_truth(lidar[0]), golden["0000000001"])


@pytest.mark.parametrize("field", ["sources", "labels", "confidence"])
def test_files_of_another_size_are_refused(records, tmp_path, field):
    record = records[0]
    Image.new("RGB" if field == "sources" else "L", (40, 12)).save(tmp_path / "small.png")
    other = tmp_path / "small.png"
    spoilt = replace(record, **{field: (record.sources[0], other) if field == "sources" else other})
    with pytest.raises(InputError, match=r"small\.png: is 40×12, but 0000000001\.png beside it is 80×24"):
        FrameDataset([spoilt], 12, 40)[0]


def test_wrong_records_are_refused(records):
    with pytest.raises(InputError, match="no frames"):
        FrameDataset([], 12, 40)
    with pytest.raises(ValueError, match="same offsets"):
        FrameDataset([records[0], replace(records[0], sources=(), offsets=())], 12, 40)
    with pytest.raises(ValueError, match="2 sources but 1 offsets"):
        replace(records[0], offsets=(1,))
