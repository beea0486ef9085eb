import shutil

import pytest

from semdepth.data.cache_writer import prepare
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.leaks import drives_learnt_from, drives_of, drives_of_list, refuse_leak, shared_drives
from semdepth.data.shard_writer import write_shards
from semdepth.data.shards import ShardFrames
from semdepth.data.synthetic_frames import SyntheticConfig, SyntheticFrames
from semdepth.runtime import InputError

DRIVE, WIDTH = "2011_09_26_drive_0001_sync", 80
DRIVES = [f"2011_09_26_drive_{i:04d}_sync" for i in (1, 2, 5)]


@pytest.fixture
def three(raw_drive, tmp_path):
    """Three drives of four frames under one root."""
    folder = raw_drive()
    for name in DRIVES[1:]:
        shutil.copytree(folder, folder.parent / name)
    return tmp_path


def opened(root, *drives, **options):
    return open_dataset(DataConfig(root=root, sequences=drives, height=12, width=40, labels="none", **options))


def test_a_shared_drive_is_refused_by_name_and_number(three):
    learnt, judged = opened(three, *DRIVES), opened(three, *DRIVES[1:], offsets=())
    with pytest.raises(InputError) as caught:
        refuse_leak(learnt, judged, "validation")
    assert "2 of the 2 drives judged on are also learnt from (4 frames)" in str(caught.value)
    assert "2011_09_26_drive_0002, 2011_09_26_drive_0005" in str(caught.value)
    assert "--allow_leak true" in str(caught.value)
    refuse_leak(opened(three, DRIVES[0]), judged, "validation")


def test_a_copy_of_a_kitti_drive_is_the_same_drive(three, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(three / "2011_09_26", copy / "2011_09_26")
    with pytest.raises(InputError, match="learnt from"):
        refuse_leak(opened(three), opened(copy, DRIVE), "validation")


def test_rendered_drives_of_one_name_in_two_places_are_two(three, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    date, drive = "2026_01_01", "2026_01_01_drive_0000_sync"
    for root in (three, other):
        shutil.copytree(three / "2011_09_26" / DRIVE, root / date / drive)
        for file in (three / "2011_09_26").glob("*.txt"):
            shutil.copy(file, root / date)
    refuse_leak(opened(three, drive), opened(other), "validation")
    with pytest.raises(InputError, match="learnt from"):
        refuse_leak(opened(three, drive), opened(three), "validation")
    split = three / "list.txt"
    split.write_text(f"{date}/{drive} 1 l\n")
    assert list(drives_of_list(split, three)) == list(drives_of(opened(three, drive)))


def test_an_odometry_sequence_is_the_raw_drive_it_was_cut_from(three, tmp_path):
    sequence = tmp_path / "odometry" / "sequences" / "09"
    shutil.copytree(three / "2011_09_26" / DRIVE / "image_02" / "data", sequence / "image_2")
    (sequence / "calib.txt").write_text("P2: 50 0 39.5 0 0 50 11.5 0 0 0 1 0\n")
    frames = open_dataset(DataConfig("kitti_odometry", tmp_path / "odometry", labels="none"))
    assert dict(drives_of(frames)) == {"2011_09_30_drive_0033": 2}


@pytest.mark.parametrize("name", ["prepared", "shards"])
def test_what_was_prepared_remembers_its_drives(three, tmp_path, name):
    """Folders' drives, too, and without a look at any record."""
    sequence = tmp_path / "video"
    shutil.copytree(three / "2011_09_26" / DRIVE / "image_02" / "data", sequence)
    video = open_dataset(DataConfig("folder", sequence, height=12, width=40, labels="none", fov_deg=60.0))
    for number, frames in enumerate((video, opened(three, DRIVE))):
        out = tmp_path / f"out{number}"
        if name == "prepared":
            prepare(frames, out, labels="none")
        else:
            write_shards(frames, out, labels="none", records=16)
        config = DataConfig(name, out, height=12, width=40, labels="none")
        assert drives_of(open_dataset(config)) == drives_learnt_from(config) == drives_of(frames)
        with pytest.raises(InputError, match="learnt from"):
            refuse_leak(open_dataset(config), frames, "validation")
    assert not drives_learnt_from(DataConfig(name, tmp_path / "gone"))


def test_synthetic_worlds_are_told_apart_by_their_split():
    def frames(split, drives):
        return SyntheticFrames(SyntheticConfig(split=split, drives=drives, frames=3), 32, WIDTH)

    assert set(drives_of(frames("train", 2))) == {"world_train_0000", "world_train_0001"}
    refuse_leak(frames("train", 3), frames("val", 2), "validation")
    with pytest.raises(InputError, match="2 of the 2 drives"):
        refuse_leak(frames("train", 3), frames("train", 2), "validation")


def test_real_lists(shared):
    """What the published lists hold: nothing of the test drives in training; every validation drive in training."""
    lists = shared / "data" / "splits"
    train, val = (drives_of_list(lists / "eigen_zhou" / f"{name}_files.txt", None) for name in ("train", "val"))
    test = drives_of_list(lists / "eigen" / "test_files.txt", None)
    assert (len(train), len(val), len(test)) == (32, 31, 28)
    assert shared_drives(train, test) == shared_drives(val, test) == []
    assert len(shared_drives(train, val)) == 31


def test_a_city_is_one_drive_wherever_its_frames_lie_and_shards_tell_theirs_unread(city_tree, tmp_path, monkeypatch):
    def city(**options):
        return open_dataset(DataConfig("cityscapes", city_tree, height=32, width=64, labels="none", **options))

    learnt = city(cache=True)
    assert set(drives_of(learnt)) == {"Cityscapes aachen", "Cityscapes hamburg"}
    write_shards(learnt, tmp_path / "shards", labels="none", records=4)
    config = DataConfig("shards", tmp_path / "shards", height=32, width=64, labels="none")
    monkeypatch.setattr(ShardFrames, "open", None)
    assert drives_of(open_dataset(config)) == drives_of(learnt) == drives_learnt_from(config)
    with pytest.raises(InputError, match="Cityscapes aachen"):
        refuse_leak(open_dataset(config), city(offsets=()), "validation")
    refuse_leak(open_dataset(config), city(offsets=(), split="val"), "validation")
    with pytest.raises(InputError, match="to learn from"):
        open_dataset(DataConfig("shards", tmp_path / "shards", height=32, width=64, labels="none", offsets=()))
