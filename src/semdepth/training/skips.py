"""A batch whose loss or gradient is not finite teaches nothing: it is left out and counted; three in a row end the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from semdepth.runtime import InputError, logger
from semdepth.structures import FrameBatch
from semdepth.training.objective import Objective

LIMIT = 3
"""So many batches in a row are no accident."""


@dataclass
class Skips:
    """How many batches were left out, in all and in a row up to now."""

    count: int = 0
    in_a_row: int = 0

    def note(self, sound: bool) -> None:
        """Count one batch."""
        self.count += not sound
        self.in_a_row = 0 if sound else self.in_a_row + 1

    def report(self, run: Path, step: int, batch: FrameBatch, objective: Objective, rank: int) -> None:
        """Warn of the batch that was left out last; end the run if it was the third in a row.

        Args:
            run: the run's folder, which then receives this process's part of the batch.
            step: of the batch.
            batch: as the networks met it.
            objective: what it gave.
            rank: number of this process.

        Raises:
            InputError: after ``LIMIT`` in a row.
        """
        wrong, names = what_is_wrong(objective), ", ".join(batch.names[:2])
        logger.warning("Step %d: batch left out, %s (%d so far): %s", step, wrong, self.count, names)
        if self.in_a_row >= LIMIT:
            path = run / "bad_batches" / f"step_{step:08d}_process_{rank}.safetensors"
            save_batch(path, batch, objective, step)
            raise InputError(
                f"{LIMIT} batches in a row, the last at step {step}, gave no finite loss and gradient ({wrong}): look at "
                f"{path}; check the intrinsics of {names}, or try a lower optim.learning_rate, optim.clip=1 or "
                f"trainer.precision=32-true in a new run, from trainer.initial_weights={run / 'weights.safetensors'}"
            )

    def state(self) -> dict[str, int]:
        """Return what a checkpoint keeps."""
        return {"count": self.count, "in_a_row": self.in_a_row}


def is_sound(objective: Objective, module: nn.Module, precision: str) -> bool:
    """Return whether the loss and the gradients of a batch are finite.

    In half precision, gradients overflow now and then, and the gradient scaler itself passes over such a step.
    """
    finite = torch.isfinite(objective.loss.detach())
    if precision != "16-mixed":
        finite = finite & gradients_finite(module)
    return bool(finite)  # waits for the device, once


def gradients_finite(module: nn.Module) -> Tensor:
    """Return whether every gradient of a module is finite, a bool scalar on its device.

    A sum is as telling as a look at every value, and far cheaper: one NaN makes it NaN, one infinity infinite or NaN.
    """
    sums = [p.grad.detach().sum(dtype=torch.float32) for p in module.parameters() if p.grad is not None]
    return torch.stack(sums).isfinite().all() if sums else torch.tensor(True)


class Buffers:
    """The buffers of a module (running statistics) as they were, to be put back after a batch that is left out."""

    def __init__(self, module: nn.Module) -> None:
        """Copy them."""
        self._live = list(module.buffers())
        self._kept = [buffer.clone() for buffer in self._live]

    def restore(self) -> None:
        """Put them back."""
        with torch.no_grad():
            for live, kept in zip(self._live, self._kept, strict=True):
                live.copy_(kept)


def what_is_wrong(objective: Objective) -> str:
    """Return which part of an objective is not finite, in a few words."""
    bad = [name for name, value in objective.terms.items() if not torch.isfinite(value)]
    if bad:
        return f"{', '.join(bad)} not finite"
    return "gradient not finite" if torch.isfinite(objective.loss) else "loss not finite"


def save_batch(path: Path, batch: FrameBatch, objective: Objective, step: int) -> Path:
    """Write a batch as the networks and the objective met it, for inspection with ``safetensors.torch.load_file``.

    Args:
        path: a ``.safetensors`` file.
        batch: its tensors are written under the names of ``FrameBatch``.
        objective: its disparity and motion are written too.
        step: of the batch; with the frames' names and the terms in the file's metadata.

    Raises:
        InputError: if it cannot be written.
    """
    tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    tensors |= {"sigma": objective.disparity, "estimated_source_from_target": objective.source_from_target}
    about = {"step": str(step), "names": "\n".join(batch.names)}
    about |= {f"term {name}": repr(float(value)) for name, value in objective.terms.items()}
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, temporary, about
        )
        temporary.replace(path)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: the batch cannot be written for inspection ({reason}); free the disk") from None
    return path
