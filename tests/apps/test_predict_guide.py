"""``semdepth predict`` and ``evaluate`` under labels that are given."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_segmenters
from clips import wall, write_clip
from PIL import Image

from semdepth.apps.cli import main

from .test_bad_input import complaint

CaptureText = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(noise.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    for name, label in (("a", 0), ("b", 13)):
        Image.fromarray(np.full((64, 128), label, np.uint8)).save(folder / f"{name}.png")
    return folder


def depths(folder: Path) -> dict[str, np.ndarray]:
    return {p.name[0]: np.load(p) for p in folder.glob("?_depth.npy")}


def test_label_files_guide_images(photos: Path, labels: Path, tmp_path: Path, capsys: CaptureText) -> None:
    arguments = ["predict", str(photos), "--save=depth_npy"]
    assert main([*arguments, f"--out={tmp_path / 'plain'}"]) == 0
    guided = [*arguments, f"--labels={labels}", f"--out={tmp_path / 'guided'}"]
    assert main(guided) == 0
    assert "1 passed over" in " ".join(capsys.readouterr().out.split()), "c has no labels"
    plain, found = depths(tmp_path / "plain"), depths(tmp_path / "guided")
    assert set(found) == {"a", "b"}
    assert all(np.abs(found[name] / plain[name] - 1).mean() > 0.01 for name in found)
    Image.fromarray(np.full((64, 128), 13, np.uint8)).save(labels / "a.png")
    assert main(guided) == 0
    assert not np.allclose(depths(tmp_path / "guided")["a"], found["a"]), "other labels, other depth"


def test_a_segmenter_guides_images_and_videos(photos: Path, tmp_path: Path) -> None:
    segmenter = tiny_segmenters.save_by_brightness(tmp_path / "segmenter")
    clip = write_clip(tmp_path / "clip.mp4", wall(range(3)))
    found = []
    for more in ([], [f"--segmenter={segmenter}"]):
        out = tmp_path / f"out{len(more)}"
        given = ["predict", str(photos), str(clip), "--save=depth_npy", f"--out={out}", "--device=cpu"]
        assert main([*given, *more]) == 0
        found.append([np.load(p) for p in sorted(out.rglob("*.npy"))])
    assert len(found[0]) == len(found[1]) == 6
    assert all(np.abs(b / a - 1).mean() > 0.01 for a, b in zip(*found, strict=True))


def test_bad_input(photos: Path, labels: Path, weights: str, tmp_path: Path, capsys: CaptureText) -> None:
    given = ["predict", str(photos), f"--out={tmp_path / 'out'}"]
    assert "one of them" in complaint([*given, f"--labels={labels}", "--segmenter=x"], capsys)
    assert "folder of labels not found" in complaint([*given, f"--labels={tmp_path / 'none'}"], capsys)
    assert "ssfa" in complaint([*given, weights, f"--labels={labels}"], capsys)
    assert "cluster" in complaint([*given, f"--labels={labels}", "--cluster.address=local"], capsys)
    clip = write_clip(tmp_path / "clip.mp4", wall(range(3)))
    assert "--segmenter" in complaint(["predict", str(clip), f"--labels={labels}"], capsys)
    assert "c.png" in complaint(["predict", str(photos / "c.png"), f"--labels={labels}"], capsys)
    Image.fromarray(np.full((64, 128), 99, np.uint8)).save(labels / "c.png")
    assert "99" in complaint(["predict", str(photos / "c.png"), f"--labels={labels}"], capsys)
    assert not (tmp_path / "out").exists()


def test_evaluate_under_the_frames_labels(world: Path, run: Path, tmp_path: Path, capsys: CaptureText) -> None:
    box = Path(__file__).parents[2] / "src/semdepth/inference/weights/rendered.safetensors"
    given = ["evaluate", str(box), f"--data.root={world}", "--data.labels=exact", "--baselines=false"]
    found = {}
    for guide in ("own", "exact", "noisy"):
        assert main([*given, f"--guide={guide}", f"--out={tmp_path / guide}"]) == 0
        found[guide] = json.loads((tmp_path / guide / "evaluation.json").read_text())
    assert [found[guide].get("guide") for guide in found] == [None, "exact", "noisy"]
    assert len({found[guide]["mean"]["abs_rel"] for guide in found}) == 3
    assert "guided by the frames' exact labels" in (tmp_path / "exact" / "evaluation.md").read_text()
    flipped = [*given, "--guide=exact", "--flip=true", f"--out={tmp_path / 'flip'}"]
    assert main(flipped) == 0
    assert "--out" in complaint([*given, "--guide=exact"], capsys)
    assert "ssfa" in complaint(["evaluate", str(run), "--guide=exact", f"--out={tmp_path / 'no'}"], capsys)
