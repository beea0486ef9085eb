"""``semdepth prepare``, and the tutorial: a rendered clip goes through the three commands of docs/own_video.md."""

import json
import re
import shlex
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from semdepth.apps.cli import main
from semdepth.apps.recipes import load_experiment
from semdepth.data.folder import frame_folder
from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.style import WorldConfig

from .conftest import SMALL
from .test_bad_input import complaint

DOCS = Path(__file__).parents[2] / "docs"
FAST = WorldConfig(scene="simple", min_speed=9.0, traffic=0.0, anti_alias=False)
SMALLER = {"prepare": [], "train": ["--trainer.steps=2", *SMALL], "predict": ["--every=3", "--device=cpu"]}


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered drive of nine frames at 64×128, encoded."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    images = render_drive(3, 9, 64, 128, config=FAST).images.permute(0, 2, 3, 1).contiguous().numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 64, 128, "yuv420p", 4_000_000
        for pixels in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / "own_video.md").read_text(), re.S)
    lines = [line.split(" #")[0] for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("semdepth ")]


def test_the_tutorial_runs_as_written(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clip.mp4").symlink_to(clip)
    first_three = commands()[:3]
    assert [arguments[0] for arguments in first_three] == ["prepare", "train", "predict"]
    for arguments in first_three:
        assert main([*arguments, *SMALLER[arguments[0]]]) == 0, arguments
        if arguments[0] == "prepare":
            said = capsys.readouterr().out
            assert f"semdepth train --config {Path('prepared/clip/recipe.yaml')}" in said
            assert "9 read" in said
            assert "the focal length is learnt" in said
    assert len(list(Path("depth").rglob("*_depth.npy"))) >= 2
    assert load_experiment(Path("runs/clip")).network.intrinsics == "learnt"


def test_prepare_writes_a_set_a_recipe_and_nothing_twice(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    arguments = ["prepare", str(clip), f"--out={out}", "--fov_deg=60"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    experiment = load_experiment(out / "recipe.yaml")
    assert (experiment.data.name, experiment.data.root, experiment.network.intrinsics) == ("folder", out, "given")
    assert (experiment.data.height, experiment.data.width) == (64, 128)
    records = frame_folder(out)
    assert experiment.trainer.batch == min(8, len(records))
    assert records[0].intrinsics[0, 0] == pytest.approx(64 / np.tan(np.radians(30)), rel=1e-5)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert capsys.readouterr().out.splitlines()[-3:] == first.splitlines()[-3:]
    assert "other options" in complaint([*arguments, "--motion=0.02"], capsys)
    (out / "prepare.json").write_text(json.dumps({"settings": 1}))
    assert "prepare.json: cannot be read" in complaint(arguments, capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_prepare_reads_the_focal_length_of_a_folder_of_photos(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            frame.to_image().save(photos / f"{number}.jpg", exif=exif, quality=95)
    assert main(["prepare", str(photos), f"--out={tmp_path / 'set'}"]) == 0
    assert "(EXIF)" in capsys.readouterr().out
    focal = 26 / np.hypot(36, 24) * np.hypot(64, 128)
    assert frame_folder(tmp_path / "set")[0].intrinsics[0, 0] == pytest.approx(focal, rel=1e-5)


def test_bad_input_leaves_nothing(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:3000])
    (tmp_path / "empty").mkdir()
    (tmp_path / "still").mkdir()
    for number in range(5):
        Image.fromarray(np.asarray(torch.full((64, 64, 3), 90, dtype=torch.uint8))).save(
            tmp_path / "still" / f"{number}.png"
        )
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    good, before = str(clip), sorted(tmp_path.rglob("*"))
    out = f"--out={tmp_path / 'set'}"
    for arguments, hint in (
        (["nowhere.mp4", out], "nowhere.mp4: video not found"),
        ([str(tmp_path / "text.mp4"), out], "cannot be read as video"),
        ([str(tmp_path / "cut.mp4"), out], "cannot be read as video"),
        ([str(tmp_path / "empty"), out], "no images in it"),
        ([str(tmp_path / "still"), out], "the camera does not move"),
        ([good, f"--out={tmp_path / 'taken'}"], "taken: is there already"),
        ([good, out, "--intrinsics=1,2"], "fx,fy,cx,cy"),
        ([good, out, "--distortion=0.1,0,0,0"], "as intrinsics too"),
        ([good, out, "--intrinsics=70,70,64,32", "--distortion=-5,0,0,0"], "folds the picture"),
        ([good, f"--out={tmp_path}/.."], "names no new folder"),
        ([good, out, "--long_side=100"], "multiple of 32"),
        ([good, out, "--motion=0"], "motion 0"),
        ([good, out, "--fps=x"], "fps"),
    ):
        assert hint in complaint(["prepare", *arguments], capsys), arguments
    assert sorted(tmp_path.rglob("*")) == before
