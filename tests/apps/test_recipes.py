"""Runs of before an option was there, taken up again."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from semdepth.apps.recipes import RUN_CONFIG, load_experiment, refuse_other_run, save_experiment
from semdepth.config import Experiment
from semdepth.models.network import Fusion
from semdepth.runtime import InputError

RECIPE = Path(__file__).parents[2] / "recipes" / "ablation_cpu.yaml"


def begun_before(run: Path, fusion: Fusion) -> Experiment:
    """Return today's experiment of a run whose folder does not know ``network.ssfa_norm``."""
    experiment = load_experiment(RECIPE)
    experiment = replace(experiment, run=run, network=replace(experiment.network, fusion=fusion))
    save_experiment(experiment)
    written = yaml.safe_load((run / RUN_CONFIG).read_text())
    del written["network"]["ssfa_norm"]
    (run / RUN_CONFIG).write_text(yaml.safe_dump(written))
    return experiment


def test_an_older_run_keeps_its_norm(tmp_path: Path) -> None:
    experiment = begun_before(tmp_path, "ssfa")
    assert experiment.network.ssfa_norm == "channels"
    assert load_experiment(tmp_path).network.ssfa_norm == "instance"
    with pytest.raises(InputError, match=r"other options \(network.ssfa_norm\)"):
        save_experiment(experiment)
    save_experiment(replace(experiment, network=replace(experiment.network, ssfa_norm="instance")))
    assert "ssfa_norm: instance" in (tmp_path / RUN_CONFIG).read_text()


@pytest.mark.parametrize("fusion", ["depth-only", "none", "concat"])
def test_an_older_run_without_ssfa_goes_on(fusion: Fusion, tmp_path: Path) -> None:
    refuse_other_run(begun_before(tmp_path, fusion))


@pytest.mark.parametrize("content", ["[1, 2]", "network: 3", "network: {fusion: [ssfa"])
def test_what_is_no_recipe_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / RUN_CONFIG).write_text(content)
    with pytest.raises(InputError):
        load_experiment(tmp_path)


def test_a_folder_of_other_files_is_not_taken_for_a_run(tmp_path: Path) -> None:
    experiment = replace(Experiment(), run=tmp_path)
    for harmless in (".hidden", "config.tmp"):
        (tmp_path / harmless).touch()
    refuse_other_run(experiment)
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(InputError, match=r"holds other files \(photo\.jpg\) and no run; give another --run"):
        save_experiment(experiment)
    with pytest.raises(InputError, match="is a file; give a folder"):
        save_experiment(replace(experiment, run=tmp_path / "photo.jpg"))
    assert not (tmp_path / RUN_CONFIG).exists()


def test_a_run_of_a_newer_version_names_its_file(tmp_path: Path) -> None:
    save_experiment(replace(Experiment(), run=tmp_path))
    written = yaml.safe_load((tmp_path / RUN_CONFIG).read_text())
    written["network"]["novelty"] = 1
    (tmp_path / RUN_CONFIG).write_text(yaml.safe_dump(written))
    with pytest.raises(InputError, match=r"config\.yaml: .*novelty.*; if a newer semdepth wrote it, upgrade"):
        load_experiment(tmp_path)
