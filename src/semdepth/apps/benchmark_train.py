"""``semdepth benchmark train``: a training step of ours beside one of the field's usual research code."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

import torch

from semdepth.apps.benchmark_record import record
from semdepth.apps.benchmark_roofline import Ceilings, Work, count_work, measure_ceilings
from semdepth.apps.benchmark_steps import FULL, OURS, REFERENCE, Contestant, build, rendered_batch
from semdepth.apps.benchmark_turns import Spent, Turns, measure, open_reference, peak_memory, take_turns
from semdepth.runtime import InputError, choose_device, keep_freed_memory
from semdepth.structures import FrameBatch

Variant = Literal["depth-only", "full"]


class Apart:
    """A contestant in a process of its own: its peak memory, and how it allocates, are its own affair."""

    def __init__(self, name: str, encoder: str, frames: FrameBatch, place: torch.device) -> None:
        """Start the process and build the contestant there, with as many threads as here."""
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._ask = lambda job, *more: self._pool.submit(job, name, *more).result()
        self._ask(_begin, encoder, pickle.dumps(frames), str(place), torch.get_num_threads())

    def step(self) -> Spent:
        """Take a training step there."""
        return self._ask(_step)  # type: ignore[no-any-return]

    def losses(self) -> Spent:
        """Work out the losses alone."""
        return self._ask(_losses)  # type: ignore[no-any-return]

    def peak_gb(self) -> float:
        """Return its largest memory so far: resident on a CPU, allocated on a GPU."""
        return self._ask(_peak)  # type: ignore[no-any-return]

    def work(self, ceilings: Ceilings) -> Work:
        """Take a step, counting what its operators do."""
        return self._ask(_work, ceilings)  # type: ignore[no-any-return]

    def end(self) -> None:
        """End the process."""
        self._pool.shutdown()


def train(
    size: tuple[int, int], batch: int, variant: Variant, rounds: int, device: str, out: Path, encoder: str = "resnet18"
) -> str:
    """Let the training steps take turns, and record their medians.

    The reference (benchmarks/reference/training.py) has the same networks, in eager float32. Both take the same rendered
    triplets, read and augmented beforehand: neither side's loader is in the step.

    Args:
        size: (H, W) of the images.
        batch: triplets a step.
        variant: full: also the full method (segmentation, SSFA, ranking), beside depth alone.
        rounds: how often everybody has a turn.
        device: auto, cpu, cuda, mps.
        out: folder of performance.json.
        encoder: of the depth and pose networks.

    Returns:
        The table, and where the numbers are.

    Raises:
        InputError: if the reference is missing, a number is below 1, or the file cannot be written.
    """
    if rounds < 1 or batch < 1:
        raise InputError("benchmark train: rounds and batch must be at least 1")
    open_reference("training")
    place = choose_device(device)
    frames = rendered_batch(size, batch)
    names = [REFERENCE, OURS, *([FULL] if variant == "full" else [])]
    ceilings = measure_ceilings(place)
    rivals: dict[str, Apart] = {}
    try:
        for name in names:
            rivals[name] = Apart(name, encoder, frames, place)
        for _ in range(2):
            for rival in rivals.values():
                rival.step()
        memory = {name: rival.peak_gb() for name, rival in rivals.items()}
        runs: dict[str, Callable[[], Spent]] = {name: rival.step for name, rival in rivals.items()}
        runs |= {f"{name}: losses": rival.losses for name, rival in rivals.items()}
        turns = take_turns(runs, rounds, clock=lambda run, _: run())
        work = {name: rival.work(ceilings) for name, rival in rivals.items()}
    finally:
        for rival in rivals.values():
            rival.end()
    written = record(
        "train_gpu" if place.type == "cuda" else "train_cpu",
        batch / turns.median(OURS),
        batch / turns.median(REFERENCE),
        "images/s",
        out=out,
        ratio_of_rounds=turns.ratio(REFERENCE, OURS),
        **facts(turns, work, memory),
        ceilings={"gflops": round(ceilings.flops / 1e9, 1), "gb_per_s": round(ceilings.bandwidth / 1e9, 1)},
        threads=torch.get_num_threads(),
        encoder=encoder,
        batch=batch,
        size=list(size),
    )
    return f"{table(turns, work, memory, batch)}\n\nAs JSON: {written}"


def facts(turns: Turns, work: dict[str, Work], memory: dict[str, float]) -> dict[str, Any]:
    """Return what stands beside the ratio: seconds, shares, memory, as plain JSON."""
    shares = {name: round(turns.processor_median(f"{name}: losses") / turns.processor_median(name), 3) for name in work}
    found: dict[str, Any] = {
        "seconds": turns.rows(),
        "losses_share": shares,
        "peak_gb": {name: round(value, 2) for name, value in memory.items()},
        "memory_ratio": round(memory[OURS] / memory[REFERENCE], 2),
        "roofline_share": {name: round(done.bound / turns.median(name), 3) for name, done in work.items()},
        "gflop": {name: round(done.flops / 1e9, 1) for name, done in work.items()},
        "gb_moved": {name: round(done.moved / 1e9, 2) for name, done in work.items()},
    }
    if FULL in work:
        found["full_method_cost"] = turns.ratio(FULL, OURS)
    return found


def table(turns: Turns, work: dict[str, Work], memory: dict[str, float], batch: int) -> str:
    """Return the medians as Markdown."""
    lines = [
        "| step | images/s | spread | × reference | processor s a step | losses | peak GB | roofline |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, done in work.items():
        wall = turns.wall[name]
        spread = f"{batch / max(wall):.2f} – {batch / min(wall):.2f}"
        share = turns.processor_median(f"{name}: losses") / turns.processor_median(name)
        lines.append(
            f"| {name} | {batch / turns.median(name):.2f} | {spread} | {turns.ratio(REFERENCE, name)['wall']:.2f} | "
            f"{turns.processor_median(name):.2f} | {share:.0%} | {memory[name]:.2f} | "
            f"{done.bound / turns.median(name):.0%} |"
        )
    return "\n".join(lines)


_HERE: dict[str, tuple[Contestant, torch.device]] = {}
"""The contestant of this process, by name."""


def _begin(name: str, encoder: str, pickled: bytes, place: str, threads: int) -> None:
    torch.set_num_threads(threads)
    if name != REFERENCE:
        keep_freed_memory()  # as the command line does; research code leaves the allocator alone
    _HERE[name] = build(name, encoder, pickle.loads(pickled), torch.device(place)), torch.device(place)


def _step(name: str) -> Spent:
    rival, place = _HERE[name]
    return measure(rival.step, place)


def _losses(name: str) -> Spent:
    rival, place = _HERE[name]
    return measure(rival.losses, place)


def _peak(name: str) -> float:
    cuda = _HERE[name][1].type == "cuda"
    return torch.cuda.max_memory_allocated() / 1e9 if cuda else peak_memory()


def _work(name: str, ceilings: Ceilings) -> Work:
    return count_work(_HERE[name][0].step, ceilings)
