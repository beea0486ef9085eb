"""The weights that come in the box: where they lie, and by which names."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from semdepth.runtime import InputError

NAMES = {"rendered": "rendered.safetensors", "rendered-exact-depth": "rendered-exact-depth.safetensors"}
"""Name → file beside this package's ``weights/README.md``, which says how each was learnt and what it is worth."""
DEFAULT = "rendered"
"""What is loaded where nothing is named."""


def boxed(weights: str | Path | None) -> str | Path:
    """Return the file of the weights in the box where they are meant, else ``weights`` as it is.

    Args:
        weights: None for the default; one of ``NAMES``, unless a file or folder of that name is there; or anything else.

    Raises:
        InputError: if the file is not part of this installation.
    """
    if weights is None:
        weights = DEFAULT
    if str(weights) not in NAMES or Path(weights).exists():
        return weights
    path = Path(str(files("semdepth.inference") / "weights" / NAMES[str(weights)]))
    if not path.is_file():
        raise InputError(f"{path}: the weights in the box are missing; install semdepth again, or name others")
    return path
