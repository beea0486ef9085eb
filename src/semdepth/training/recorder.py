"""What a run leaves to read: curves as CSV and TensorBoard, panels as PNG."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from semdepth import visualise
from semdepth.geometry.camera import disparity_to_depth
from semdepth.runtime import InputError, why_not_written
from semdepth.structures import FrameBatch
from semdepth.training.objective import Objective


class Recorder:
    """Writes ``curves.csv`` (step, name, value), TensorBoard events and ``panels/*.png`` into a run's folder.

    A resumed run goes on from its step: rows past that step, which the killed run wrote after its last
    checkpoint, are dropped first, so that no step stands twice.
    """

    def __init__(self, run: Path, start: int = 0) -> None:
        """Open the run's records for writing from step ``start`` on."""
        from torch.utils.tensorboard import SummaryWriter

        self.run = run
        self.path = run / "curves.csv"
        try:
            run.mkdir(parents=True, exist_ok=True)
            kept = [row for row in read_curves(run) if row[0] <= start]
            temporary = self.path.with_suffix(".tmp")
            with temporary.open("w", newline="") as stream:
                csv.writer(stream).writerows([("step", "name", "value"), *((s, n, repr(v)) for s, n, v in kept)])
            temporary.replace(self.path)
            self._stream = self.path.open("a", newline="")
            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)
        except OSError as error:
            raise InputError(f"{run}: cannot be written ({error.strerror}); give another --run") from None

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write named numbers of one step."""
        with self._writing():
            csv.writer(self._stream).writerows((step, name, repr(float(value))) for name, value in values.items())
            self._stream.flush()
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def panel(self, step: int, picture: npt.NDArray[np.uint8]) -> Path:
        """Write a panel of one step; return its path."""
        path = self.run / "panels" / f"step_{step:08d}.png"
        with self._writing():
            path.parent.mkdir(exist_ok=True)
            visualise.write_png(path, picture)
            self._board.add_image("panel", picture, step, dataformats="HWC")
        return path

    def close(self) -> None:
        """Flush to the disk and close; a disk that is full has been complained of before, or will be by the next start."""
        with suppress(OSError):
            self._stream.flush()
            os.fsync(self._stream.fileno())
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._board.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.run}: curves and panels cannot be written ({why_not_written(error)}); free the disk, run again to resume"
            ) from None


def read_curves(run: Path) -> list[tuple[int, str, float]]:
    """Return the (step, name, value) rows of a run's ``curves.csv``, but for what a kill or a power cut has spoilt."""
    path = run / "curves.csv"
    if not path.exists():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                step, name, value = next(csv.reader([line]))
                rows.append((int(step), name, float(value)))
            except (ValueError, StopIteration, csv.Error):
                continue
    return rows


def training_panel(
    batch: FrameBatch, objective: Objective, depth_range: tuple[float, float], most: int = 4
) -> npt.NDArray[np.uint8]:
    """Return a grid: for up to ``most`` frames, image, disparity, first warped source, error and auto-mask."""
    disparity, _ = disparity_to_depth(objective.disparity.float(), *depth_range)
    cells: list[npt.NDArray[np.uint8]] = []
    for b in range(min(most, len(batch))):
        cells += [
            to_picture(batch.target[b]),
            visualise.colourise_disparity(disparity[b, 0].cpu().numpy()),
            to_picture(objective.warped[b, 0]),
            visualise.colourise_error(objective.error[b].float().cpu().numpy()),
            to_picture(objective.kept[b].float().expand(3, -1, -1)),
        ]
    return visualise.panel(cells, titles=["image", "disparity", "warped", "error", "auto-mask"], columns=5)


def to_picture(image: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Turn a (3, H, W) image in [0, 1] into (H, W, 3) uint8."""
    return (image.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
