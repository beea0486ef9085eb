"""What a run needs before its first step: the devices, a start from other weights, a check of the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from semdepth.data.transforms import AugmentConfig
from semdepth.labels import NUM_CLASSES
from semdepth.models.pose_net import PoseNetwork
from semdepth.models.weights import load_depth_network, load_pose_network
from semdepth.runtime import InputError, logger
from semdepth.structures import FrameBatch
from semdepth.training.objective import Learner
from semdepth.training.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def check_data(sample: FrameBatch, learner: Learner) -> None:
    """Refuse data that the networks and the objective cannot work with, before anything is written.

    Args:
        sample: one item of the training data.
        learner: the networks and what they are taught.

    Raises:
        InputError: if the image size does not fit the encoder, there are no sources, or labels are wanted and missing.
    """
    height, width = sample.target.shape[-2:]
    multiple = learner.depth.size_multiple
    if height % multiple or width % multiple or min(height, width) < 2 * multiple:
        raise InputError(
            f"data.height {height}, data.width {width}: must be multiples of {multiple}, at least {2 * multiple}"
        )
    if not sample.offsets:
        raise InputError("data.offsets: training needs at least one source frame, e.g. [-1,1]")
    taught = learner.depth.config.fusion != "depth-only" or learner.config.ranking > 0
    if taught and sample.labels is None:
        raise InputError(
            "the data has no labels, but network.fusion or objective.ranking needs them: set data.labels, or "
            "network.fusion=depth-only and objective.ranking=0"
        )
    if learner.depth.config.fusion != "depth-only" and learner.depth.config.num_classes != NUM_CLASSES:
        raise InputError(
            f"network.num_classes {learner.depth.config.num_classes}: labels are Cityscapes' {NUM_CLASSES} trainIds; leave it out"
        )
    if learner.config.motion_mask != "none" and sample.labels is None:
        raise InputError("the data has no labels, but objective.motion_mask needs them: set data.labels, or none here")
    if learner.config.ground_contact > 0 and sample.labels is None:
        raise InputError("the data has no labels, but objective.ground_contact needs them: set data.labels, or 0 here")
    if learner.config.exact_depth > 0 and (sample.depth is None or not (sample.depth > 0).any()):
        raise InputError(
            "objective.exact_depth: the data gives no depth; set data.with_depth for data that has it, or 0 here"
        )
    if learner.config.balance.method == "learnt" and learner.depth.config.fusion == "depth-only":
        raise InputError(
            "objective.balance.method: a depth-only network has one task; set network.fusion, or fixed here"
        )


def check_views(augment: AugmentConfig, learner: Learner) -> None:
    """Refuse a second view that nothing compares, and a comparison without a second view.

    Raises:
        InputError: if only one of them is set.
    """
    if augment.second_view != (learner.config.zoom_consistency > 0):
        raise InputError(
            "augment.second_view and objective.zoom_consistency: each needs the other; set both, e.g. true and 0.005"
        )


def start_from(weights: Path, learner: Learner) -> None:
    """Fill both networks from a weight file of the same architecture; a learnt focal length starts anew, as cameras differ.

    A file without a pose network, such as those in the box, fills the depth network; motion is learnt from scratch.

    Raises:
        InputError: if the file cannot be used or holds other networks.
    """
    depth, header = load_depth_network(weights)
    found, wanted = depth.config, learner.depth.config
    if found.fusion == wanted.fusion == "ssfa" and found.ssfa_norm != wanted.ssfa_norm:  # the tensors do not tell
        raise InputError(f"{weights}: its SSFA has another norm; set network.ssfa_norm: {found.ssfa_norm}")
    try:
        learner.depth.load_state_dict(depth.state_dict())
        if header.pose_encoder is not None:
            _fill_but_the_camera(learner.pose, load_pose_network(weights))
    except RuntimeError:
        raise InputError(
            f"{weights}: holds other networks than this experiment's; set network.* as in the run that wrote it"
        ) from None
    if header.pose_encoder is None:
        logger.info("%s: holds no pose network; motion is learnt from scratch", weights)


def _fill_but_the_camera(pose: PoseNetwork, found: PoseNetwork) -> None:
    of_camera = ("focal.", "turn.")
    own = {key: value for key, value in pose.state_dict().items() if key.startswith(of_camera)}
    shared = {key: value for key, value in found.state_dict().items() if not key.startswith(of_camera)}
    pose.load_state_dict(shared | own)


def build_fabric(config: TrainerConfig) -> Fabric:
    """Return Fabric for the wanted devices; refuse in one line what is not there."""
    from lightning_fabric import Fabric  # some seconds: no help, and no command that does not train, waits for it

    processes = config.devices * config.nodes
    if config.devices > 1 and config.accelerator == "cuda" and torch.cuda.device_count() < config.devices:
        raise InputError(f"trainer.devices: {config.devices} asked for, {torch.cuda.device_count()} GPUs here")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.nodes,
            strategy="ddp" if processes > 1 else "auto",
            precision=config.precision,
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"trainer: cannot train like this here ({str(error).splitlines()[0]})") from None
    if config.precision == "16-mixed" and fabric.device.type == "cpu":
        raise InputError("trainer.precision: 16-mixed needs a GPU; use bf16-mixed or 32-true on the CPU")
    return fabric
