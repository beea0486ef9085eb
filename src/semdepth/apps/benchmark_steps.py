"""The contestants of ``semdepth benchmark train``: a training step of ours, and the reference's."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from semdepth.apps.benchmark_turns import open_reference
from semdepth.data.synthetic_frames import SyntheticConfig, SyntheticFrames
from semdepth.data.transforms import to_unit_range
from semdepth.labels import CLASSES, IGNORE
from semdepth.losses.kernels import Kernels
from semdepth.models.decoder import convolve_plainly
from semdepth.models.network import NetworkConfig
from semdepth.structures import FrameBatch, NetworkOutput, stack_frames
from semdepth.training.objective import Learner, sum_over_scales
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig, build_optimiser
from semdepth.training.skips import Buffers, is_sound
from semdepth.training.view_synthesis import view_synthesis

REFERENCE, OURS, FULL = "reference", "ours", "ours, full method"
LEAN = "ours, bf16, channels last"


@dataclass(frozen=True)
class Way:
    """How a step of ours is taken."""

    full: bool = False
    """The full method, not depth alone."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """As ``trainer.precision``."""
    kernels: Kernels = "auto"
    """As ``objective.kernels``."""
    channels_last: bool = False
    """As ``trainer.channels_last``."""


WAYS = {OURS: Way(), FULL: Way(full=True)}
IN_BFLOAT16 = {
    "ours, channels last": Way(channels_last=True),
    "ours, bf16": Way(precision="bf16-mixed"),
    LEAN: Way(precision="bf16-mixed", channels_last=True),
    "ours, full method, bf16, channels last": Way(full=True, precision="bf16-mixed", channels_last=True),
}
"""What is worth trying besides where the device computes in bfloat16."""
ON_A_GPU = {
    "ours, Triton": Way(kernels="triton"),
    "ours, bf16, Triton": Way(precision="bf16-mixed", kernels="triton"),
    "ours, bf16, Triton, channels last": Way(precision="bf16-mixed", kernels="triton", channels_last=True),
    "ours, full method, bf16, Triton": Way(full=True, precision="bf16-mixed", kernels="triton"),
}
"""What is worth trying on a GPU besides those; none was measured yet."""


@dataclass(frozen=True)
class Contestant:
    """One way to train."""

    step: Callable[[], object]
    """Forward, backward, optimiser."""
    losses: Callable[[], object]
    """The losses alone, forward and backward to the networks' outputs."""
    ranking: Callable[[], object] | None = None
    """Of those the ranking loss alone, where the method has it."""


def prepare(name: str, encoder: str, pickled: bytes, place: str) -> dict[str, Callable[[], object]]:
    """Return what a contestant does, in the process that it has to itself; ``pickled`` is a ``FrameBatch``."""
    rival = build(name, encoder, pickle.loads(pickled), torch.device(place))
    return {"step": rival.step, "losses": rival.losses} | ({"ranking": rival.ranking} if rival.ranking else {})


def build(name: str, encoder: str, frames: FrameBatch, place: torch.device) -> Contestant:
    """Build ``REFERENCE``, or one of ``WAYS``, ``IN_BFLOAT16`` and ``ON_A_GPU``, from one seed."""
    way = Way() if name == REFERENCE else (WAYS | IN_BFLOAT16 | ON_A_GPU)[name]
    network = NetworkConfig(encoder=encoder, pose_encoder=encoder, fusion="ssfa" if way.full else "depth-only")
    torch.manual_seed(0)
    objective = ObjectiveConfig(ranking=0.1 if way.full else 0.0, kernels=way.kernels)
    learner = Learner(network, objective).to(place).train()
    if way.channels_last:
        learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    frames = frames.to(place)
    with torch.no_grad():
        output, motion = learner.depth(frames.target), learner.motion(frames)
    if name == REFERENCE:
        return _reference(learner, frames, output.disparity, motion)
    return _ours(learner, frames, output, motion, way.precision)


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


def _ours(learner: Learner, frames: FrameBatch, output: NetworkOutput, motion: Tensor, precision: str) -> Contestant:
    """Do what ``Trainer.train_step`` does, without Fabric and the schedule."""
    optimiser = build_optimiser(learner.depth, learner.pose, OptimConfig())
    generator = torch.Generator().manual_seed(0)
    steps = count()  # the tasks' balance is measured at every tenth

    def step() -> None:
        buffers = Buffers(learner)
        with torch.autocast(frames.target.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            objective = learner(frames, next(steps), generator)
        objective.loss.backward()
        if is_sound(objective, learner, precision):
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

    agreeing = None if frames.labels is None else 5 * one_hot(frames.labels.long() % IGNORE, len(CLASSES)).movedim(3, 1)

    def ranking() -> None:
        """With logits as of a network that has learnt its labels: an untrained one contradicts nearly all pairs."""
        leaves = NetworkOutput(tuple(map(_leaf, output.disparity)), None if agreeing is None else (agreeing.float(),))
        learner.ranking(frames, leaves, generator).backward()

    return Contestant(step, losses, ranking if learner.config.ranking else None)


def rendered_batch(size: tuple[int, int], batch: int) -> FrameBatch:
    """Return consecutive triplets of a rendered street with noisy labels."""
    frames = SyntheticFrames(SyntheticConfig(drives=1, frames=batch + 2), *size, labels="noisy")
    return to_unit_range(stack_frames([frames[i] for i in range(batch)]))


def _leaf(values: Tensor) -> Tensor:
    return values.detach().clone().requires_grad_()
