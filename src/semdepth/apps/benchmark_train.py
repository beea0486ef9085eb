"""``semdepth benchmark train``: a training step of ours beside one of the field's usual research code."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from semdepth.apps.benchmark_record import record
from semdepth.apps.benchmark_roofline import Work, count_work, measure_ceilings
from semdepth.apps.benchmark_turns import Turns, open_reference, peak_memory, take_turns
from semdepth.data.synthetic_frames import SyntheticConfig, SyntheticFrames
from semdepth.data.transforms import to_unit_range
from semdepth.models.decoder import convolve_plainly
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError, choose_device
from semdepth.structures import FrameBatch, NetworkOutput, stack_frames
from semdepth.training.objective import Learner, sum_over_scales
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig, build_optimiser
from semdepth.training.skips import Buffers, is_sound
from semdepth.training.view_synthesis import view_synthesis

REFERENCE, OURS, FULL = "reference", "ours", "ours, full method"
Variant = Literal["depth-only", "full"]


@dataclass(frozen=True)
class Contestant:
    """One way to train."""

    step: Callable[[], object]
    """Forward, backward, optimiser."""
    losses: Callable[[], object]
    """The losses alone, forward and backward to the networks' outputs."""


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
    memory = {name: _memory_of(name, encoder, frames, place) for name in names}
    rivals = {name: build(name, encoder, frames, place) for name in names}
    runs = {name: rival.step for name, rival in rivals.items()}
    runs |= {f"{name}: losses": rival.losses for name, rival in rivals.items()}
    turns = take_turns(runs, rounds, device=place)
    ceilings = measure_ceilings(place)
    work = {name: count_work(rival.step, ceilings) for name, rival in rivals.items()}
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


def build(name: str, encoder: str, frames: FrameBatch, place: torch.device) -> Contestant:
    """Build one of ``REFERENCE``, ``OURS``, ``FULL`` from one seed."""
    full = name == FULL
    network = NetworkConfig(encoder=encoder, pose_encoder=encoder, fusion="ssfa" if full else "depth-only")
    torch.manual_seed(0)
    learner = Learner(network, ObjectiveConfig(ranking=0.1 if full else 0.0)).to(place).train()
    frames = frames.to(place)
    with torch.no_grad():
        output, motion = learner.depth(frames.target), learner.motion(frames)
    if name == REFERENCE:
        return _reference(learner, frames, output.disparity, motion)
    return _ours(learner, frames, output, motion)


def _reference(learner: Learner, frames: FrameBatch, sigmas: tuple[Tensor, ...], motion: Tensor) -> Contestant:
    code = open_reference("training")
    convolve_plainly(learner)
    optimiser = torch.optim.Adam(learner.parameters(), lr=1e-4)
    sources = list(frames.sources.unbind(1))

    def step() -> None:
        loss = code.training_loss(
            lambda images: learner.depth(images).disparity,
            learner.pose,
            frames.target,
            sources,
            frames.offsets,
            frames.intrinsics,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def losses() -> None:
        motions = list(_leaf(motion).unbind(1))
        leaves = [_leaf(sigma) for sigma in sigmas]
        code.synthesis_loss(leaves, motions, frames.target, sources, frames.intrinsics).backward()

    return Contestant(step, losses)


def _ours(learner: Learner, frames: FrameBatch, output: NetworkOutput, motion: Tensor) -> Contestant:
    """Do what ``Trainer.train_step`` does, without Fabric and the schedule."""
    optimiser = build_optimiser(learner.depth, learner.pose, OptimConfig())
    generator = torch.Generator().manual_seed(0)
    steps = count()  # the tasks' balance is measured at every tenth

    def step() -> None:
        buffers = Buffers(learner)
        objective = learner(frames, next(steps), generator)
        objective.loss.backward()
        if is_sound(objective, learner, "32-true"):
            optimiser.step()
        else:
            buffers.restore()
        optimiser.zero_grad()

    def losses() -> None:
        logits = None if output.logits is None else tuple(_leaf(scale) for scale in output.logits)
        leaves = NetworkOutput(tuple(_leaf(sigma) for sigma in output.disparity), logits)
        views = view_synthesis(frames, leaves.disparity, _leaf(motion), learner.config, learner.depth_range)
        loss = views.photometric + learner.config.smoothness * views.smooth
        if logits is not None:
            loss = loss + learner.config.segmentation * sum_over_scales(logits, frames)
            loss = loss + learner.config.ranking * learner.ranking(frames, leaves, generator)
        loss.backward()

    return Contestant(step, losses)


def rendered_batch(size: tuple[int, int], batch: int) -> FrameBatch:
    """Return consecutive triplets of a rendered street with noisy labels."""
    frames = SyntheticFrames(SyntheticConfig(drives=1, frames=batch + 2), *size, labels="noisy")
    return to_unit_range(stack_frames([frames[i] for i in range(batch)]))


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


def _memory_of(name: str, encoder: str, frames: FrameBatch, place: torch.device) -> float:
    """Return the peak memory of two steps in a process of their own, GB: resident on a CPU, allocated on a GPU."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_steps, name, encoder, pickle.dumps(frames), str(place), torch.get_num_threads()).result()


def _steps(name: str, encoder: str, pickled: bytes, place: str, threads: int) -> float:
    torch.set_num_threads(threads)
    rival = build(name, encoder, pickle.loads(pickled), torch.device(place))
    for _ in range(2):
        rival.step()
    return torch.cuda.max_memory_allocated() / 1e9 if place.startswith("cuda") else peak_memory()


def _leaf(values: Tensor) -> Tensor:
    return values.detach().clone().requires_grad_()
