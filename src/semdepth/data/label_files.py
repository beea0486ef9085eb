"""Where pseudo-labels lie, who wrote them, and how they are written: beside the frames, as ``records.label_folder`` reads.

::

    <drive>/image_02/data/0000000005.png    →  <drive>/segmentation_02/data/0000000005.png, entropy/0000000005.png
    <sequence>/image_2/000005.png           →  <sequence>/segmentation_2/data/000005.png, entropy/000005.png
    <folder>/clip_0005.jpg                  →  <folder>/segmentation/data/clip_0005.png, entropy/clip_0005.png
    beside data and entropy                     segmenter.json: which segmenter, and what its classes became
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.data.pseudo_labels import Segmentation, Segmenter
from semdepth.images import read_confidence, read_image, read_labels
from semdepth.runtime import InputError, parse_json
from semdepth.visualise import write_png

RECORD = "segmenter.json"
PARTS = ("data", "entropy", "confidence", RECORD)
"""What belongs to the labels of one segmenter."""
THREADS = 4
"""Images are decoded and PNGs written beside the segmenter's own work."""


@dataclass(frozen=True)
class LabelTask:
    """One image and the two files that are to be written for it. Plain paths: it travels to other machines."""

    image: Path
    labels: Path
    entropy: Path

    @property
    def folder(self) -> Path:
        """The folder that the labels of the whole sequence are in, e.g. ``segmentation_02``."""
        return self.labels.parents[1]

    def is_done(self) -> bool:
        """Whether both files are there, whole, and of one size."""
        try:
            return self.labels.exists() and read_labels(self.labels).shape == read_confidence(self.entropy, True).shape
        except InputError:
            return False


def _beside_raw(image: Path) -> Path:
    view = image.parents[1]
    return view.with_name(view.name.replace("image", "segmentation"))


def _beside_odometry(image: Path) -> Path:
    return image.parent.with_name(image.parent.name.replace("image", "segmentation"))


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "kitti_raw": _beside_raw,
    "kitti_odometry": _beside_odometry,
    "folder": lambda image: image.parent / "segmentation",
    "cityscapes": lambda image: image.parent / "segmentation",
}
"""Data set → the folder that an image's labels go under."""


def require_place(dataset: str) -> None:
    """Refuse a data set that has no place for labels.

    Raises:
        InputError: if it has none.
    """
    if dataset not in LAYOUTS:
        raise InputError(f"data {dataset}: there is no place for labels beside its images; choose {', '.join(LAYOUTS)}")


def label_tasks(dataset: str, images: Sequence[Path]) -> list[LabelTask]:
    """Return what is to be written for the images of a data set, where its reader looks for it.

    Raises:
        InputError: if labels have no place in that data set, or two images would share theirs.
    """
    require_place(dataset)
    tasks: dict[Path, LabelTask] = {}
    for image in dict.fromkeys(images):
        folder, name = LAYOUTS[dataset](image), f"{image.stem}.png"
        task = LabelTask(image, folder / "data" / name, folder / "entropy" / name)
        if task.labels in tasks:
            raise InputError(
                f"{image}: would share its labels with {tasks[task.labels].image.name}; rename one of them"
            )
        tasks[task.labels] = task
    return list(tasks.values())


def write_labels(segmenter: Segmenter, tasks: Sequence[LabelTask]) -> None:
    """Label a batch of images: all that a worker of a larger run has to call. Existing files are replaced, each at once.

    Raises:
        InputError: if an image cannot be read or a file not be written.
    """
    for task, result in zip(tasks, segmenter.segment([read_image(task.image) for task in tasks]), strict=True):
        write_result(task, result)


def write_result(task: LabelTask, result: Segmentation) -> None:
    """Write what a segmenter said of an image, the labels last: where they are, their entropy is too.

    Raises:
        InputError: if a file cannot be written.
    """
    write_png(task.entropy, result.entropy)
    write_png(task.labels, result.labels)


def label_in_batches(
    segmenter: Segmenter, tasks: Sequence[LabelTask], batch: int, failed: Callable[[LabelTask, InputError], None]
) -> Iterator[int]:
    """Label images as ``write_labels`` does, decoding the next and writing the last ones meanwhile.

    Args:
        segmenter: what sees.
        tasks: what is to be written.
        batch: images at once.
        failed: told of images that cannot be read; the others are labelled all the same.

    Yields:
        How many images were dealt with, batch by batch; those of the last yield are written when the iterator ends.

    Raises:
        InputError: if a file cannot be written, or the segmenter does not take the images.
    """
    chunks = [tasks[i : i + batch] for i in range(0, len(tasks), batch)]
    pool = ThreadPoolExecutor(THREADS)
    writing: list[Future[None]] = []
    try:
        reading = deque(_reading(pool, chunk) for chunk in chunks[:1])
        for number, chunk in enumerate(chunks):
            reading.extend(_reading(pool, ahead) for ahead in chunks[number + 1 : number + 2])
            images = _results(chunk, reading.popleft(), failed)
            results = segmenter.segment([pixels for _, pixels in images])
            _ = [done.result() for done in writing]
            writing = [pool.submit(write_result, task, r) for (task, _), r in zip(images, results, strict=True)]
            yield len(chunk)
        _ = [done.result() for done in writing]
    finally:
        pool.shutdown(cancel_futures=True)


def claim_folders(folders: Sequence[Path], record: Mapping[str, Any], overwrite: bool) -> list[Path]:
    """Make folders ready for a segmenter's labels: nothing of another segmenter's may come to lie between them.

    Args:
        folders: of ``LabelTask.folder``.
        record: what ``segmenter_record`` returns.
        overwrite: move what another segmenter wrote aside, into ``replaced_1`` (2, 3 …) within the folder.

    Returns:
        The folders that others' labels were moved to.

    Raises:
        InputError: if there are others' labels and ``overwrite`` is not set, or a folder cannot be written; then nothing
            was changed, where it could be known before.
    """
    foreign = [folder for folder in folders if _owner(folder) not in (None, record["identity"])]
    if foreign and not overwrite:
        raise InputError(
            f"{foreign[0]}: holds labels of {_owner_name(foreign[0])}, not of {record['segmenter']}; say --overwrite=true "
            "to move them aside, or name that segmenter and its options"
        )
    moved = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder in foreign:
                moved.append(_move_aside(folder))
            _write_record(folder / RECORD, record)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror}); check its permissions") from None
    return moved


def segmenter_record(segmenter: Segmenter, version: str) -> dict[str, Any]:
    """Return what ``segmenter.json`` says: the segmenter, its identity, and which of its classes became which."""
    return {
        "segmenter": segmenter.source,
        "identity": segmenter.identity,
        "model_type": segmenter.model_type,
        "precision": segmenter.precision,
        "semdepth": version,
        "input": asdict(segmenter.input),
        "classes": segmenter.classes.by_class(),
        "no_class": segmenter.classes.unmatched(),
    }


def _reading(pool: ThreadPoolExecutor, chunk: Sequence[LabelTask]) -> list[Future[npt.NDArray[np.uint8]]]:
    return [pool.submit(read_image, task.image) for task in chunk]


def _results(
    chunk: Sequence[LabelTask],
    reading: list[Future[npt.NDArray[np.uint8]]],
    failed: Callable[[LabelTask, InputError], None],
) -> list[tuple[LabelTask, npt.NDArray[np.uint8]]]:
    found = []
    for task, future in zip(chunk, reading, strict=True):
        try:
            found.append((task, future.result()))
        except InputError as error:
            failed(task, error)
    return found


def _owner(folder: Path) -> str | None:
    """Return the identity of the segmenter that wrote the labels in ``folder``; "" if unknown, None without labels."""
    record = folder / RECORD
    if record.exists():
        with suppress(OSError, ValueError, TypeError, KeyError):
            return str(parse_json(record.read_text(encoding="utf-8"))["identity"])
        return ""
    return "" if next((folder / "data").glob("*.png"), None) is not None else None


def _owner_name(folder: Path) -> str:
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(parse_json((folder / RECORD).read_text(encoding="utf-8"))["segmenter"])
    return "unknown origin"


def _move_aside(folder: Path) -> Path:
    number = 1
    while (folder / f"replaced_{number}").exists():
        number += 1
    aside = folder / f"replaced_{number}"
    aside.mkdir()
    for part in reversed(PARTS):  # the labels last: interrupted, they are still others' labels without a record
        if (folder / part).exists():
            os.replace(folder / part, aside / part)
    return aside


def _write_record(path: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
