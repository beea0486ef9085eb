"""The README's commands are real: each `semdepth` line runs, on a small world, in the order it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from semdepth.apps.cli import COMMANDS, main

README = (Path(__file__).parents[1] / "README.md").read_text()
LINES = [
    line.split(" #")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()
]
SEMDEPTH = [shlex.split(line)[1:] for line in LINES if line.startswith("semdepth ")]
SMALLER = {
    "synthesise": ["--drives=1", "--frames=4", "--height=64", "--width=128"],
    "train": ["--data.height=64", "--data.width=128", "--trainer.steps=2", "--trainer.batch=2", "--trainer.workers=0",
              "--network.pretrained=false", "--trainer.accelerator=cpu", "--data.split=null"],
    "evaluate": ["--baselines=false", "--protocol=synthetic"],
    "predict": [],
}  # fmt: skip


def test_the_readme_names_every_command() -> None:
    assert {arguments[0] for arguments in SEMDEPTH} >= {"synthesise", "train", "evaluate", "predict"}
    assert {arguments[0] for arguments in SEMDEPTH} <= set(COMMANDS)


def test_make_targets_exist() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(LINES), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.slow
def test_commands_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = Path(__file__).parents[1] / "recipes"
    monkeypatch.chdir(tmp_path)
    Path("recipes").symlink_to(recipes)
    Image.new("RGB", (100, 60), "grey").save("photo.jpg")
    for out in ("worlds/demo/train", "worlds/demo/val", "worlds/demo/test"):
        assert main(["synthesise", out, *SMALLER["synthesise"]]) == 0
    Path("DIR").symlink_to(Path("worlds/demo/train").resolve())
    frames = sorted(Path("DIR").glob("*/*_sync/image_02/data/*.png"))
    split = [f"{p.parts[1]}/{p.parts[2]} {p.stem} l" for p in frames]
    Path("test_files.txt").write_text("\n".join(split) + "\n")
    for arguments in SEMDEPTH:
        smaller = SMALLER.get(arguments[0], [])
        assert main([*arguments, *smaller]) == 0, " ".join(arguments)
