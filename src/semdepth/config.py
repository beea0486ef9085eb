"""The whole experiment, composed; a recipe (YAML) parses into it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from semdepth.data.catalog import DataConfig
from semdepth.data.transforms import AugmentConfig
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig
from semdepth.training.trainer_config import TrainerConfig


@dataclass(frozen=True)
class Experiment:
    """A training run: which video, which networks, what is minimised, how."""

    run: Path = Path("runs/default")
    """The run's folder: resolved config, checkpoints, weights, curves, panels. A run that is there is resumed."""
    data: DataConfig = field(default_factory=DataConfig)
    """What is learnt from."""
    validation: DataConfig | None = None
    """What the network is judged on while it trains (needs ground truth); None: not judged."""
    allow_leak: bool = False
    """Train although drives are both learnt from and judged on; the numbers then tell less than they seem to."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What the networks see of a frame."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The networks."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """What is minimised."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser and its schedule."""
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    """The loop."""

    def __post_init__(self) -> None:
        if self.data.name == "make3d":
            raise InputError("data.name make3d: holds single images, to judge on only; learn from another dataset")
