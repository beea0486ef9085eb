"""Which images ``semdepth predict`` has predicted already, so that a stopped command goes on where it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from semdepth.images import IMAGE_SUFFIXES
from semdepth.inference.exported import files_of
from semdepth.inference.files import digest_of, whole_file
from semdepth.inference.outputs import SUFFIXES

SETTINGS = "predict.json"
"""Beside the predictions: what they were made with."""


class Settings:
    """What the images in a folder are predicted with, and the note of it that lies beside them."""

    def __init__(self, out: Path, weights: Path, root: Path, options: dict[str, Any]) -> None:
        """Work out the note; nothing is written yet.

        Args:
            out: the folder that receives the files.
            weights: the file (of an ncnn model, its graph); the content counts, not its name.
            root: the folder whose tree the names follow; images of another one may have the same names.
            options: everything else that bears on what is written.
        """
        digest = digest_of(files_of(weights))
        version = import_module("semdepth").__version__
        place = [str(root.resolve()), root.stat().st_ino]  # a folder that takes another's name is not that one
        facts = {"weights": weights.name, "sha256": digest, "semdepth": version, "root": place, **options}
        self.out = out
        self._text = json.dumps(facts, indent=1) + "\n"

    def since(self) -> int | None:
        """Return since when (ns) the folder's predictions are made with these settings; None: they are not."""
        path = self.out / SETTINGS
        noted = path.is_file() and path.read_bytes() == self._text.encode()
        return path.stat().st_mtime_ns if noted else None

    def note(self) -> None:
        """Write the note, before the first prediction, unless it stands there already.

        Raises:
            InputError: if it cannot be written.
        """
        if self.since() is None:
            with whole_file(self.out / SETTINGS) as temporary:
                temporary.write_text(self._text)


def twins(images: Iterable[Path]) -> set[Path]:
    """Return those beside which another image has the same name but for its suffix: files of that name may be of either."""
    found: set[Path] = set()
    by_folder: dict[Path, list[Path]] = {}
    for image in images:
        by_folder.setdefault(image.parent, []).append(image)
    for folder, here in by_folder.items():
        stems = Counter(p.stem for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        found.update(image for image in here if stems[image.stem] > 1)
    return found


def already_there(images: Mapping[Path, Path], outputs: Iterable[str], settings: Settings) -> set[Path]:
    """Return which images (with the stems of their files) have been predicted with these settings."""
    since = settings.since()
    if since is None:
        return set()
    unsure = twins(images)
    sure = {path: stem for path, stem in images.items() if path not in unsure or stem.name != path.stem}
    return {path for path, stem in sure.items() if is_done(path, stem, outputs, since)}


def is_done(image: Path, stem: Path, outputs: Iterable[str], since: int) -> bool:
    """Return whether an image's wanted files are all there, made of this very image with these settings.

    Args:
        image: an image; its change time counts too, since a file that is moved here keeps its own age.
        stem: what the names of its files start with.
        outputs: of ``inference.outputs.SUFFIXES``.
        since: what ``Settings.since`` returned.
    """
    try:
        of_image = image.stat()
        needed = max(of_image.st_mtime_ns, of_image.st_ctime_ns, since)
        files = (stem.with_name(f"{stem.name}_{SUFFIXES[output]}") for output in outputs)
        return all(file.stat().st_mtime_ns >= needed for file in files)
    except OSError:
        return False
