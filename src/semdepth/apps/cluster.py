"""The one door to Ray: images spread over workers, on this machine or on many, so that no kill loses or doubles one.

Ray Data hands out chunks of images (``cluster_jobs``), starts workers anew when they die, and gives what a dead one held to
another. All that is kept is the files. So whatever dies (a worker, a machine, the command itself), the same command goes on.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from semdepth.apps.cluster_jobs import Job, Report, Tally, Work, Worker, deal_with
from semdepth.runtime import InputError, logger

BLOCKS = 10_000
"""Pieces of work that Ray keeps account of, at most; larger collections have larger pieces."""


@dataclass(frozen=True)
class ClusterConfig:
    """Where a large collection is worked on. All machines must see the images and the outputs at the same paths."""

    address: str = ""
    """local: a Ray on this machine; auto: the cluster that it belongs to; or HOST:6379; none: this process alone."""
    workers: int = 1
    """Processes that hold the network, at most; those that there is room for begin at once."""
    cpus: float = 1
    """Cores for each; the room of a machine is counted by them."""
    gpus: float = 0
    """GPUs for each; 0.5: two workers share one, so that one decodes while the other computes."""

    def __post_init__(self) -> None:
        if not self.address and (self.workers, self.cpus, self.gpus) != (1, 1, 0):
            raise InputError("cluster: workers, cpus and gpus need --cluster.address, e.g. local")
        if self.workers < 1 or self.cpus <= 0 or self.gpus < 0:
            raise InputError("cluster: workers must be at least 1, cpus above 0, gpus not negative")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise InputError(f"cluster.gpus {self.gpus}: a share of one, or whole GPUs")


def run_on_cluster(
    config: ClusterConfig, work: Work, jobs: Sequence[Job], batch: int, progress: Callable[[Tally], None]
) -> Tally:
    """Do all jobs on Ray.

    Args:
        config: where; a Ray that this process has already started is used as it is.
        work: what the workers do.
        jobs: no two with the same place.
        batch: images that a worker sees together.
        progress: told after every piece.

    Raises:
        InputError: if there is no such cluster or no room, or the workers cannot go on.
    """
    chunks = [jobs[i : i + batch] for i in range(0, len(jobs), batch)]
    rows = [{"number": n, "jobs": packed(chunk)} for n, chunk in enumerate(chunks)]
    tally = Tally()
    with _ray(config) as ray:
        ray.data.DataContext.get_current().enable_progress_bars = False
        ledger = ray.remote(num_cpus=0)(_Attempts).remote()
        version = import_module("semdepth").__version__
        done = ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS)).map_batches(
            _Actor,
            fn_constructor_args=(work, version, ledger),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=config.workers),
            num_cpus=config.cpus,
            num_gpus=config.gpus,
        )
        with closing(iter(done.iter_rows())) as reports:  # closed early, it ends the workers
            for row in reports:
                report = Report(**json.loads(row["report"]))
                if report.fatal:
                    raise InputError(report.fatal)
                tally.add(report)
                progress(tally)
    return tally


class _Attempts:
    """Counts how often each chunk was begun; lives on Ray, outside the workers, so that it survives them."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        self._begun[number] += 1
        return self._begun[number]


class _Actor:
    """What Ray starts, and starts anew: loads the network with the first chunk, so that errors come back as reports."""

    def __init__(self, work: Work, version: str, ledger: Any) -> None:
        self._work, self._version, self._ledger = work, version, ledger
        self._worker: Worker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        reports = [self._report(int(n), jobs) for n, jobs in zip(batch["number"], batch["jobs"], strict=True)]
        return {"report": [json.dumps(asdict(report)) for report in reports]}

    def _report(self, number: int, jobs: str) -> Report:
        try:
            self._worker = self._worker or self._started()
            return deal_with(self._worker, _unpacked(jobs), lambda: self._begin(number))
        except InputError as error:
            return Report(fatal=str(error))

    def _begin(self, number: int) -> int:
        import ray

        return int(ray.get(self._ledger.begin.remote(number)))

    def _started(self) -> Worker:
        here = import_module("semdepth").__version__
        if here != self._version:
            raise InputError(f"a worker's machine has semdepth {here}, this one {self._version}; install the same")
        return self._work.start()


def packed(jobs: Sequence[Job]) -> str:
    """Return jobs as text; names that are not UTF-8 survive it."""
    return json.dumps([[str(job.image), str(job.place)] for job in jobs])


def _unpacked(text: str) -> list[Job]:
    return [Job(Path(image), Path(place)) for image, place in json.loads(text)]


@contextmanager
def _ray(config: ClusterConfig) -> Iterator[Any]:
    """Give the module, connected; what was started here is ended here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray
    import ray.data

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.address == "local":
        quiet |= {"num_cpus": math.ceil(config.workers * config.cpus), "include_dashboard": False}
        quiet |= {"object_store_memory": 200 * 2**20}  # only names and counts go through it
    ours = not ray.is_initialized()
    try:
        if ours:
            ray.init(address=config.address, **quiet)
    except Exception as error:  # the guest's errors are many, down to a bare Exception; the mend is the same
        why = " ".join(str(error).split())[:200]
        mend = (
            "is the machine very busy? try again"
            if config.address == "local"
            else "start one: ray start --head, or use local"
        )
        raise InputError(f"cluster.address {config.address}: no Ray there ({why}); {mend}") from None
    try:
        _require_room(config, ray.nodes())
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _require_room(config: ClusterConfig, nodes: Sequence[dict[str, Any]]) -> None:
    """Refuse a worker that fits no machine; clusters that grow may yet get one."""
    held = [node["Resources"] for node in nodes if node["Alive"]]
    if any(r.get("CPU", 0) >= config.cpus and r.get("GPU", 0) >= config.gpus for r in held):
        return
    said = f"cluster: no machine has {config.cpus:g} cores and {config.gpus:g} GPUs for a worker"
    if config.address == "local":
        raise InputError(f"{said}; give smaller --cluster.cpus and --cluster.gpus")
    logger.warning("%s; waiting for one", said)
