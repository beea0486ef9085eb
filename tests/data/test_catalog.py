from pathlib import Path

import pytest
from PIL import Image

from semdepth.data.catalog import DataConfig, list_records, open_dataset
from semdepth.data.synthetic_frames import SyntheticConfig
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError


def test_kitti_raw_by_options(raw_drive):
    folder = raw_drive(frames=6, exact=True)
    config = DataConfig(root=folder.parents[1], height=12, width=40, sequences=(folder.name,), with_depth=True)
    dataset = open_dataset(config)
    assert isinstance(dataset, FrameDataset)
    item = dataset[0]
    assert len(dataset) == 4
    assert item.target.shape == (1, 3, 12, 40)
    assert item.depth is not None
    assert item.labels is not None
    assert item.confidence is not None
    judged = DataConfig(root=folder.parents[1], offsets=(), labels="exact", require_depth=True, frames=(1, 3))
    assert [r.image.stem[-1] for r in list_records(judged)] == ["1", "2"]


def test_real_odometry_and_folder_by_name(shared, tmp_path):
    config = DataConfig("kitti_odometry", shared / "data" / "kitti_odometry", cameras=(0,), labels="none")
    assert len(open_dataset(config)) == 49
    for i in range(3):
        Image.new("RGB", (40, 20)).save(tmp_path / f"{i}.png")
    assert len(open_dataset(DataConfig("folder", tmp_path, fov_deg=80.0, labels="none"))) == 1


def test_cityscapes_and_make3d_by_name(city_tree, make3d_tree):
    val = DataConfig("cityscapes", city_tree, split=Path("val"), offsets=(-2, 2), labels="exact", require_depth=True)
    assert [r.name for r in list_records(val)] == ["frankfurt/000001_000042/l"]
    hamburg = DataConfig("cityscapes", city_tree, sequences=("hamburg",), labels="noisy", height=24, width=64)
    item = open_dataset(hamburg)[0]
    assert item.target.shape == (1, 3, 24, 64)
    assert item.confidence is not None
    assert len(open_dataset(DataConfig("make3d", make3d_tree, offsets=(), frames=(0, 2)))) == 2
    with pytest.raises(InputError, match="to judge on only"):
        open_dataset(DataConfig("make3d", make3d_tree))
    with pytest.raises(InputError, match=r"split lists/train\.txt: Cityscapes has train, val, test"):
        open_dataset(DataConfig("cityscapes", city_tree, split=Path("lists/train.txt")))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "make3d", "labels": "exact"}, "labels exact"),
        ({"name": "make3d", "split": Path("test")}, "split"),
        ({"name": "cityscapes", "cameras": (2,)}, "cameras"),
        ({"name": "synthetic", "root": Path("x")}, "root"),
        ({"name": "synthetic", "cache": True}, "cache"),
        ({"name": "synthetic", "frames": (0, 3)}, "frames"),
        ({"name": "folder", "split": Path("x")}, "split"),
        ({"name": "folder", "sequences": ("a",)}, "sequences"),
        ({"name": "folder", "labels": "exact"}, "labels exact"),
        ({"name": "folder", "intrinsics": (1.0, 1.0, 0.0, 0.0), "fov_deg": 50.0}, "not both"),
        ({"name": "kitti_odometry", "cameras": (0, 2)}, "one camera"),
        ({"name": "kitti_odometry", "require_depth": True}, "require_depth"),
        ({"fov_deg": 50.0}, "fov_deg"),
        ({"synthetic": SyntheticConfig(drives=3)}, "synthetic"),
        ({"offsets": (1, -1)}, "offsets"),
        ({"height": 0}, "height"),
        ({"frames": (3, 3)}, r"frames \[3, 3\]: .* e\.g\. \[0,60\]"),
    ],
)
def test_contradictions_are_refused_at_construction(options, says):
    with pytest.raises(InputError, match=says):
        DataConfig(**options)


def test_missing_root_is_refused_when_opened(tmp_path):
    with pytest.raises(InputError, match="set root"):
        open_dataset(DataConfig())
    with pytest.raises(InputError, match="cvlibs"):
        open_dataset(DataConfig(root=tmp_path / "nowhere"))


def test_frames_beyond_the_records_are_refused(raw_drive):
    root = raw_drive().parents[1]
    with pytest.raises(InputError, match="only 2 records"):
        open_dataset(DataConfig(root=root, frames=(5, 9)))
