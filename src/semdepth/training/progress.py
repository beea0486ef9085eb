"""The progress bar of training: loss, images per second, time left."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SMOOTHING = 0.9
"""Share that the running rate keeps of its past at every step."""


class TrainingProgress:
    """A rich progress bar over steps; silent where it is not shown (other processes)."""

    def __init__(self, steps: int, start: int, shown: bool) -> None:
        """Make a bar of ``steps`` that begins at ``start``."""
        self.images_per_second = 0.0
        self._since = time.perf_counter()
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[rate]:.1f} img/s"),
            TimeRemainingColumn(),
            disable=not shown,
        )
        self._task = self._bar.add_task("training", total=steps, completed=start, loss="", rate=0.0)

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        self._since = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, images: int) -> None:
        """Count one step of so many images; the rate includes the wait for the loader."""
        now = time.perf_counter()
        rate = images / (now - self._since)
        self._since = now
        past = self.images_per_second
        self.images_per_second = SMOOTHING * past + (1 - SMOOTHING) * rate if past else rate
        self._bar.update(self._task, advance=1, rate=self.images_per_second)

    def loss(self, value: float) -> None:
        """Show the loss."""
        self._bar.update(self._task, loss=f"loss {value:.4f}")
