"""Where labels go, who owns them, and what an interruption leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_segmenters as tiny
from PIL import Image

from semdepth.data import label_files
from semdepth.data.folder import frame_folder
from semdepth.data.kitti import kitti_raw
from semdepth.data.label_files import (
    RECORD,
    LabelTask,
    claim_folders,
    label_in_batches,
    label_tasks,
    segmenter_record,
    write_labels,
)
from semdepth.data.pseudo_labels import Segmenter, load_segmenter
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError

RECORDED = {"identity": "abc", "segmenter": "some/model"}


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return load_segmenter(str(tiny.save_by_brightness(tmp_path_factory.mktemp("segmenter"))), device="cpu")


def clip(root: Path, values: tuple[int, ...] = (20, 230, 20), suffix: str = "png") -> list[Path]:
    root.mkdir(exist_ok=True)
    paths = [root / f"f_{i}.{suffix}" for i in range(len(values))]
    for path, value in zip(paths, values, strict=True):
        Image.new("RGB", (40, 24), (value,) * 3).save(path)
    return paths


def test_labels_lie_where_the_readers_look(segmenter, raw_drive, tmp_path) -> None:
    raw_drive(noisy=False)
    tasks = label_tasks("kitti_raw", [r.image for r in kitti_raw(tmp_path, offsets=())])
    write_labels(segmenter, tasks)
    records = kitti_raw(tmp_path, offsets=(), labels="noisy")
    assert [(r.labels, r.confidence, r.confidence_is_entropy) for r in records] == [
        (t.labels, t.entropy, True) for t in tasks
    ]
    assert {p.relative_to(tmp_path).parts[2] for t in tasks for p in (t.labels, t.entropy)} == {"segmentation_02"}
    images = clip(tmp_path / "clip", suffix="jpg")
    write_labels(segmenter, label_tasks("folder", images))
    item = FrameDataset(frame_folder(tmp_path / "clip", fov_deg=60.0, offsets=(), labels="noisy"), 24, 40)[1]
    assert (item.labels == 10).all()
    assert (item.confidence > 240).all()
    task = label_tasks("kitti_odometry", [Path("sequences/09/image_2/000005.png")])[0]
    assert task.labels == Path("sequences/09/segmentation_2/data/000005.png")
    assert task.entropy == Path("sequences/09/segmentation_2/entropy/000005.png")


def test_places_that_cannot_be() -> None:
    with pytest.raises(InputError, match="no place for labels"):
        label_tasks("synthetic", [])
    with pytest.raises(InputError, match=r"share its labels with a\.png"):
        label_tasks("folder", [Path("x/a.png"), Path("x/a.jpg")])
    assert len(label_tasks("folder", [Path("x/a.png"), Path("x/a.png")])) == 1


def test_done_is_only_what_is_whole(segmenter, tmp_path) -> None:
    task = label_tasks("folder", clip(tmp_path))[0]
    assert not task.is_done()
    write_labels(segmenter, [task])
    assert task.is_done()
    whole = task.labels.read_bytes()
    for content in (whole[:40], b""):
        task.labels.write_bytes(content)
        assert not task.is_done()
    task.labels.write_bytes(whole)
    Image.new("L", (40, 23)).save(task.entropy)
    assert not task.is_done()
    task.entropy.unlink()
    assert not task.is_done()


def test_batches_give_what_single_images_give_and_pass_over_what_cannot_be_read(segmenter, tmp_path) -> None:
    images = clip(tmp_path, (20, 230, 20, 230, 230))
    images[2].write_bytes(b"no image")
    tasks = label_tasks("folder", images)
    failures: dict[LabelTask, InputError] = {}
    assert list(label_in_batches(segmenter, tasks, 2, failures.__setitem__)) == [2, 2, 1]
    assert [t.is_done() for t in tasks] == [True, True, False, True, True]
    assert list(failures) == [tasks[2]]
    assert "f_2.png" in str(failures[tasks[2]])
    assert [int(np.asarray(Image.open(t.labels)).mean()) for t in tasks if t.is_done()] == [0, 10, 10, 10]
    assert not list(tmp_path.rglob(".*"))
    assert list(label_in_batches(segmenter, [], 2, failures.__setitem__)) == []


def test_an_interruption_leaves_whole_files_only(segmenter, tmp_path, monkeypatch) -> None:
    tasks = label_tasks("folder", clip(tmp_path, (20,) * 6))
    calls = []

    def write_twice(path, array):
        calls.append(path)
        if len(calls) > 3:
            raise InputError("the disk is full")
        write(path, array)

    write = label_files.write_png
    monkeypatch.setattr(label_files, "write_png", write_twice)
    with pytest.raises(InputError, match="disk is full"):
        list(label_in_batches(segmenter, tasks, 1, pytest.fail))
    done = [t for t in tasks if t.is_done()]
    assert len(done) < len(tasks)
    assert all(t.entropy.exists() for t in tasks if t.labels.exists())


def test_the_record_says_who_and_what(segmenter) -> None:
    record = json.loads(json.dumps(segmenter_record(segmenter, "1.2.3")))
    assert record["identity"] == segmenter.identity
    assert record["classes"]["sky"] == ["sky"]
    assert record["input"]["size"] == [64, 96]


def test_claiming(tmp_path) -> None:
    fresh, same, other, unknown = (tmp_path / name for name in ("fresh", "same", "other", "unknown"))
    for folder, identity in ((same, "abc"), (other, "xyz"), (unknown, None)):
        for part in ("data", "entropy", "panels"):
            (folder / part).mkdir(parents=True)
            (folder / part / "0.png").write_text(folder.name)
        if identity:
            (folder / RECORD).write_text(json.dumps({"identity": identity, "segmenter": "another/model"}))
    assert claim_folders([fresh, same], RECORDED, overwrite=False) == []
    assert json.loads((fresh / RECORD).read_text()) == json.loads((same / RECORD).read_text()) == RECORDED
    for folder, owner in ((other, "another/model"), (unknown, "unknown origin")):
        with pytest.raises(InputError, match=f"holds labels of {owner}.*--overwrite=true"):
            claim_folders([tmp_path / "late", folder], RECORDED, overwrite=False)
        assert not (tmp_path / "late").exists()
    moved = claim_folders([same, other, unknown], RECORDED, overwrite=True)
    assert moved == [other / "replaced_1", unknown / "replaced_1"]
    assert (other / "replaced_1/data/0.png").read_text() == "other"
    assert (other / "replaced_1/entropy/0.png").exists()
    assert json.loads((other / "replaced_1" / RECORD).read_text())["identity"] == "xyz"
    assert not (other / "data").exists()
    assert (same / "data/0.png").exists()
    (other / "data").mkdir()
    (other / "data/0.png").write_text("again")
    assert claim_folders([other], RECORDED | {"identity": "new"}, overwrite=True) == [other / "replaced_2"]
    assert (other / "replaced_1/data/0.png").read_text() == "other"


def test_a_damaged_record_is_someone_elses(tmp_path) -> None:
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(InputError, match="unknown origin"):
        claim_folders([tmp_path], RECORDED, overwrite=False)


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        claim_folders([tmp_path / "file" / "segmentation"], RECORDED, overwrite=False)
