import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import spoilt_drives as spoilt
from PIL import Image, ImageFilter

from semdepth.data.audit import audit, recognise
from semdepth.data.catalog import DataConfig
from semdepth.data.findings import evenly, from_error
from semdepth.runtime import InputError


@pytest.fixture
def drive(raw_drive) -> Path:
    """A drive of six frames with labels, entropy and exact truth, whose camera moves sideways."""
    folder = raw_drive(frames=6, exact=True)
    height, width = spoilt.SHAPE
    noise = np.random.default_rng(0).integers(0, 256, (height, 200, 3), dtype=np.uint8)
    strip = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1))
    for i in range(6):
        entropy = np.random.default_rng(i).integers(0, 90, (height, width), dtype=np.uint8)
        Image.fromarray(entropy).save(folder / "segmentation_02" / "entropy" / f"{i:010d}.png")
        strip.crop((6 * i, 0, 6 * i + width, height)).save(folder / "image_02" / "data" / f"{i:010d}.png")
    return folder


def options(drive: Path, **changes) -> DataConfig:
    return dataclasses.replace(DataConfig(root=drive.parents[1]), **changes)


def by_topic(config: DataConfig, **how):
    return {finding.topic: finding for finding in audit(config, **how)}


def test_a_ready_folder_has_no_problem(drive):
    found = by_topic(options(drive))
    assert list(found) == ["frames", "images", "intrinsics", "labels", "confidence", "ground truth", "motion"]
    assert {finding.state for finding in found.values()} == {"ok"}, found
    assert not any(finding.mend for finding in found.values())
    assert "4 frames of 1 sequence" in found["frames"].text
    assert "2 more have not" in found["frames"].text
    assert found["images"].text == "6 read, 80×24"
    assert "77° of view" in found["intrinsics"].text
    assert "100.0% of the pixels are known, median 3.5 m" in found["ground truth"].text
    assert found["motion"].text == "the camera stands in 0 of 4 pairs of frames"


@pytest.mark.parametrize(
    ("spoil", "topic", "state", "says", "mend"),
    [
        (spoilt.raw_ids, "labels", "problem", "raw Cityscapes ids", "convert them to trainIds"),
        (spoilt.colours, "labels", "problem", "Cityscapes' colours", "labelTrainIds"),
        (spoilt.other_colours, "labels", "problem", "holds colours, not classes", "trainIds"),
        (spoilt.value_37, "labels", "problem", "4 of 4 cannot be used", "only trainIds 0–18"),
        (spoilt.all_ignored, "labels", "problem", "255 (ignore)", "write them again"),
        (spoilt.two_classes, "labels", "warning", "2 classes", "look at some"),
        (spoilt.small_labels, "labels", "problem", "is 40×12", "must have its size"),
        (spoilt.no_labels, "labels", "problem", "no label PNGs", "set labels: none"),
        (spoilt.swapped_entropy, "confidence", "warning", "on average 0.17", "or the reverse?"),
        (spoilt.constant_entropy, "confidence", "warning", "the same everywhere", "write them again"),
        (spoilt.small_entropy, "confidence", "problem", "is 40×12", "must have its size"),
        (spoilt.truncated_image, "images", "problem", "1 of 6 cannot be read", "copy or write it again"),
        (spoilt.image_of_another_size, "images", "problem", "differ in size: 80×24, 40×12", "resize them alike"),
        (spoilt.calibration_of_another_size, "intrinsics", "problem", "cx 80.0", "about 160×46"),
        (spoilt.focal_length_in_millimetres, "intrinsics", "problem", "fx 4.0", "not in mm"),
        (spoilt.oblong_pixels, "intrinsics", "warning", "fy 70.0", "square"),
        (
            spoilt.cropped_images,
            "intrinsics",
            "problem",
            "is 60×24, its calibration speaks of 80×24",
            "original images",
        ),
        (spoilt.standing_camera, "motion", "problem", "stands in 4 of 4", "moving camera"),
        (spoilt.stopping_camera, "motion", "warning", "stands in 3 of 4", "leave standing frames out"),
        (spoilt.blank_images, "motion", "warning", "no pair", "look at"),
        (spoilt.empty_truth, "ground truth", "problem", "0.0%", "download them again"),
        (spoilt.truth_in_centimetres, "ground truth", "warning", "median 253.9 m", "metres × 256"),
        (spoilt.eight_bit_truth, "ground truth", "problem", "mode L", "16-bit grey"),
    ],
)
def test_what_is_wrong_is_named_with_its_mend(drive, spoil, topic, state, says, mend):
    spoil(drive)
    found = by_topic(options(drive))[topic]
    assert found.state == state, found
    assert says in found.text, found
    assert mend in found.mend, found


def test_one_demand_that_fails_does_not_hide_the_others(drive, tmp_path):
    """Half the list missing, no labels, no truth, a damaged image: all in one go."""
    spoilt.no_labels(drive)
    spoilt.truncated_image(drive)
    shutil.rmtree(drive / "depth_02")
    split = tmp_path / "list.txt"
    frames = [f"2011_09_26/{drive.name} {i} l" for i in range(1, 5)]
    split.write_text("\n".join([*frames, *(f"2011_09_28/2011_09_28_drive_0002_sync {i} l" for i in range(4))]))
    found = by_topic(options(drive, split=split, require_depth=True))
    problems = {topic for topic, finding in found.items() if finding.state == "problem"}
    assert problems == {"labels", "ground truth", "list", "images"}
    assert "4 of its 8 frames are not under" in found["list"].text
    assert "2011_09_28: 1" in found["list"].text
    assert "2011_09_28_drive_0002_sync.zip" in found["list"].mend


def test_leaks_are_found_without_the_frames(drive, tmp_path):
    split, judged = tmp_path / "train.txt", tmp_path / "test.txt"
    split.write_text("2011_09_28/2011_09_28_drive_0002_sync 5 l\n2011_09_28/2011_09_28_drive_0001_sync 5 l\n")
    judged.write_text("2011_09_28/2011_09_28_drive_0002_sync 9 r\n")
    found = by_topic(options(drive, split=split), against=judged)["leak"]
    assert found.state == "problem"
    assert "1 of the 1 drives judged on is also learnt from (1 frames): 2011_09_28_drive_0002" in found.text
    split.write_text("2011_09_28/2011_09_28_drive_0001_sync 5 l\n")
    assert by_topic(options(drive, split=split), against=judged)["leak"].state == "ok"
    assert by_topic(options(drive), against=tmp_path / "nowhere.txt")["leak"].state == "problem"


def test_full_reads_every_file(drive, monkeypatch):
    from semdepth.data import audit as module

    monkeypatch.setattr(module, "SAMPLE", 2)
    (drive / "image_02" / "data" / "0000000003.png").write_bytes(b"\x89PNG broken")
    looked_at = []

    def each(things, what):
        looked_at.append((what, len(things)))
        return things

    sampled = by_topic(options(drive, offsets=(), frames=(0, 6)), each=each)
    assert sampled["images"].text == "2 read, 80×24"
    assert ("labels", 2) in looked_at
    assert by_topic(options(drive, offsets=()), full=True)["images"].state == "problem"


def test_frames_without_neighbours(drive):
    for i in (1, 2, 4):
        (drive / "image_02" / "data" / f"{i:010d}.png").unlink()
    found = by_topic(options(drive))
    assert "neighbours" in found["frames"].text or found["frames"].state == "problem"
    assert any(finding.state == "problem" for finding in audit(options(drive)))


def test_the_other_datasets(drive, tmp_path):
    frames = drive / "image_02" / "data"
    video = by_topic(DataConfig("folder", frames, labels="none", fov_deg=77.0))
    assert {finding.state for finding in video.values()} == {"ok"}
    assert "confidence" not in video
    sequence = tmp_path / "odometry" / "sequences" / "00"
    shutil.copytree(frames, sequence / "image_0")
    (sequence / "calib.txt").write_text("P0: 50 0 39.5 0 0 50 11.5 0 0 0 1 0\n")
    found = by_topic(DataConfig("kitti_odometry", tmp_path / "odometry", labels="none"))
    assert list(found) == ["frames"]
    assert "cameras [0]" in found["frames"].mend
    grey = by_topic(DataConfig("kitti_odometry", tmp_path / "odometry", labels="none", cameras=(0,)))
    assert {finding.state for finding in grey.values()} == {"ok"}
    assert recognise(tmp_path / "odometry") == "kitti_odometry"
    assert recognise(frames) == "folder"
    assert recognise(drive.parents[1]) == "kitti_raw"
    assert recognise(drive.parent) is None
    assert [finding.state for finding in audit(DataConfig("synthetic"))] == ["ok"]


def test_evenly_takes_both_ends():
    assert evenly(range(10), 20) == list(range(10))
    assert evenly(range(10), 4) == [0, 3, 6, 9]
    assert from_error("x", InputError("a.png: is bad; write it again")).mend == "write it again"


def test_cropped_truth_label_ids_and_grids_are_read_as_the_reader_reads_them(city_tree, make3d_tree, tmp_path):
    assert recognise(city_tree) == "cityscapes"
    city = DataConfig("cityscapes", city_tree, offsets=(), labels="exact", require_depth=True)
    found = by_topic(city)
    assert {found[topic].state for topic in ("labels", "ground truth")} == {"ok"}, found
    assert recognise(make3d_tree) == "make3d"
    assert by_topic(DataConfig("make3d", make3d_tree, offsets=()))["ground truth"].state == "ok"
    listed = tmp_path / "list.txt"
    listed.write_text("2011_09_26/2011_09_26_drive_0001_sync 1 l\n")
    val = dataclasses.replace(city, split=Path("val"), labels="none")
    assert by_topic(val, against=listed)["leak"].state == "ok"  # its split is no file
    shutil.copytree(city_tree, tmp_path / "city")
    shutil.rmtree(tmp_path / "city" / "disparity")
    lacking = by_topic(dataclasses.replace(city, root=tmp_path / "city", labels="none"))
    assert (lacking["frames"].state, lacking["ground truth"].state) == ("ok", "problem")


def test_sequences_in_folders_are_recognised_and_prepared_frames_referred_on(drive, tmp_path):
    sequences = tmp_path / "set"
    for name in ("sequence_0000", "sequence_0001"):
        shutil.copytree(drive / "image_02" / "data", sequences / name)
    assert recognise(sequences) == "folder"
    for name, kind in (("cache.json", "prepared"), ("shards.json", "shards")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).touch()
        assert recognise(tmp_path / kind) == kind
        with pytest.raises(InputError, match="--verify true"):
            audit(DataConfig(kind, tmp_path / kind))
