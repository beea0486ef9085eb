"""The state of a run on disk: written whole or not at all, the newest two kept, never code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from semdepth.runtime import InputError, logger, why_not_written

KEPT = 2
"""So many of the newest checkpoints stay on disk."""
CONTENT = {"step", "learner", "optimiser", "precision", "best", "watch"}
"""What a checkpoint holds."""
VERSION = 1
"""Of the form of a checkpoint; those without a number have this one."""
_NAME = re.compile(r"step_(\d{8})\.ckpt")


def require_finite(learner: torch.nn.Module, run: Path, step: int) -> None:
    """Refuse to save networks that hold a NaN or an infinity.

    Raises:
        InputError: naming the tensor, and how to go on.
    """
    for name, value in learner.state_dict().items():
        if not torch.isfinite(value).all():
            raise InputError(
                f"{run}: {name} is no longer finite at step {step}, nothing was saved; try optim.clip=1 or a lower "
                f"optim.learning_rate in a new run, from trainer.initial_weights={run / 'weights.safetensors'}"
            )


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` (tensors, numbers, strings, containers of them) as the checkpoint of ``step``.

    The file appears under its name only when it is complete and on the disk; then the oldest ones go.

    Raises:
        InputError: if the folder cannot be written (full disk, no permission).
    """
    path = folder / f"step_{step:08d}.ckpt"
    temporary = path.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            torch.save({"version": VERSION, "step": step, **state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        for old in checkpoints(folder)[:-KEPT]:
            old.unlink()
    except (OSError, RuntimeError) as error:
        if folder.is_dir():
            temporary.unlink(missing_ok=True)
        raise InputError(
            f"{path}: checkpoint cannot be written ({why_not_written(error)}); free the disk, run again to resume"
        ) from None
    return path


@contextmanager
def fitting(run: Path) -> Iterator[None]:
    """While a run's checkpoint is loaded into what its options have built.

    Raises:
        InputError: if the two do not fit.
    """
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{run}: its checkpoints hold other networks than these options make; give the options that it was started "
            "with, or another --run"
        ) from None


def clear_leftovers(run: Path) -> None:
    """Remove the half-written files that a killed process left in a run's folder; none of them is ever read."""
    for folder in (run, run / "checkpoints"):
        for leftover in (*folder.glob("*.tmp"), *folder.glob(".*.tmp")):
            with suppress(OSError):
                leftover.unlink()


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step_*.ckpt") if _NAME.fullmatch(path.name))


def newest_step(folder: Path) -> int:
    """Return the step of the newest checkpoint in ``folder``; -1 where there is none."""
    return max((int(path.stem.removeprefix("step_")) for path in checkpoints(folder)), default=-1)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint in ``folder`` that loads, None where there is none.

    Only tensors and plain containers are read (``weights_only``): a checkpoint never executes code. A damaged file is
    passed over, loudly, for the one before it.

    Raises:
        InputError: if there are checkpoints and none of them loads, or they are of another form.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            logger.warning("%s: damaged checkpoint passed over (%s)", path, type(error).__name__)
            continue
        if isinstance(state, dict) and state.get("version", VERSION) != VERSION:
            raise InputError(f"{path}: is of another version of semdepth, most likely a newer one; go on with that one")
        if isinstance(state, dict) and state.keys() >= CONTENT:
            return state
        logger.warning("%s: not a semdepth checkpoint, passed over", path)
    if found:
        raise InputError(
            f"{folder}: none of its {len(found)} checkpoints can be read; delete the folder to start afresh"
        )
    return None
