"""``semdepth benchmark train``: a training step of ours beside one of the field's usual research code."""

from __future__ import annotations

import importlib.util
import pickle
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from semdepth.apps.benchmark_apart import Apart
from semdepth.apps.benchmark_record import record
from semdepth.apps.benchmark_roofline import Work, measure_ceilings
from semdepth.apps.benchmark_steps import (
    FULL,
    IN_BFLOAT16,
    LEAN,
    ON_A_GPU,
    OURS,
    REFERENCE,
    WAYS,
    prepare,
    rendered_batch,
)
from semdepth.apps.benchmark_turns import Turns, open_reference, take_turns
from semdepth.runtime import InputError, choose_device, computes_bfloat16

Variant = Literal["depth-only", "full"]


def train(
    size: tuple[int, int], batch: int, variant: Variant, rounds: int, device: str, out: Path, encoder: str = "resnet18"
) -> str:
    """Let the training steps take turns, and record their medians.

    The reference (benchmarks/reference/training.py) has the same networks, in eager float32. Both take the same rendered
    triplets, read and augmented beforehand: neither side's loader is in the step. Where the device computes in bfloat16,
    that and channels last have their turns, too, and on a GPU Triton's kernels. The roofline's ceiling is float32's, so it
    says nothing of steps in bfloat16, and the work of kernels of our own is not counted.

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
    ways = WAYS | (IN_BFLOAT16 if computes_bfloat16(place) else {}) | (ON_A_GPU if place.type == "cuda" else {})
    able = {"auto", *(["triton"] if importlib.util.find_spec("triton") else [])}
    ways = {name: way for name, way in ways.items() if way.kernels in able and (variant == "full" or not way.full)}
    names = [REFERENCE, *ways]
    ceilings = measure_ceilings(place)
    with ExitStack() as stack:
        rivals = {
            name: stack.enter_context(
                Apart(prepare, name, encoder, pickle.dumps(frames), str(place), plain=name == REFERENCE, device=place)
            )
            for name in names
        }
        for _ in range(2):
            for rival in rivals.values():
                rival.turn("step")
        memory = {name: rival.peak_gb() for name, rival in rivals.items()}
        runs = {name: partial(rival.turn, "step") for name, rival in rivals.items()}
        runs |= {f"{name}: losses": partial(rival.turn, "losses") for name, rival in rivals.items()}
        ranked = [name for name, way in ways.items() if way.full]
        runs |= {f"{name}: ranking": partial(rivals[name].turn, "ranking") for name in ranked}
        turns = take_turns(runs, rounds, clock=lambda run, _: run())
        work = {name: rival.work("step", ceilings) for name, rival in rivals.items()}
    key = "train_gpu" if place.type == "cuda" else "train_cpu"
    for recorded, ours in ((key, OURS), (f"{key}_bf16", LEAN)):
        if ours not in work:
            continue
        written = record(
            recorded,
            batch / turns.median(ours),
            batch / turns.median(REFERENCE),
            "images/s",
            out=out,
            way=ours,
            ratio_of_rounds=turns.ratio(REFERENCE, ours),
            memory_ratio=round(memory[ours] / memory[REFERENCE], 2),
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
    found: dict[str, Any] = {
        "seconds": turns.rows(),
        "losses_share": {name: round(share(turns, name, "losses"), 3) for name in work},
        "ranking_share": {
            name: round(share(turns, name, "ranking"), 3) for name in work if f"{name}: ranking" in turns.wall
        },
        "peak_gb": {name: round(value, 2) for name, value in memory.items()},
        "roofline_share": {name: round(done.bound / turns.median(name), 3) for name, done in work.items()},
        "gflop": {name: round(done.flops / 1e9, 1) for name, done in work.items()},
        "gb_moved": {name: round(done.moved / 1e9, 2) for name, done in work.items()},
    }
    if FULL in work:
        found["full_method_cost"] = turns.ratio(FULL, OURS)
    return found


def share(turns: Turns, name: str, part: str) -> float:
    """Return which share of a step's processor time one part of it takes by itself."""
    return turns.processor_median(f"{name}: {part}") / turns.processor_median(name)


def table(turns: Turns, work: dict[str, Work], memory: dict[str, float], batch: int) -> str:
    """Return the medians as Markdown."""
    lines = [
        "| step | images/s | spread | × reference | processor s a step | losses | ranking | peak GB | roofline |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, done in work.items():
        wall = turns.wall[name]
        spread = f"{batch / max(wall):.2f} – {batch / min(wall):.2f}"
        ranking = f"{share(turns, name, 'ranking'):.1%}" if f"{name}: ranking" in turns.wall else "–"
        lines.append(
            f"| {name} | {batch / turns.median(name):.2f} | {spread} | {turns.ratio(REFERENCE, name)['wall']:.2f} | "
            f"{turns.processor_median(name):.2f} | {share(turns, name, 'losses'):.0%} | "
            f"{ranking} | {memory[name]:.2f} | "
            f"{done.bound / turns.median(name):.0%} |"
        )
    return "\n".join(lines)
