"""The loop: batch, objective, gradient, step; everything around it is one call each. On Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from semdepth.data.transforms import AugmentConfig, augment, to_unit_range
from semdepth.models.network import DepthNetwork, NetworkConfig
from semdepth.models.weights import load_depth_network, load_pose_network, save_weights
from semdepth.runtime import InputError, logger, seed_everything
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.checkpoint import load_checkpoint, save_checkpoint
from semdepth.training.objective import Learner, Objective, ObjectiveConfig
from semdepth.training.optim import OptimConfig, build_optimiser, set_learning_rates
from semdepth.training.progress import TrainingProgress
from semdepth.training.recorder import Recorder, training_panel
from semdepth.training.sampling import StepSampler, step_generator
from semdepth.training.watch import CollapseWatch

Validate = Callable[[DepthNetwork], dict[str, float]]
"""Judges a depth network (in eval mode); ``abs_rel`` among its numbers decides which weights are the best."""


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
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    devices: int = 1
    """Processes (one device each) on every node, joined by DDP."""
    nodes: int = 1
    """Machines, started by torchrun or SLURM."""
    overfit: bool = False
    """Learn the first batch again and again, without augmentation: the loss must fall, or something is broken."""
    initial_weights: Path | None = None
    """Weights to start from (a .safetensors of the same networks); None: from scratch or ``network.pretrained``."""
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
        if self.workers < 0:
            raise InputError("trainer.workers: must not be negative")


class Trainer:
    """One training run in one folder. ``fit`` starts it, or takes it up where it was left."""

    def __init__(
        self,
        run: Path,
        dataset: Dataset[FrameBatch],
        *,
        network: NetworkConfig,
        objective: ObjectiveConfig,
        optim: OptimConfig,
        augment: AugmentConfig,
        trainer: TrainerConfig,
        validate: Validate | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        """Build networks and optimiser, and load the newest checkpoint of ``run`` where there is one.

        Args:
            run: the folder that receives all that the run writes.
            dataset: items are batches of one frame (uint8), see ``FrameBatch``.
            network, objective, optim, augment, trainer: the experiment.
            validate: judges the depth network from time to time.
            image_size: (H, W) of the training images, written beside the weights for prediction.

        Raises:
            InputError: on contradictions, too little data, unusable checkpoints or weights.
        """
        self.run, self.dataset, self.network, self.optim = run, dataset, network, optim
        self.augment, self.config, self.validate, self.image_size = augment, trainer, validate, image_size
        self.fabric = _fabric(trainer)
        self.fabric.launch()
        seed_everything(trainer.seed)
        learner = Learner(network, objective)
        if trainer.initial_weights is not None:
            start_from(trainer.initial_weights, learner)
        state = load_checkpoint(run / "checkpoints")
        self.step = 0 if state is None else int(state["step"])
        self.best = float("inf") if state is None else float(state["best"])
        if state is not None:
            learner.load_state_dict(state["learner"])
        self.learner, self.optimiser = self.fabric.setup(learner, build_optimiser(learner.depth, learner.pose, optim))
        if state is not None:
            self.optimiser.load_state_dict(state["optimiser"])
            self._precision().load_state_dict(state["precision"])
            logger.info("Resuming at step %d of %s", self.step, run)
        self.depth_range = (network.min_depth, network.max_depth)
        self.watch = CollapseWatch(self.depth_range)
        self.sampler = StepSampler(
            len(dataset),  # type: ignore[arg-type]
            trainer.batch,
            steps=0,
            start=self.step,
            seed=trainer.seed,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
        )
        self.steps = self.sampler.steps = trainer.steps or trainer.epochs * self.sampler.steps_per_epoch

    def fit(self) -> Path:
        """Train to the end of the schedule; return the path of the weights.

        An interrupt (Ctrl-C) leaves a checkpoint behind: the same command goes on from there.
        """
        recorder = Recorder(self.run, self.step) if self.fabric.is_global_zero else None
        with TrainingProgress(self.steps, self.step, shown=recorder is not None) as progress:
            try:
                for batch in self.batches():
                    objective = self.train_step(batch)
                    self.step += 1
                    progress.advance(len(batch) * self.fabric.world_size)
                    self.after_step(batch, objective, recorder, progress)
            except KeyboardInterrupt:
                self.save()
                raise
        self.save()
        if recorder is not None:
            recorder.close()
        return self.run / "weights.safetensors"

    def train_step(self, batch: FrameBatch) -> Objective:
        """Take one step down the objective."""
        set_learning_rates(self.optimiser, self.optim, self.step, self.steps)
        generator = step_generator(self.config.seed, self.step, self.fabric.global_rank)
        objective: Objective = self.learner(batch, self.step, generator)
        self.fabric.backward(objective.loss)
        if self.optim.clip:
            self.fabric.clip_gradients(self.learner, self.optimiser, max_norm=self.optim.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        return objective

    def batches(self) -> Iterator[FrameBatch]:
        """Yield the augmented batches of the steps that are left, on the device."""
        if self.config.overfit:
            first = [self.dataset[i] for i in next(iter(self._sampler_from(0)))]
            batch = to_unit_range(stack_frames(first).to(self.fabric.device))
            while self.step < self.steps:
                yield batch
            return
        loader = DataLoader(
            self.dataset,
            batch_sampler=self._sampler_from(self.step),
            num_workers=self.config.workers,
            collate_fn=stack_frames,
            pin_memory=self.fabric.device.type == "cuda",
            persistent_workers=self.config.workers > 0,
        )
        for batch in loader:
            # The generator of augmentation must not be that of the point pairs: both draw from the step.
            generator = step_generator(self.config.seed + 1, self.step, self.fabric.global_rank)
            yield augment(to_unit_range(batch.to(self.fabric.device, non_blocking=True)), generator, self.augment)

    def after_step(
        self, batch: FrameBatch, objective: Objective, recorder: Recorder | None, progress: TrainingProgress
    ) -> None:
        """Log, watch, draw, judge and save, each when it is due."""
        last = self.step == self.steps
        if self.step % self.config.log_every == 0 or last:
            for warning in self.watch.observe(batch, objective):
                logger.warning("Step %d: %s", self.step, warning)
            loss = float(objective.loss.detach())
            progress.loss(loss)
            if recorder is not None:
                terms = {f"train/{name}": float(value) for name, value in objective.terms.items()}
                speed = {"train/loss": loss, "train/images_per_second": progress.images_per_second}
                recorder.scalars(self.step, terms | speed | {"train/kept": float(objective.kept.float().mean())})
        if recorder is not None and (self.step % self.config.panel_every == 0 or last):
            recorder.panel(self.step, training_panel(batch, objective, self.depth_range))
        if self.validate is not None and (self.step % self.config.validate_every == 0 or last):
            self._judge(recorder)
        if self.step % self.config.checkpoint_every == 0 and not last:
            self.save()

    def save(self) -> None:
        """Write the checkpoint and the weights (first process only)."""
        if self.fabric.is_global_zero:
            state = {
                "learner": self._bare().state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "precision": self._precision().state_dict(),
                "best": self.best,
                "config": {"network": asdict(self.network)},
            }
            save_checkpoint(self.run / "checkpoints", self.step, state)
            self._save_weights("weights.safetensors")
        self.fabric.barrier()

    def _judge(self, recorder: Recorder | None) -> None:
        if recorder is None or self.validate is None:
            return
        learner = self._bare()
        learner.eval()
        numbers = self.validate(learner.depth)
        learner.train()
        recorder.scalars(self.step, {f"validation/{name}": value for name, value in numbers.items()})
        logger.info("Step %d: %s", self.step, "  ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
        if numbers["abs_rel"] < self.best:
            self.best = numbers["abs_rel"]
            self._save_weights("best.safetensors")

    def _save_weights(self, name: str) -> None:
        learner = self._bare()
        extra: dict[str, Any] = {"step": self.step, "image_size": self.image_size}
        save_weights(self.run / name, learner.depth, learner.pose, extra)

    def _bare(self) -> Learner:
        learner: Learner = self.learner.module
        return learner

    def _precision(self) -> Any:
        return self.fabric.strategy.precision

    def _sampler_from(self, step: int) -> StepSampler:
        self.sampler.start = step
        return self.sampler


def start_from(weights: Path, learner: Learner) -> None:
    """Fill both networks from a weight file of the same architecture.

    Raises:
        InputError: if the file cannot be used or holds other networks.
    """
    depth, _ = load_depth_network(weights)
    pose = load_pose_network(weights)
    try:
        learner.depth.load_state_dict(depth.state_dict())
        learner.pose.load_state_dict(pose.state_dict())
    except RuntimeError:
        raise InputError(
            f"{weights}: holds other networks than this experiment's; set network.* as in the run that wrote it"
        ) from None


def _fabric(config: TrainerConfig) -> Fabric:
    """Return Fabric for the wanted devices; refuse in one line what is not there."""
    processes = config.devices * config.nodes
    if config.devices > 1 and config.accelerator == "cuda" and torch.cuda.device_count() < config.devices:
        raise InputError(f"trainer.devices: {config.devices} asked for, {torch.cuda.device_count()} GPUs here")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if processes > 1 else "auto",
            precision=config.precision,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"trainer: cannot train like this here ({str(error).splitlines()[0]})") from None
