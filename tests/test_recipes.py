"""Every recipe trains two steps on a tiny data set of its own kind, and is judged where it says so."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semdepth.apps.cli import main
from semdepth.apps.recipes import load_experiment
from semdepth.data.catalog import DataConfig
from semdepth.training.recorder import read_curves

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
SMALL = ["height=64", "width=128"]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One drive of five frames in KITTI raw's layout."""
    out = tmp_path_factory.mktemp("rendered")
    assert main(["synthesise", str(out), "--drives=1", "--frames=5", *(f"--{option}" for option in SMALL)]) == 0
    return out


@pytest.fixture(scope="session")
def odometry(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same drive in KITTI odometry's layout: grey frames of camera 0, calib.txt, poses."""
    out = tmp_path_factory.mktemp("odometry")
    (drive,) = rendered.glob("*/*_sync")
    images = out / "sequences" / "00" / "image_0"
    images.mkdir(parents=True)
    for number, path in enumerate(sorted((drive / "image_02" / "data").iterdir())):
        Image.open(path).convert("L").save(images / f"{number:06d}.png")
    rows = dict(line.split(": ") for line in (drive.parent / "calib_cam_to_cam.txt").read_text().splitlines())
    (images.parent / "calib.txt").write_text("".join(f"P{camera}: {rows['P_rect_02']}\n" for camera in range(4)))
    (out / "poses").mkdir()
    np.savetxt(out / "poses" / "00.txt", np.loadtxt(drive / "poses_02.txt"))
    return out


def tiny(prefix: str, data: DataConfig, roots: dict[str, Path]) -> list[str]:
    """Return the options that shrink a recipe's data; all else stays as the recipe has it."""
    place = ["synthetic.drives=1", "synthetic.frames=4"] if data.name == "synthetic" else [f"root={roots[data.name]}"]
    return [f"--{prefix}.{option}" for option in (*SMALL, *place)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_two_steps(recipe: Path, rendered: Path, odometry: Path, city_tree: Path, tmp_path: Path) -> None:
    experiment = load_experiment(recipe)
    roots = {"kitti_raw": rendered, "kitti_odometry": odometry, "cityscapes": city_tree}
    options = ["--trainer.steps=2", "--trainer.batch=2", "--trainer.workers=0", "--trainer.accelerator=cpu"]
    options += ["--trainer.precision=32-true", "--network.pretrained=false", *tiny("data", experiment.data, roots)]
    if experiment.validation is not None:
        options += [*tiny("validation", experiment.validation, roots), "--allow_leak=true"]
    run = tmp_path / "run"
    assert main(["train", f"--config={recipe}", f"--run={run}", *options]) == 0
    assert (run / "weights.safetensors").exists()
    used = load_experiment(run)
    assert (used.data.name, used.data.cache, used.data.labels) == (
        experiment.data.name, experiment.data.cache, experiment.data.labels,
    )  # fmt: skip
    judged = {value for _, name, value in read_curves(run) if name == "validation/abs_rel"}
    assert bool(judged) == (experiment.validation is not None)
    assert all(np.isfinite(value) for value in judged)
