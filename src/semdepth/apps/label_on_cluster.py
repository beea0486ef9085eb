"""``semdepth label --cluster.address``: what its workers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.apps.cluster import ClusterConfig, run_on_cluster
from semdepth.apps.cluster_jobs import Job, Tally, sweep
from semdepth.apps.cluster_progress import shown
from semdepth.data.label_files import LabelTask, write_result
from semdepth.data.pseudo_labels import Precision, Segmentation, Segmenter, load_segmenter
from semdepth.runtime import InputError


@dataclass(frozen=True)
class LabelWork:
    """A segmenter, to be loaded by each worker."""

    segmenter: str
    identity: str
    """Of the segmenter that the command has loaded (``Segmenter.identity``)."""
    size: tuple[int, int] | None = None
    train_ids: bool = False
    precision: Precision = "float32"
    device: str = "auto"

    def start(self) -> LabelWorker:
        """Load it.

        Raises:
            InputError: if it cannot be had, or is another than the command's.
        """
        loaded = load_segmenter(
            self.segmenter,
            device=self.device,
            size=self.size,
            train_ids=self.train_ids,
            precision=self.precision,
        )
        if loaded.identity != self.identity:
            raise InputError(f"{self.segmenter}: a worker's machine has another one than this; give all the same")
        return LabelWorker(loaded)


@dataclass(frozen=True)
class LabelWorker:
    """Writes labels."""

    segmenter: Segmenter

    def is_done(self, job: Job) -> bool:
        """Whether labels and entropy are there, whole, and of one size."""
        return _task(job).is_done()

    def compute(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Segmentation]:
        """Return what is seen in images."""
        return self.segmenter.segment(images)

    def write(self, job: Job, pixels: npt.NDArray[np.uint8], result: Any) -> None:
        """Write entropy and labels."""
        write_result(_task(job), result)


def label_on_cluster(config: ClusterConfig, work: LabelWork, tasks: Sequence[LabelTask], batch: int) -> Tally:
    """Write the labels of all tasks that have none.

    Args:
        config: where.
        work: which segmenter.
        tasks: whose folders are claimed.
        batch: images that go through the segmenter together.

    Raises:
        InputError: as ``run_on_cluster`` does.
    """
    jobs = [Job(task.image.absolute(), task.labels.absolute()) for task in tasks]
    with shown("labelling", len(jobs)) as progress:
        tally = run_on_cluster(config, work, jobs, batch, progress)
    sweep([path for task in tasks for path in (task.labels, task.entropy)])
    return tally


def _task(job: Job) -> LabelTask:
    folder: Path = job.place.parents[1]
    return LabelTask(job.image, job.place, folder / "entropy" / job.place.name)
