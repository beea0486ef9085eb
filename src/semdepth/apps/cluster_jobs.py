"""What workers of a cluster do: chunks of images, computed where files are missing, and what became of them. Knows no Ray.

All that is kept is the files: a worker looks which of a chunk's are there before it computes, and each appears whole or not at
all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from semdepth.images import read_image
from semdepth.runtime import InputError, logger

ATTEMPTS = 3
"""So often a chunk may be begun; if its worker died each time, its images are given up and named."""
THREADS = 4
"""Images of a chunk are decoded and written beside each other."""
TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}(\.\w+)?")
"""What a worker that was killed while it wrote leaves: the name between is the file's own."""


@dataclass(frozen=True)
class Job:
    """An image and where its outputs go."""

    image: Path
    place: Path


class Worker(Protocol):
    """What holds the network. Errors that the user can mend are ``InputError`` and end the run."""

    def is_done(self, job: Job) -> bool:
        """Whether all files of that image are there and whole."""

    def compute(self, images: Sequence[npt.NDArray[np.uint8]]) -> Sequence[Any]:
        """Return what is seen in (H, W, 3) images."""

    def write(self, job: Job, pixels: npt.NDArray[np.uint8], result: Any) -> None:
        """Write the files of an image, each at once."""


class Work(Protocol):
    """What travels to the workers, pickled."""

    def start(self) -> Worker:
        """Load the network."""


@dataclass(frozen=True)
class Report:
    """What became of some images."""

    new: int = 0
    there: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    """Images that cannot be read, and why."""
    fatal: str = ""
    """Why no image can be done."""
    begun_again: int = 0
    """Chunks whose worker had died."""


@dataclass
class Tally:
    """What became of all images."""

    new: int = 0
    there: int = 0
    failed: dict[Path, str] = field(default_factory=dict)
    begun_again: int = 0

    def add(self, report: Report) -> None:
        """Count; say what failed."""
        self.new, self.there = self.new + report.new, self.there + report.there
        self.begun_again += report.begun_again
        for image, why in report.failed:
            logger.warning("%s", why)
            self.failed[Path(image)] = why


def deal_with(worker: Worker, jobs: Sequence[Job], begin: Callable[[], int] = lambda: 1) -> Report:
    """Do a chunk of images, as far as it is not done.

    If one of them is missing all are computed, so that what is written does not depend on what was there; only missing files
    are written.

    Args:
        worker: what does it.
        jobs: the images.
        begin: tells that there is something to do; returns how often that was told of this chunk.

    Raises:
        InputError: if the worker does, or a file cannot be written.
    """
    missing = {job for job in jobs if not worker.is_done(job)}
    if not missing:
        return Report(there=len(jobs))
    there, attempt = len(jobs) - len(missing), begin()
    if attempt > ATTEMPTS:
        why = f"given up, {ATTEMPTS} workers died over it or the images that it went through with (memory?)"
        return Report(0, there, tuple((str(job.image), f"{job.image}: {why}") for job in jobs if job in missing))
    readable, failed = [], []
    with ThreadPoolExecutor(THREADS) as pool:
        for job, reading in [(job, pool.submit(read_image, job.image)) for job in jobs]:
            try:
                readable.append((job, reading.result()))
            except InputError as error:
                failed += [(str(job.image), str(error))] if job in missing else []
        results = worker.compute([pixels for _, pixels in readable]) if readable else []
        writing = [
            pool.submit(worker.write, job, pixels, result)
            for (job, pixels), result in zip(readable, results, strict=True)
            if job in missing
        ]
        _ = [written.result() for written in writing]
    return Report(len(writing), there, tuple(failed), begun_again=int(attempt > 1))


def sweep(outputs: Sequence[Path]) -> None:
    """Remove the unfinished files that killed workers left beside complete outputs."""
    names: dict[Path, set[str]] = {}
    for path in outputs:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, complete in names.items():
        for entry in os.scandir(folder) if folder.is_dir() else ():
            left = TEMPORARY.fullmatch(entry.name)
            if left and left[1] in complete:
                Path(entry).unlink(missing_ok=True)
