"""The progress bar of work on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semdepth.apps.cluster_jobs import Tally

COLUMNS = (
    TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
    TimeRemainingColumn(),
)  # fmt: skip


@contextmanager
def shown(what: str, total: int) -> Iterator[Callable[[Tally], None]]:
    """Show how many of ``total`` images are done and how many new ones a second; give what is to be told of it."""
    with Progress(*COLUMNS) as bar:
        task = bar.add_task(what, total=total, rate="starting workers")

        def tell(tally: Tally) -> None:
            seconds = bar.tasks[task].elapsed or 0.0
            rate = f"{tally.new / seconds:.1f} images/s" if tally.new and seconds else ""
            bar.update(task, completed=tally.new + tally.there + len(tally.failed), rate=rate)

        yield tell
