"""``semdepth train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from semdepth.apps.evaluate import judged_data
from semdepth.apps.recipes import refuse_other_run, save_experiment
from semdepth.config import Experiment
from semdepth.data.catalog import WITHOUT_DEPTH, Frames, open_dataset
from semdepth.data.leaks import refuse_leak, refuse_same_frames
from semdepth.inference.box import boxed
from semdepth.runtime import logger
from semdepth.training.held_out import HeldOutViews
from semdepth.training.trainer import Trainer, Validate
from semdepth.training.validation import Validation, protocol_for

_T = TypeVar("_T", bound=Trainer)


def train(experiment: Experiment) -> None:
    """Learn depth and ego-motion from video without depth labels.

    Give a recipe, and change what you like by options. The run's folder keeps the resolved options, checkpoints, weights,
    curves and panels; the same command resumes a run that was interrupted. The frames that --validation.* describes, if
    any, are only ever judged on: by ground truth, sharing no drive with the training frames, unless --allow_leak true; or,
    of a video that has none (folder, kitti_odometry), by how much of them view synthesis explains. Such frames must not
    be learnt from, but may be the end of the same video; which weights are the best they do not tell well enough.

    Examples:
        semdepth train --config recipes/demo.yaml                                           # make demo's world
        semdepth train --config recipes/kitti_r18.yaml --data.root DIR                      # KITTI raw
        semdepth train --config recipes/kitti_r18.yaml --data.root DIR --trainer.devices 4  # on four GPUs
        semdepth train --config recipes/demo.yaml --trainer.overfit true --run runs/try     # the loss must fall
    """
    import lightning_fabric  # noqa: F401 - not above, where --help would wait for it; here, so that its absence is said at once

    dataset = open_dataset(experiment.data)
    judged = open_judged(experiment, dataset)
    refuse_other_run(experiment)
    trainer = build_trainer(experiment, dataset, judged, Trainer)
    if trainer.fabric.is_global_zero:
        save_experiment(experiment)  # only now: a run that is refused leaves nothing behind
    logger.info("%d frames, %d steps on %s", len(dataset), trainer.steps, trainer.fabric.device)
    weights = trainer.fit()
    if not trainer.fabric.is_global_zero:
        return
    Console().print(
        f"Weights: {weights}\nCurves, panels, checkpoints: {experiment.run}", highlight=False, soft_wrap=True
    )


def open_judged(experiment: Experiment, learnt: Frames) -> Frames | None:
    """Return the frames that a run is judged on while it trains, if any.

    Raises:
        InputError: if they cannot be used, or are learnt from.
    """
    chosen = experiment.validation
    if chosen is None:
        return None
    height, width = experiment.data.height, experiment.data.width
    if chosen.name in WITHOUT_DEPTH:
        judged = open_dataset(replace(chosen, height=height, width=width, labels="none"))
        judged[0]  # what cannot be read is found out now, not after hundreds of steps
        if not experiment.allow_leak:
            refuse_same_frames(learnt, judged, "validation")
        return judged
    judged = open_dataset(judged_data(experiment, None, (height, width)))
    judged.ground_truth(0)
    if not experiment.allow_leak:
        refuse_leak(learnt, judged, "validation")
    return judged


def build_trainer(experiment: Experiment, dataset: Frames, judged: Frames | None, kind: type[_T]) -> _T:
    """Return the trainer of an experiment, ready to start or to go on.

    Args:
        experiment: what to do.
        dataset: what ``experiment.data`` opens.
        judged: what ``experiment.validation`` opens, if anything.
        kind: the class.

    Raises:
        InputError: on contradictions, too little data, unusable checkpoints or weights.
    """
    validate: Validate | None = None
    if judged is not None:
        assert experiment.validation is not None
        if experiment.validation.name in WITHOUT_DEPTH:
            validate = HeldOutViews(judged)
        else:
            validate = Validation(judged, protocol_for(judged, experiment.validation))
    trainer = experiment.trainer
    if trainer.initial_weights is not None:
        trainer = replace(trainer, initial_weights=Path(boxed(trainer.initial_weights)))
    return kind(
        experiment.run,
        dataset,
        network=experiment.network,
        objective=experiment.objective,
        optim=experiment.optim,
        augment=experiment.augment,
        trainer=trainer,
        validate=validate,
        image_size=(experiment.data.height, experiment.data.width),
    )
