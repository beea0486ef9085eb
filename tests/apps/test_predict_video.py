"""``semdepth predict`` of videos and cameras, from end to end."""

import csv
import os
from pathlib import Path

import pytest
from clips import wall, write_clip

from semdepth.apps.cli import main
from semdepth.apps.predict_video import take_until, until_interrupted
from semdepth.movie import CameraFrame, open_movie, read_frames

from .test_bad_input import complaint

CaptureText = pytest.CaptureFixture[str]


def test_a_video(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    clip, out = write_clip(tmp_path / "clip.mp4", wall(range(0, 14, 2))), tmp_path / "out"
    assert main(["predict", str(clip), weights, f"--out={out}", "--stabilise=true"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "7 frames" in said
    assert "0.7 s of video" in said
    assert "× real time" in said
    assert [p.name for p in out.iterdir()] == ["clip_depth.mp4"]
    assert len(list(read_frames(open_movie(out / "clip_depth.mp4")))) == 7
    given = ["predict", str(clip), weights, f"--out={out}", "--save=depth_npy", "--every=3"]
    assert main([*given, "--camera-height=1.5", "--fov-deg=60"]) == 0
    names = [f"{k:06d}" for k in (0, 3, 6)]
    assert sorted(p.name for p in (out / "clip").iterdir()) == [
        *(f"{name}_depth.npy" for name in names),
        "metric_scale.csv",
    ]
    with (out / "clip" / "metric_scale.csv").open(newline="") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == names
    assert [f.seconds for f in read_frames(open_movie(out / "clip_depth.mp4"))] == pytest.approx(
        [0, 0.3, 0.6], abs=1e-3
    )


def test_bad_videos_are_passed_over_among_others(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    write_clip(tmp_path / "good.mp4", wall(range(3)))
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "zero.mp4").touch()
    out = f"--out={tmp_path / 'out'}"
    assert main(["predict", str(tmp_path / "*.mp4"), weights, out]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["good_depth.mp4"]
    assert "text.mp4" in complaint(["predict", str(tmp_path / "text.mp4"), weights, out], capsys)
    assert "empty" in complaint(["predict", str(tmp_path / "zero.mp4"), weights, out], capsys)
    both = [str(tmp_path / "text.mp4"), str(tmp_path / "zero.mp4")]
    assert "none of 2 files" in complaint(["predict", *both, weights, out], capsys)


def test_a_camera(tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch, capsys: CaptureText) -> None:
    def film(number: int) -> object:
        assert number == 1
        return (CameraFrame(k, k / 20, pixels) for k, pixels in enumerate(wall(range(5))))

    monkeypatch.setattr("semdepth.movie.read_camera", film)
    assert main(["predict", "webcam:1", weights, f"--out={tmp_path}"]) == 0
    assert "5 frames" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["webcam_1_depth.mp4"]


def test_ctrl_c_finishes_what_a_camera_recorded() -> None:
    with until_interrupted() as stopped:
        frames = take_until(stopped, iter(range(10)))
        assert next(frames) == 0
        os.kill(os.getpid(), 2)
        assert list(frames) == []
