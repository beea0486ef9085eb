"""Every recipe parses, builds and trains two steps."""

from pathlib import Path

import pytest

from semdepth.apps.cli import main
from semdepth.apps.recipes import load_experiment

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered")
    assert main(["synthesise", str(out), "--drives=1", "--frames=5", "--height=64", "--width=128"]) == 0
    return out


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_two_steps(recipe: Path, rendered: Path, tmp_path: Path) -> None:
    experiment = load_experiment(recipe)
    options = [
        "--trainer.steps=2",
        "--trainer.batch=2",
        "--trainer.workers=0",
        "--network.pretrained=false",
        "--trainer.precision=32-true",
    ]
    options += ["--data.height=64", "--data.width=128", "--trainer.accelerator=cpu", "--trainer.initial_weights=null"]
    options += [
        "--validation=null",
        "--data.cache=false",
        "--data.split=null",
        "--data.frames=null",
        "--data.sequences=[]",
    ]
    if experiment.data.name == "synthetic":
        options += ["--data.synthetic.drives=1", "--data.synthetic.frames=4"]
    else:
        options += ["--data.name=kitti_raw", "--data.cameras=null", f"--data.root={rendered}"]
    assert main(["train", f"--config={recipe}", f"--run={tmp_path / 'run'}", *options]) == 0
    assert (tmp_path / "run" / "weights.safetensors").exists()
