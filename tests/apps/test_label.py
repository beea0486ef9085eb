"""``semdepth label`` from end to end: frames without labels, a segmenter, and training's reader on what was written."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_segmenters as tiny
from PIL import Image

from semdepth.apps.cli import main
from semdepth.apps.label import summary
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.label_files import label_tasks
from semdepth.images import read_image


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_by_brightness(tmp_path_factory.mktemp("segmenter"))


@pytest.fixture
def unlabelled(world: Path, tmp_path: Path) -> Path:
    """Real use's state: images and calibration, nothing else."""
    shutil.copytree(world, tmp_path / "data")
    for folder in [*(tmp_path / "data").glob("*/*_sync/*_02"), *(tmp_path / "data").glob("*/*_sync/*.txt")]:
        if folder.is_dir() and folder.name != "image_02":
            shutil.rmtree(folder)
    return tmp_path / "data"


def written(root: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in sorted(root.rglob("segmentation*/data/*.png"))}


def test_label_then_read(unlabelled: Path, segmenter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "label",
        f"--data.root={unlabelled}",
        f"--segmenter={segmenter}",
        "--device=cpu",
        "--batch=3",
        "--panels=2",
    ]
    assert main(options) == 0
    said = capsys.readouterr().out
    assert "19 of 19 are reached" in said
    assert re.search(r"8 images labelled: .*segmentation_02 and 1 folders like it", said)
    assert (
        f"Next: semdepth train --data.name kitti_raw --data.root {unlabelled} --data.labels noisy --network.fusion ssfa"
        in said
    )
    assert "Pixels of 8 images: " in said
    frames = open_dataset(DataConfig(root=unlabelled, height=64, width=128, offsets=()))
    assert len(frames) == 8
    for index in range(len(frames)):
        item = frames[index]
        assert item.confidence is not None
        grey = item.target[0].float().mean(0).numpy()
        clear = np.abs(grey - 127.5) > 40
        agreement = (item.labels[0].numpy() == np.where(grey > 127, 10, 0))[clear].mean()
        assert agreement > 0.7  # the segmenter sees every fourth pixel only
    record = json.loads(next(unlabelled.rglob("segmenter.json")).read_text())
    assert record["segmenter"] == str(segmenter)
    panels = sorted(unlabelled.rglob("panels/*.png"))
    assert len(panels) == 2
    assert read_image(panels[0]).shape[1] > 2 * 128


def test_resume_and_other_segmenters(
    unlabelled: Path, segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["label", f"--data.root={unlabelled}", "--device=cpu", "--panels=0"]
    assert main([*options, f"--segmenter={segmenter}", "--data.frames=[0,3]"]) == 0
    before = written(unlabelled)
    assert len(before) == 3
    damaged = list(before)[1]
    damaged.write_bytes(damaged.read_bytes()[:50])
    capsys.readouterr()
    assert main([*options, f"--segmenter={segmenter}"]) == 0
    assert "6 images labelled, 2 were there" in capsys.readouterr().out
    after = written(unlabelled)
    assert len(after) == 8
    assert [path for path in before if after[path] == before[path]] == [path for path in before if path != damaged]
    other = tiny.save_by_brightness(tmp_path / "other", bright="building")
    assert main([*options, f"--segmenter={other}"]) == 2
    assert "--overwrite=true" in capsys.readouterr().err
    assert written(unlabelled) == after
    assert main([*options, f"--segmenter={other}", "--overwrite=true"]) == 0
    assert len(list(unlabelled.rglob("replaced_1/data/*.png"))) == 8
    values = {
        int(v)
        for path in unlabelled.glob("*/*/segmentation_02/data/*.png")
        for v in np.unique(np.asarray(Image.open(path)))
    }
    assert values == {0, 2}


def test_a_plain_folder_needs_no_camera_to_be_labelled(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, value in enumerate((20, 230)):
        Image.new("RGB", (40, 24), (value,) * 3).save(tmp_path / f"{i}.jpg")
    (tmp_path / "2.jpg").write_bytes(b"no image")
    assert (
        main(["label", "--data.name=folder", f"--data.root={tmp_path}", f"--segmenter={segmenter}", "--device=cpu"])
        == 2
    )
    captured = capsys.readouterr()
    assert "1 of 3 images have no labels; the first: " in captured.err
    assert "2.jpg" in captured.err
    assert "2 images labelled" in captured.out
    assert [int(np.asarray(Image.open(p)).max()) for p in written(tmp_path)] == [0, 10]


def test_bad_input(world: Path, segmenter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, device = f"--data.root={world}", "--device=cpu"
    for arguments, hint in (
        ([data], "--segmenter not given"),
        ([data, "--segmenter=/no/such/folder"], "unknown; give a folder, or a hub id"),
        ([data, f"--segmenter={segmenter}", "--batch=0"], "batch"),
        ([data, f"--segmenter={segmenter}", "--size=[0,9]"], "size"),
        ([data, f"--segmenter={segmenter}", "--train_ids=true"], "names its classes"),
        (["--data.root=/nowhere", f"--segmenter={segmenter}"], "/nowhere"),
        (["--data.name=synthetic", f"--segmenter={segmenter}"], "no place for labels"),
        ([data, f"--segmenter={segmenter}"], "holds labels of unknown origin"),
    ):
        capsys.readouterr()
        assert main(["label", *arguments, device]) == 2, arguments
        assert hint in capsys.readouterr().err
    assert not list(world.rglob("segmenter.json"))


def test_labels_that_say_nothing_are_noticed(segmenter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = label_tasks("folder", [tmp_path / "a.png"])[0]
    for path in (task.labels, task.entropy):
        path.parent.mkdir(parents=True, exist_ok=True)
    for ignored, warned in ((10, False), (40, True)):
        labels = np.zeros((6, 8), np.uint8)
        labels.flat[:ignored] = 255
        Image.fromarray(labels).save(task.labels)
        Image.fromarray(labels).save(task.entropy)
        caplog.clear()
        summary([task])
        assert ("have no label" in caplog.text) == warned
