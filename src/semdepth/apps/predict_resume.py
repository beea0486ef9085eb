"""Which images ``semdepth predict`` has predicted already, so that a stopped command goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from semdepth.inference.files import whole_file
from semdepth.inference.outputs import SUFFIXES

SETTINGS = "predict.json"
"""Beside the predictions: what they were made with."""


def note_settings(out: Path, weights: Path, options: dict[str, Any]) -> int:
    """Write down what images are predicted with, unless that stands there already.

    Args:
        out: the folder that receives the files.
        weights: the file; its content counts, not its name.
        options: everything else that bears on what is written.

    Returns:
        Since when (ns) the folder's predictions are made with that: older ones may have been made with something else.

    Raises:
        InputError: if it cannot be written.
    """
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    version = import_module("semdepth").__version__
    text = json.dumps({"weights": weights.name, "sha256": digest, "semdepth": version, **options}, indent=1) + "\n"
    path = out / SETTINGS
    if not path.is_file() or path.read_bytes() != text.encode():
        with whole_file(path) as temporary:
            temporary.write_text(text)
    return path.stat().st_mtime_ns


def is_done(image: Path, stem: Path, outputs: Iterable[str], since: int) -> bool:
    """Return whether an image's wanted files are all there, made of this very image with these settings.

    Args:
        image: an image; its change time counts too, since a file that is moved here keeps its own age.
        stem: what the names of its files start with.
        outputs: of ``inference.outputs.SUFFIXES``.
        since: what ``note_settings`` returned.
    """
    try:
        of_image = image.stat()
        needed = max(of_image.st_mtime_ns, of_image.st_ctime_ns, since)
        files = (stem.with_name(f"{stem.name}_{SUFFIXES[output]}") for output in outputs)
        return all(file.stat().st_mtime_ns >= needed for file in files)
    except OSError:
        return False
