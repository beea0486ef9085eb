"""What the INPUTs of ``semdepth predict`` stand for: images, videos and cameras, and the names of what is written."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semdepth.images import IMAGE_SUFFIXES
from semdepth.inference.exported import NCNN, ONNX, PROGRAM
from semdepth.inference.opening import WEIGHTS
from semdepth.runtime import InputError, logger, natural_order, require_folder

VIEW = re.compile(r"image_\d\d?")
"""KITTI's folders of camera images: image_02 of raw drives, image_2 of odometry."""
LABELS = "segmentation"
"""The folder of labels beside the images of a plain folder or a city."""
WRITTEN = re.compile(r"(.+)_(depth|disparity|labels|uncertainty|panel)")
"""The stems of the pictures that are written here, beside NAME_depth.npy."""
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".gif"}
)
WEIGHTS_SUFFIXES = frozenset({".safetensors", ONNX, NCNN, PROGRAM})
WEBCAM = re.compile(r"webcam(?::(\d+))?")


@dataclass(frozen=True)
class Inputs:
    """What is to be predicted, each with the path that the names of its files start with."""

    images: dict[Path, Path]
    videos: dict[Path, Path]
    webcams: dict[int, Path]
    root: Path
    """The folder whose tree the names of the files follow."""


def find_inputs(given: Sequence[str], out: Path) -> Inputs:
    """Return what was given, globs and folders resolved.

    Names below ``out`` follow the tree below the given folder; of several inputs, below the folder that holds them all.

    Args:
        given: images, folders, globs, videos, ``webcam`` or ``webcam:1``.
        out: the folder that predictions go to, which may lie in a given folder.

    Raises:
        InputError: if one of them is not there or holds no image, two would have files of the same names, or ``out`` is
            a file.
    """
    if out.is_file():
        raise InputError(f"{out}: is a file; give a folder as --out")
    paths: list[Path] = []
    webcams: dict[int, Path] = {}
    for text in given:
        camera = WEBCAM.fullmatch(text)
        if camera and not Path(text).exists():
            number = int(camera[1] or 0)
            webcams[number] = out / ("webcam" if number == 0 else f"webcam_{number}")
        else:
            paths += _matches(text)
    paths = list(dict.fromkeys(paths))
    whole = len(paths) == 1 and paths[0].is_dir()
    root = paths[0] if whole else Path(os.path.commonpath([p.absolute().parent for p in paths])) if paths else out
    videos = [p for p in paths if p.suffix.lower() in VIDEO_SUFFIXES and not p.is_dir()]
    images = [image for p in paths if p not in videos for image in find_images(p, out)]
    stems = output_stems([*images, *videos], root, out)
    return Inputs({p: stems[p] for p in images}, {p: stems[p] for p in videos}, webcams, root)


def _matches(text: str) -> list[Path]:
    if Path(text).exists() or not glob.has_magic(text):
        return [Path(text)]
    found = sorted((Path(name) for name in glob.glob(text, recursive=True)), key=in_order)
    if not found:
        raise InputError(f"{text}: matches no file; check the pattern, and quote it")
    given = [path for path in found if not _is_written(path)]
    if not given:
        raise InputError(f"{text}: matches only what was predicted before; check the pattern")
    return given


def in_order(path: Path) -> tuple[str, list[tuple[int, int | str]]]:
    """Return a sort key: folder by folder, in each frame 10 after frame 9, as training takes them."""
    return str(path.parent), natural_order(path)


def find_images(path: Path, out: Path) -> list[Path]:
    """Return the image itself, or all images in a folder and below, by name.

    Label, depth and other companion PNGs of KITTI-like trees are left out: where there are folders ``image_NN`` below
    ``path``, only they count. So are labels in a folder ``segmentation`` below it, where `semdepth label` puts them, and
    predictions: everything in ``out``, and pictures beside their ``_depth.npy``.

    Args:
        path: an image or a folder.
        out: the folder that predictions go to, which may lie in ``path``.

    Raises:
        InputError: if there is no such image, or the folder cannot be listed.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such image, video or folder; check the path")
        if path.suffix.lower() in WEIGHTS_SUFFIXES:
            raise InputError(f"{path}: holds weights, no image; give it with --weights")
        return [path]
    require_folder(path, "folder of images", "give images")
    if (path / "checkpoints").is_dir() and any((path / name).exists() for name in WEIGHTS):
        raise InputError(f"{path}: is a run, no folder of images; give it with --weights, and the images before it")
    files = sorted((p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()), key=in_order)
    found = [p for p in files if not _is_output(p, path, out) and LABELS not in p.relative_to(path).parts[:-1]]
    views = [p for p in found if any(VIEW.fullmatch(folder) for folder in p.relative_to(path).parts[:-1])]
    if not found:
        raise InputError(f"{path}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); name videos one by one")
    if views and len(views) < len(found):
        logger.info("%s: only folders image_NN are taken; %d other images are not", path, len(found) - len(views))
    return views or found


def output_stems(files: list[Path], root: Path, out: Path) -> dict[Path, Path]:
    """Return, by file, the path that the names of its outputs start with; no two files have the same.

    Raises:
        InputError: if two would have the same all the same (``a.png``, ``a.bmp`` and ``a_bmp.png``).
    """
    base = root.absolute()
    below = {p: p.absolute().relative_to(base) for p in files}
    shared = Counter(p.with_suffix("") for p in below.values())
    stems = {
        file: out / (p.with_name(f"{p.stem}_{p.suffix[1:]}") if shared[p.with_suffix("")] > 1 else p.with_suffix(""))
        for file, p in below.items()
    }
    taken: dict[Path, Path] = {}
    for file, stem in stems.items():
        if stem in taken:
            raise InputError(
                f"{file}: its files would have the names of those of {taken[stem].name}; rename one of them"
            )
        taken[stem] = file
    return stems


def _is_output(file: Path, given: Path, out: Path) -> bool:
    root, target = given.resolve(), out.resolve()
    if target != root and target.is_relative_to(root) and (root / file.relative_to(given)).is_relative_to(target):
        return True
    return _is_written(file)


def _is_written(file: Path) -> bool:
    """Return whether a file is a prediction, by its name and by what lies beside it."""
    written = WRITTEN.fullmatch(file.stem)
    if written is None or file.is_dir():
        return False
    if file.suffix == ".mp4" and written[2] == "depth":
        return any(file.with_name(f"{written[1]}{suffix}").exists() for suffix in VIDEO_SUFFIXES)
    return file.with_name(f"{written[1]}_depth.npy").exists()
