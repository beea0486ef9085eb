"""How the training loop runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semdepth.runtime import InputError


@dataclass(frozen=True)
class TrainerConfig:
    """How the loop runs."""

    batch: int = 12
    """Frames a step, over all processes together."""
    epochs: int = 20
    """Passes over the data; ignored where ``steps`` is given."""
    steps: int | None = None
    """Steps of the whole schedule."""
    seed: int = 0
    """Decides initial weights, order of the frames, augmentation and point pairs."""
    workers: int = 2
    """Loader processes for each training process."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the networks; geometry and losses stay in float32."""
    channels_last: bool = False
    """Memory layout of the networks: a seventh to a quarter faster with AVX-512, elsewhere hardly; numbers differ by rounding."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    devices: int = 1
    """Processes (one device each) on every node, joined by DDP."""
    nodes: int = 1
    """Machines, started by torchrun or SLURM."""
    sync_batch_norm: bool = True
    """Several processes: normalise by the statistics of the global batch, so that they learn what one process would; false:
    each by its own share, which saves the exchange."""
    overfit: bool = False
    """Learn the first batch again and again, without augmentation: the loss must fall, or something is broken."""
    initial_weights: Path | None = None
    """Weights to start from (a .safetensors of the same networks, or ``rendered`` for those in the box, which are of
    recipes/rendered.yaml's networks); where they hold no pose network, it starts from scratch. None: all does, or
    ``network.pretrained``."""
    log_every: int = 10
    """Steps between rows of the curves, and between looks of the collapse watch."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    validate_every: int = 500
    """Steps between validations."""
    panel_every: int = 500
    """Steps between panels."""

    def __post_init__(self) -> None:
        for name in (
            "batch",
            "epochs",
            "devices",
            "nodes",
            "log_every",
            "checkpoint_every",
            "validate_every",
            "panel_every",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"trainer.{name}: must be at least 1")
        if self.steps is not None and self.steps < 1:
            raise InputError("trainer.steps: must be at least 1")
        if not 0 <= self.seed < 2**31:
            raise InputError("trainer.seed: must be from 0 to 2147483647")
        if self.workers < 0:
            raise InputError("trainer.workers: must not be negative")
