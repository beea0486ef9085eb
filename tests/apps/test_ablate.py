"""``semdepth ablate`` from end to end: a grid of two variants and two seeds, stopped, killed and taken up again."""

import json
import time
from pathlib import Path

import pytest

from semdepth.apps import ablate as module
from semdepth.apps.cli import main
from semdepth.training.recorder import read_curves
from semdepth.training.trainer import Trainer

from .test_bad_input import complaint

RECIPES = Path(__file__).parents[2] / "recipes"


def grid(recipe: Path, *more: str) -> list[str]:
    choice = ["--variants=[depth-only,full]", "--seeds=[0,1]", f"--out={recipe.parent / 'runs'}"]
    return ["ablate", str(recipe), *choice, *more]


@pytest.mark.slow
def test_a_grid_killed_and_resumed(recipe: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = recipe.parent / "runs"
    step, trained = Trainer.train_step, []

    def killed_in_the_third_run(self, batch):  # type: ignore[no-untyped-def]
        if len(trained) == 2:
            raise RuntimeError("killed")
        trained.append(self.run)
        return step(self, batch)

    tests = f"--tests={{other: {{root: {world}, labels: exact, frames: [2, 4]}}}}"
    monkeypatch.setattr(Trainer, "train_step", killed_in_the_third_run)
    with pytest.raises(RuntimeError, match="killed"):
        main(grid(recipe, tests))
    done = [runs / "depth-only/seed_0", runs / "full/seed_0"]
    assert trained == done
    before = {p: (p / "evaluation.json").stat().st_mtime_ns for p in done}

    def counted(self, batch):  # type: ignore[no-untyped-def]
        trained.append(self.run)
        return step(self, batch)

    monkeypatch.setattr(Trainer, "train_step", counted)
    assert main(grid(recipe, tests)) == 0
    assert trained[2:] == [runs / "depth-only/seed_1", runs / "full/seed_1"]
    assert {p: (p / "evaluation.json").stat().st_mtime_ns for p in done} == before

    for name in ("tiny", "tiny_other"):
        assert "- balance of the tasks: gradient: full\n" in (runs / f"{name}.md").read_text()
        summary = json.loads((runs / f"{name}.json").read_text())
        assert list(summary) == ["depth-only", "full"]
        for entry in summary.values():
            assert entry["seed"] == [0, 1]
            assert len(entry["abs_rel"]) == len(entry["border_abs_rel"]) == len(entry["rmse"]) == 2
        assert summary["depth-only"]["mean_iou"] == [None, None]
        assert all(0 <= value <= 1 for value in summary["full"]["mean_iou"])
        assert "abs_rel" in summary["full"]["against depth-only"]
        assert "4 of 4 done" in (runs / f"{name}.md").read_text()
        assert (runs / f"{name}.png").exists()

    assert main(grid(recipe, tests)) == 0
    assert len(trained) == 4  # nothing is done twice

    def verdict(name: str) -> tuple[str, float]:
        found = json.loads((done[1] / name).read_text())
        return found["weights"], found["mean"]["abs_rel"]

    before_that, table = verdict("evaluation.json"), (runs / "tiny.json").read_text()
    (done[1] / "best.safetensors").write_bytes((done[0] / "weights.safetensors").read_bytes())
    assert main(["evaluate", str(done[1]), "--baselines=false", "--device=cpu"]) == 0
    assert verdict("evaluation.json") != before_that
    elsewhere = tests.replace("[2, 4]", "[0, 1]")
    other = verdict("evaluation_other.json")
    assert main(grid(recipe, elsewhere)) == 0
    assert len(trained) == 4
    assert verdict("evaluation.json") == before_that  # a semdepth evaluate is no verdict of the ablation's
    assert (runs / "tiny.json").read_text() == table
    assert verdict("evaluation_other.json")[1] != other[1]  # neither is one on other frames


def test_the_budget_stops_within_a_run_and_the_same_command_goes_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["ablate", str(recipe), "--variants=[two-branch]", "--seeds=[3]", f"--out={recipe.parent / 'runs'}"]
    one.append("--options=[trainer.steps=3,trainer.log_every=1]")
    run = recipe.parent / "runs/two-branch/seed_3"
    step, late = Trainer.train_step, []

    def slow(self, batch):  # type: ignore[no-untyped-def]
        objective = step(self, batch)
        late.append(self.step)
        return objective

    clock = time.monotonic
    monkeypatch.setattr(Trainer, "train_step", slow)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock() + (1e6 if len(late) == 2 else 0.0))
    assert main([*one, "--minutes=60"]) == 0
    assert "run the same command again" in capsys.readouterr().out
    assert late == [0, 1]
    assert (run / "checkpoints/step_00000002.ckpt").exists()
    assert not (run / "evaluation.json").exists()

    assert main([*one, "--minutes=60"]) == 0
    assert late == [0, 1, 2]
    assert (run / "evaluation.json").exists()
    assert [s for s, name, _ in read_curves(run) if name == "train/loss"] == [1, 2, 3]


def test_a_variant_beyond_the_paper(recipe: Path) -> None:
    runs = recipe.parent / "runs"
    assert main(["ablate", str(recipe), "--variants=[zoom]", "--seeds=[0]", f"--out={runs}"]) == 0
    names = {name for _, name, _ in read_curves(runs / "zoom/seed_0")}
    assert {"train/zoom", "balance/gradient_depth", "balance/gradient_segmentation"} <= names
    (entry,) = json.loads((runs / "tiny.json").read_text()).values()
    assert len(entry["moving_holes"]) == 1


def test_bad_input(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, hint in (
        (["ablate", "nowhere.yaml"], "nowhere.yaml"),
        (grid(recipe, "--variants=[half]"), "half"),
        (grid(recipe, "--seeds=[]"), "one seed"),
        (grid(recipe, "--seeds=[1,1]"), "once"),
        (grid(recipe, "--options=[objective.ranking=0]"), "objective.ranking"),
        (grid(recipe, "--options=[validation=null]"), "validation"),
        (grid(recipe, "--options=[trainer.devices=2]"), "trainer.devices"),
        (grid(recipe, "--options=[trainer.magic=2]"), "magic"),
        (grid(recipe, "--tests={validation: {root: x}}"), "validation"),
        (grid(recipe, "--tests={other: {root: /nowhere}}"), "/nowhere"),
    ):
        assert hint in complaint(arguments, capsys)
    assert not (recipe.parent / "runs").exists()


def test_another_schedule_needs_another_folder(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = ["ablate", str(recipe), "--variants=[depth-only]", "--seeds=[0]", f"--out={recipe.parent / 'runs'}"]
    assert main([*one, "--options=[trainer.steps=1]"]) == 0
    assert "trainer.steps" in complaint([*one, "--options=[trainer.steps=2]"], capsys)
    assert "learning_rate" in complaint([*one, "--options=[trainer.steps=1,optim.learning_rate=1]"], capsys)


def test_a_run_that_is_refused_leaves_nothing_behind(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = ["ablate", str(recipe), "--variants=[two-branch]", "--seeds=[0]", f"--out={recipe.parent / 'runs'}"]
    assert "data.height" in complaint([*one, "--options=[data.height=50]"], capsys)
    assert not (recipe.parent / "runs").exists()


@pytest.mark.parametrize("name", ["ablation_cpu", "ablation_gpu"])
def test_the_recipes_make_a_grid(name: str, tmp_path: Path) -> None:
    from semdepth.apps.recipes import load_experiment

    cells = module.grid(load_experiment(RECIPES / f"{name}.yaml"), module.PAPER, (0, 1), tmp_path, {})
    assert len(cells) == 2 * 9
    assert [cell.seed for cell in cells] == [0] * 9 + [1] * 9
    assert all(cell.sets["validation"].labels == "exact" for cell in cells)
    assert len({cell.experiment.run for cell in cells}) == 18
