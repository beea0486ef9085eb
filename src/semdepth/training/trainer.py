"""The loop: batch, objective, gradient, step; everything around it is one call each. On Lightning Fabric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from semdepth.data.transforms import AugmentConfig, augment, to_unit_range
from semdepth.losses.kernels import check_kernels
from semdepth.models.network import NetworkConfig
from semdepth.models.weights import save_weights
from semdepth.processes import Share
from semdepth.runtime import InputError, logger, seed_everything
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.checkpoint import (
    clear_leftovers,
    fitting,
    load_checkpoint,
    newest_step,
    require_finite,
    save_checkpoint,
)
from semdepth.training.interrupt import Interrupt
from semdepth.training.loading import read_batches
from semdepth.training.objective import Learner, Objective
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig, build_optimiser, follow_layout, set_learning_rates
from semdepth.training.progress import TrainingProgress
from semdepth.training.recorder import Recorder, training_panel
from semdepth.training.run_lock import only_one
from semdepth.training.sampling import StepSampler, step_generator
from semdepth.training.setup import build_fabric, check_data, check_views, start_from
from semdepth.training.skips import Buffers, Skips, is_sound
from semdepth.training.sync_norm import synchronise_norms
from semdepth.training.trainer_config import TrainerConfig
from semdepth.training.watch import CollapseWatch

Validate = Callable[[Learner], dict[str, float]]
"""Judges a learner in eval mode; the weights of the least ``abs_rel``, where it is among the numbers, are kept as the best."""


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
            validate: judges the networks from time to time.
            image_size: (H, W) of the training images, written beside the weights for prediction.

        Raises:
            InputError: on contradictions, too little data, unusable checkpoints or weights.
        """
        self.run, self.dataset, self.network, self.optim = run, dataset, network, optim
        self.augment, self.config, self.validate, self.image_size = augment, trainer, validate, image_size
        self.fabric = build_fabric(trainer)
        self.fabric.launch()
        seed_everything(trainer.seed)
        self.newest = newest_step(run / "checkpoints")  # which may be damaged, and the one before it loaded
        state = load_checkpoint(run / "checkpoints")
        # What a run started from is in its checkpoint: resuming needs neither the hub nor the first weights.
        self.share = Share(self.fabric.global_rank, self.fabric.world_size)
        learner = Learner(network if state is None else replace(network, pretrained=False), objective, self.share)
        if trainer.channels_last:
            learner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        sample = dataset[0]
        check_data(sample, learner)
        check_views(augment, learner)
        check_kernels(objective.kernels, self.fabric.device)
        self.intrinsics = sample.intrinsics[0]
        if state is None and trainer.initial_weights is not None:
            start_from(trainer.initial_weights, learner)
        self.step = 0 if state is None else int(state["step"])
        self.best = float("inf") if state is None else float(state["best"])
        if state is not None:
            with fitting(run):
                learner.load_state_dict(state["learner"])
        if self.share.world > 1 and trainer.sync_batch_norm:
            synchronise_norms(learner, self.fabric.device)
        self.learner, self.optimiser = self.fabric.setup(
            learner, build_optimiser(learner.depth, learner.pose, optim, learner.balance)
        )
        if state is not None:
            with fitting(run):
                self.optimiser.load_state_dict(state["optimiser"])
                follow_layout(self.optimiser)
                self._precision().load_state_dict(state["precision"])
            logger.info("Resuming at step %d of %s", self.step, run)
        self.depth_range = (network.min_depth, network.max_depth)
        self.watch = CollapseWatch(self.depth_range)
        self.skips = Skips(**({} if state is None else state.get("skips", {})))
        if state is not None:
            self.watch.load_state(state["watch"])
        self.sampler = StepSampler(
            len(dataset),  # type: ignore[arg-type]
            trainer.batch,
            steps=0,
            start=self.step,
            seed=trainer.seed,
            rank=self.share.rank,
            world=self.share.world,
        )
        self.steps = self.sampler.steps = trainer.steps or trainer.epochs * self.sampler.steps_per_epoch

    def fit(self) -> Path:
        """Train to the end of the schedule; return the path of the weights.

        An interrupt (Ctrl-C, or SIGTERM) ends the step it falls into, then leaves a checkpoint: the same command goes on from
        there, as if nothing had happened.

        Raises:
            KeyboardInterrupt: after an interrupt.
            InputError: if a file cannot be used, three batches in a row teach nothing, another process trains in the run's
                folder, or it cannot be written.
        """
        with ExitStack() as held:
            self._together(lambda: self._hold(held), "cannot train here")
            self._fit()
        return self.run / "weights.safetensors"

    def _hold(self, held: ExitStack) -> None:
        held.enter_context(only_one(self.run))
        if (newest := newest_step(self.run / "checkpoints")) > self.newest:
            raise InputError(
                f"{self.run}: another process has just trained it to step {newest}; run the same command again"
            )

    def _together(self, act: Callable[[], None], failed: str) -> None:
        """Let the first process do something; where it cannot, all processes stop."""
        problem: InputError | None = None
        if self.fabric.is_global_zero:
            try:
                act()
            except InputError as error:
                problem = error
        if not self.share.agree(problem is None, self.fabric.device):
            raise problem or InputError(f"{self.run}: the first process {failed}; see its message")

    def _fit(self) -> None:
        recorder = self._recorder()
        try:
            with (
                TrainingProgress(self.steps, self.step, shown=recorder is not None) as progress,
                Interrupt() as interrupt,
            ):
                for batch in self.batches():
                    objective = self.train_step(batch)
                    self.step += 1
                    if self.skips.in_a_row:
                        self.skips.report(self.run, self.step, batch, objective, self.share.rank)
                    progress.advance(len(batch) * self.fabric.world_size)
                    self.after_step(batch, objective, recorder, progress)
                    if self.stops(interrupt.requested) and self.step < self.steps:
                        self.save()
                        raise KeyboardInterrupt
            self.save()
            if self.skips.count:
                logger.warning("%d of %d batches were left out: not finite", self.skips.count, self.steps)
        finally:
            if recorder is not None:
                recorder.close()

    def stops(self, requested: bool) -> bool:
        """Return whether to stop after this step; all processes agree."""
        return not self.share.agree(not requested, self.fabric.device)

    def train_step(self, batch: FrameBatch) -> Objective:
        """Take one step down the objective; none where loss or gradient is not finite (all processes agree)."""
        set_learning_rates(self.optimiser, self.optim, self.step, self.steps)
        generator = step_generator(self.config.seed, self.step)
        # Dropout and stochastic depth of some backbones draw from the global state, other numbers in every process.
        torch.manual_seed(step_generator(self.config.seed, self.step, self.share.rank).initial_seed())
        logged = (self.step + 1) % self.config.log_every == 0 or self.step + 1 == self.steps
        buffers = Buffers(self._bare())
        objective: Objective = self.learner(batch, self.step, generator, measure=logged)
        self.fabric.backward(objective.loss)
        sound = self.share.agree(is_sound(objective, self.learner, self.config.precision), self.fabric.device)
        self.skips.note(sound)
        if sound:
            if self.optim.clip:
                self.fabric.clip_gradients(self.learner, self.optimiser, max_norm=self.optim.clip)
            self.optimiser.step()
        else:
            buffers.restore()
        self.optimiser.zero_grad()
        return objective

    def batches(self) -> Iterator[FrameBatch]:
        """Yield the augmented batches of the steps that are left, on the device."""
        if self.config.overfit:
            self.sampler.start = 0
            first = [self.dataset[i] for i in next(iter(self.sampler))]
            batch = to_unit_range(stack_frames(first).to(self.fabric.device))
            while self.step < self.steps:
                yield batch
            return
        self.sampler.start = self.step
        pinned = self.fabric.device.type == "cuda"
        for read in read_batches(self.dataset, self.sampler, self.config.workers, pinned=pinned):
            # The generator of augmentation must not be that of the point pairs: both draw from the step.
            generator = step_generator(self.config.seed + 1, self.step)
            batch = to_unit_range(read.to(self.fabric.device, non_blocking=True))
            yield augment(batch, generator, self.augment, self.share)

    def after_step(
        self, batch: FrameBatch, objective: Objective, recorder: Recorder | None, progress: TrainingProgress
    ) -> None:
        """Log, watch, draw, judge and save, each when it is due."""
        last, sound = self.step == self.steps, self.skips.in_a_row == 0
        logged = self.step % self.config.log_every == 0 or last
        if logged and recorder is not None:
            recorder.scalars(self.step, {"train/skipped": self.skips.count})
        if logged and sound:
            for warning in self.watch.observe(batch, objective):
                logger.warning("Step %d: %s", self.step, warning)
            loss = float(objective.loss.detach())
            progress.loss(loss)
            if recorder is not None:
                terms = {f"train/{name}": float(value) for name, value in objective.terms.items()}
                terms |= {f"balance/{name}": float(value) for name, value in objective.balance.items()}
                speed = {"train/loss": loss, "train/images_per_second": progress.images_per_second}
                if self._bare().pose.focal is not None:
                    terms["train/focal_px"] = float(self.camera()[0, 0])
                recorder.scalars(self.step, terms | speed | {"train/kept": float(objective.kept.float().mean())})
        if recorder is not None and sound and (self.step % self.config.panel_every == 0 or last):
            recorder.panel(self.step, training_panel(batch, objective, self.depth_range))
        if self.validate is not None and (self.step % self.config.validate_every == 0 or last):
            try:
                self._together(lambda: self._judge(recorder), "could not judge it")
            except InputError:
                self.save()  # what was learnt is not lost with the verdict
                raise
        if self.step % self.config.checkpoint_every == 0 and not last:
            self.save()

    def save(self) -> None:
        """Write the checkpoint and the weights (first process only; where it fails, all processes stop)."""
        require_finite(self._bare(), self.run, self.step)
        self._together(self._write_state, "could not write its checkpoint")

    def _write_state(self) -> None:
        state = {
            "learner": self._bare().state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "precision": self._precision().state_dict(),
            "best": self.best,
            "watch": self.watch.state(),
            "skips": self.skips.state(),
        }
        save_checkpoint(self.run / "checkpoints", self.step, state)
        self.newest = max(self.newest, self.step)
        self._save_weights("weights.safetensors")

    def _recorder(self) -> Recorder | None:
        if not self.fabric.is_global_zero:
            return None
        clear_leftovers(self.run)
        return Recorder(self.run, self.step)

    def _judge(self, recorder: Recorder | None) -> None:
        if recorder is None or self.validate is None:
            return
        learner = self._bare()
        learner.eval()
        numbers = self.validate(learner)
        learner.train()
        recorder.scalars(self.step, {f"validation/{name}": value for name, value in numbers.items()})
        logger.info("Step %d: %s", self.step, "  ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
        if (error := numbers.get("abs_rel", math.inf)) < self.best:
            self.best = error
            self._save_weights("best.safetensors")

    def _save_weights(self, name: str) -> None:
        learner = self._bare()
        extra: dict[str, Any] = {"step": self.step, "image_size": self.image_size}
        extra["intrinsics"] = self.camera().tolist()
        save_weights(self.run / name, learner.depth, learner.pose, extra)

    def camera(self) -> Tensor:
        """Return the (3, 3) intrinsics of the first frame at the training size: given, or as learnt so far."""
        focal = self._bare().pose.focal
        return self.intrinsics if focal is None else focal(self.intrinsics.to(focal.raw.device)).detach().cpu()

    def _bare(self) -> Learner:
        learner: Learner = self.learner.module
        return learner

    def _precision(self) -> Any:
        return self.fabric.strategy.precision
