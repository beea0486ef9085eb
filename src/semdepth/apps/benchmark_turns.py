"""What the speed benchmarks share: contestants that take turns, their medians, and the reference they are measured beside."""

from __future__ import annotations

import importlib.util
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from rich.progress import track

from semdepth.runtime import InputError

REFERENCES = Path(__file__).parents[3] / "benchmarks" / "reference"
"""In the clone, beside the package; a wheel does not hold them."""


@dataclass(frozen=True)
class Spent:
    """Seconds of one turn."""

    wall: float
    """Elapsed."""
    processor: float
    """Spent by the processors: all threads and ended children."""


@dataclass(frozen=True)
class Turns:
    """Seconds of every turn, by contestant: elapsed, and spent by the processors (all threads and ended children)."""

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median elapsed seconds of a contestant."""
        return statistics.median(self.wall[name])

    def processor_median(self, name: str) -> float:
        """Return the median processor seconds of a contestant."""
        return statistics.median(self.processor[name])

    def ratio(self, reference: str, ours: str) -> dict[str, float]:
        """Return how many times as long the reference takes: the medians over rounds of the ratios within a round."""
        kinds = {"wall": self.wall, "processor": self.processor}
        return {
            kind: round(statistics.median(a / b for a, b in zip(times[reference], times[ours], strict=True)), 2)
            for kind, times in kinds.items()
        }

    def rows(self, per: float = 1.0) -> dict[str, Any]:
        """Return medians and spreads as plain JSON, in seconds over ``per``."""
        return {
            name: {
                "median": _short(self.median(name) / per),
                "spread": [_short(min(times) / per), _short(max(times) / per)],
                "processor": _short(self.processor_median(name) / per),
            }
            for name, times in self.wall.items()
        }


def take_turns(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm_up: int = 1,
    device: torch.device | None = None,
    clock: Callable[[Callable[[], Any], torch.device | None], Spent] | None = None,
) -> Turns:
    """Let everybody run once a round, so that a machine that others share disturbs all alike; every other round backwards.

    Who comes second may find the machine warmer, or its caches filled.

    Args:
        contestants: by name; each call is one turn.
        rounds: that count, at least 1.
        warm_up: rounds before, that do not.
        device: that is waited for before and after a turn, if it is a GPU.
        clock: how a turn is measured; None: ``measure``, in this process.
    """
    clock = clock or measure
    turns = Turns({name: [] for name in contestants}, {name: [] for name in contestants})
    for number in track(range(-warm_up, rounds), "taking turns", disable=rounds < 2):
        order = list(contestants.items())
        for name, run in order if number % 2 == 0 else reversed(order):
            spent = clock(run, device)
            if number >= 0:
                turns.wall[name].append(spent.wall)
                turns.processor[name].append(spent.processor)
    return turns


def measure(run: Callable[[], object], device: torch.device | None = None) -> Spent:
    """Run something once and return what it took."""
    wait(device)
    start, worked = time.perf_counter(), processor_seconds()
    run()
    wait(device)
    return Spent(time.perf_counter() - start, processor_seconds() - worked)


def wait(device: torch.device | None) -> None:
    """Wait for a GPU; the CPU never lags behind."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


def processor_seconds() -> float:
    """Return the seconds that processors have worked for this process, its threads, and the children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, GB."""
    status = Path(
        "/proc/self/status"
    )  # what getrusage says is never less than the parent had when it started this process
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def open_reference(name: str) -> ModuleType:
    """Return a module of benchmarks/reference.

    Raises:
        InputError: if the package is not run from a clone.
    """
    path = REFERENCES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"semdepth_reference_{name}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(
            f"{path}: the reference is not there; benchmarks run in a clone of the repository, pip install -e ."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _short(value: float) -> float:
    return float(f"{value:.4g}")
