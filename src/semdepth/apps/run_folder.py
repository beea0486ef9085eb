"""A finished run as it lies in its folder: what the model card and the report are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from semdepth.inference.opening import find_weights
from semdepth.models.weights import WeightsHeader, read_header
from semdepth.runtime import InputError, parse_json, require_file

CONFIG, EVALUATION = "config.yaml", "evaluation.json"


@dataclass(frozen=True)
class RunFolder:
    """What a run's folder says."""

    path: Path
    weights: Path
    """Its best weights."""
    header: WeightsHeader
    """What they say about themselves."""
    config: dict[str, Any]
    """The resolved recipe; empty for weights that no run of ours made."""
    evaluation: dict[str, Any] | None = field(repr=False)
    """What ``semdepth evaluate`` found; None: not judged."""

    @property
    def name(self) -> str:
        """The folder's name; a seed's folder carries its variant's, as in ``full/seed_0``."""
        path = self.path.resolve()
        return f"{path.parent.name}/{path.name}" if path.name.startswith("seed_") else path.name

    def setting(self, dotted: str, default: Any = None) -> Any:
        """Return an option of the recipe, e.g. ``trainer.seed``."""
        value: Any = self.config
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return default if value is None else value


def read_run_folder(path: Path, *, needs_config: bool = True) -> RunFolder:
    """Read a run's folder.

    Args:
        path: the folder.
        needs_config: refuse weights without their recipe.

    Raises:
        InputError: if it is no run's folder, or a file in it is damaged.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such run folder; semdepth train writes one")
    if needs_config and not (path / CONFIG).exists():
        raise InputError(f"{path}: holds no {CONFIG}, so it is no run folder; name one that semdepth train wrote")
    weights = find_weights(path)
    evaluation = _json(path / EVALUATION) if (path / EVALUATION).exists() else None
    config = _yaml(path / CONFIG) if (path / CONFIG).exists() else {}
    return RunFolder(path, weights, read_header(weights), config, evaluation)


def portable(value: Any) -> Any:
    """Return plain data whose absolute paths are cut down to their last part: what is published names no one's folders."""
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [portable(item) for item in value]
    if isinstance(value, str) and "\n" not in value:
        for kind in (PurePosixPath, PureWindowsPath):
            if kind(value).is_absolute() or value.startswith("~"):
                return kind(value).name
    return value


def _json(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(require_file(path, "evaluation").read_text(encoding="utf-8"))
        if all(isinstance(found[key], kind) for key, kind in _EVALUATION.items()):
            return dict(found)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path}: is no evaluation of this version; write it again with semdepth evaluate {path.parent}")


_EVALUATION = {"protocol": str, "rows": list, "mean": dict, "measures": dict, "intervals": dict, "strata": dict}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(require_file(path, "recipe").read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no recipe (YAML); copy the run folder again")
    return found
