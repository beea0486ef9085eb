"""From a recipe (YAML) and options to an experiment, and back: what a run was made with stands in its folder."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from semdepth.apps.parser import Parser
from semdepth.config import Experiment
from semdepth.runtime import InputError, require_file

RUN_CONFIG = "config.yaml"
"""The file in a run's folder that holds its resolved experiment."""
MAY_CHANGE = (
    "run", "allow_leak", "data.root", "validation.root", "data.depth_cache", "validation.depth_cache", "data.cache",
    "trainer.steps", "trainer.epochs", "trainer.workers", "trainer.accelerator", "trainer.devices", "trainer.nodes",
    "trainer.log_every", "trainer.checkpoint_every", "trainer.validate_every", "trainer.panel_every",
)  # fmt: skip
"""What may differ when a run is taken up again: where and how long, not what."""


def experiment_parser(prog: str = "semdepth train", description: str | None = None) -> Parser:
    """Return a parser of recipes (``--config``) and of an option for every field of ``Experiment``."""
    parser = Parser(prog=prog, description=description)
    said = "A recipe (YAML); options after it override it."
    parser.add_argument("--config", action="config", metavar="FILE", help=said)
    parser.add_class_arguments(Experiment)
    return parser


def parse_experiment(arguments: list[str], parser: Parser | None = None) -> Experiment:
    """Return the experiment that command-line ``arguments`` describe.

    Raises:
        InputError: on unknown keys, wrong types, contradictions, and recipes that cannot be read.
    """
    parser = parser or experiment_parser()
    parsed = parser.instantiate(parser.parse_args(arguments))
    return Experiment(**{f.name: parsed[f.name] for f in fields(Experiment)})


def load_experiment(path: Path) -> Experiment:
    """Return the experiment of a recipe, or of a run folder."""
    file = require_file(path / RUN_CONFIG if path.is_dir() else path, "recipe")
    try:
        return parse_experiment(["--config", str(file), *_of_before(file)])
    except InputError as error:
        if "there is no option" not in str(error) or file.name != RUN_CONFIG:
            raise
        raise InputError(f"{error}; if a newer semdepth wrote it, upgrade") from None


def _of_before(file: Path) -> list[str]:
    """Return, as options, what a run's own file does not say because there was no choice when it was written."""
    try:
        network = yaml.safe_load(file.read_text(encoding="utf-8"))["network"]
        older = file.name == RUN_CONFIG and network["fusion"] == "ssfa" and "ssfa_norm" not in network
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []  # whoever parses it says what is wrong
    return ["--network.ssfa_norm", "instance"] if older else []


def refuse_other_run(experiment: Experiment) -> None:
    """Make sure that the run folder is free, or holds a run of this very experiment.

    Raises:
        InputError: if it holds another one, or what is no run.
    """
    path = experiment.run / RUN_CONFIG
    if experiment.run.is_file():
        raise InputError(f"{experiment.run}: is a file; give a folder as --run")
    is_run = path.exists() or (experiment.run / "checkpoints").is_dir()
    if not is_run and (others := _files_of_others(experiment.run)):
        raise InputError(f"{experiment.run}: holds other files ({others[0]}) and no run; give another --run")
    new = flatten(experiment)
    if path.exists():
        old = flatten(load_experiment(path))
        changed = sorted(k for k in new.keys() | old.keys() if new.get(k) != old.get(k) and not _may_change(k))
        if changed:
            raise InputError(
                f"{experiment.run}: holds a run with other options ({', '.join(changed[:4])}); resume it with the same "
                "options, or give another --run"
            )


def _files_of_others(folder: Path) -> list[str]:
    """Return what lies in a folder that is to become a run's; hidden files, and what a run leaves before it starts, are none."""
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if not name.startswith(".") and name != Path(RUN_CONFIG).with_suffix(".tmp").name]


def save_experiment(experiment: Experiment) -> Path:
    """Write the resolved experiment into its run folder.

    Raises:
        InputError: if the folder holds a run of another experiment, or cannot be written.
    """
    refuse_other_run(experiment)
    path = experiment.run / RUN_CONFIG
    try:
        experiment.run.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(yaml.safe_dump(to_plain(experiment), sort_keys=False))
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{experiment.run}: cannot be written ({error.strerror}); give another --run") from None
    return path


def to_plain(value: Any) -> Any:
    """Turn dataclasses, tuples and paths into what YAML knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def flatten(experiment: Experiment) -> dict[str, Any]:
    """Return ``{"data.root": …, …}``: one entry for every option."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                visit(f"{prefix}.{key}" if prefix else key, item)
        else:
            flat[prefix] = value

    visit("", to_plain(experiment))
    return flat


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)
