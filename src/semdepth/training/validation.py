"""Judge a depth network on frames with ground truth: while it trains, and for ``semdepth evaluate``."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from semdepth.data.catalog import DataConfig, DatasetName
from semdepth.data.transforms import to_unit_range
from semdepth.data.video import JudgedFrames
from semdepth.evaluation.baselines import MeanDepthMap, constant_depth
from semdepth.evaluation.evaluator import DepthEvaluator, EvaluationResult
from semdepth.evaluation.protocols import Protocol, cityscapes, flip_post_process, kitti_eigen, make3d, synthetic
from semdepth.evaluation.verdict import Verdict, judge_image
from semdepth.geometry.camera import disparity_to_depth
from semdepth.models.network import DepthNetwork
from semdepth.models.ssfa import guide_from_labels
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, NetworkOutput, stack_frames
from semdepth.training.objective import Learner

JUDGED_AT_ONCE = 8
"""Frames in a forward pass."""
Disparity = npt.NDArray[np.floating[Any]]
"""(h, w), 1/m or up to scale."""


def judge(
    network: DepthNetwork,
    frames: JudgedFrames,
    protocol: Protocol,
    *,
    flip: bool = False,
    shown: bool = False,
    guides: JudgedFrames | None = None,
) -> EvaluationResult:
    """Judge a network on every frame.

    Args:
        network: in eval mode, on any device.
        frames: with ground truth.
        protocol: masks, scales and caps.
        flip: blend with the mirrored image's disparity (Godard et al. 2017).
        shown: show a progress bar.
        guides: the same frames with the labels that guide SSFA; None: the network's own classes do.

    Raises:
        InputError: if a file cannot be used, nothing can be judged, or the network cannot be guided.
    """
    if guides is not None:
        network.require_guidable()
    evaluator = DepthEvaluator(protocol)
    judge_all(evaluator, frames, _predictions(network, evaluator, frames, flip, shown, guides))
    return evaluator.result()


def judge_all(evaluator: DepthEvaluator, frames: JudgedFrames, predictions: Iterable[tuple[int, Disparity]]) -> None:
    """Judge predictions, several images side by side: as many as torch has threads (OMP_NUM_THREADS).

    Truth and labels are read there, too, while the network goes on. The verdicts are collected in the images' order, so
    that the result does not depend on the threads.

    Args:
        evaluator: that collects them.
        frames: with ground truth.
        predictions: index of a frame, and its (h, w) disparity.

    Raises:
        InputError: if a file cannot be used.
    """
    threads = torch.get_num_threads()
    waiting: deque[Future[Verdict]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index, disparity in predictions:
            waiting.append(pool.submit(_verdict, evaluator.protocol, frames, index, disparity))
            if len(waiting) > threads + JUDGED_AT_ONCE:  # what is read and not yet judged takes memory
                evaluator.add(waiting.popleft().result())
        for verdict in waiting:
            evaluator.add(verdict.result())


def _verdict(protocol: Protocol, frames: JudgedFrames, index: int, disparity: Disparity) -> Verdict:
    name = frames.name(index)
    return judge_image(
        protocol,
        name,
        frames.ground_truth(index),
        disparity=disparity,
        group=group_of(name),
        labels=frames.labels(index),
        moving=frames.moving(index),
    )


def _predictions(
    network: DepthNetwork,
    evaluator: DepthEvaluator,
    frames: JudgedFrames,
    flip: bool,
    shown: bool,
    guides: JudgedFrames | None,
) -> Iterator[tuple[int, Disparity]]:
    """Yield the disparity of every frame; the segmentation is judged on the way."""
    steps: Iterable[tuple[list[int], FrameBatch]] = _batches(frames)
    if shown:
        steps = track(steps, "judging", total=-(-len(frames) // JUDGED_AT_ONCE))
    for indices, batch in steps:
        guide = None if guides is None else _guide(network, guides, indices)
        output = predict(network, batch, guide)
        disparity = output.disparity[0][:, 0].cpu().numpy()
        if flip:
            guide = None if guide is None else guide.flip(-1)
            mirrored = predict(network, _mirrored(batch), guide).disparity[0][:, 0].flip(-1).cpu().numpy()
            disparity = flip_post_process(disparity, mirrored)
        yield from zip(indices, disparity, strict=True)
        _judge_classes(evaluator, output, frames, indices)


def judge_map(depth_map: MeanDepthMap | None, frames: JudgedFrames, protocol: Protocol) -> EvaluationResult:
    """Judge one depth map as the prediction for every frame; None: a constant depth.

    Raises:
        InputError: if a file cannot be used, or nothing can be judged.
    """
    evaluator = DepthEvaluator(protocol)
    for index in range(len(frames)):
        truth = frames.ground_truth(index)
        depth = constant_depth(*truth.shape) if depth_map is None else depth_map.depth(*truth.shape)
        name = frames.name(index)
        evaluator.update(
            name,
            truth,
            depth=depth,
            group=group_of(name),
            labels=frames.labels(index),
            moving=frames.moving(index),
        )
    return evaluator.result()


OF_DATASET: dict[DatasetName, Protocol] = {"cityscapes": cityscapes, "make3d": make3d}
"""Datasets that have a protocol of their own."""


def protocol_for(frames: JudgedFrames, data: DataConfig) -> Protocol:
    """Return how frames are judged unless the user says otherwise.

    Args:
        frames: with ground truth.
        data: the options that they were opened with.

    Returns:
        The dataset's own protocol if it has one; ``synthetic`` for rendered frames, whose depth is exact (they say what
        moves); else ``kitti_eigen``.
    """
    own = OF_DATASET.get(data.name)
    return own or (synthetic if frames.moving(0) is not None else kitti_eigen)


def group_of(name: str) -> str:
    """Return the drive of a frame's name: frames of one drive resemble each other, and are drawn together."""
    return name.rsplit("/", 2)[0]


def _guide(network: DepthNetwork, guides: JudgedFrames, indices: list[int]) -> Tensor:
    """Return the guide of some frames, at the images' size."""
    batch = stack_frames([guides[i] for i in indices])
    if batch.labels is None:
        raise InputError(f"{batch.names[0]}: has no labels to be guided by; write some with semdepth label")
    height, width = batch.target.shape[-2:]
    return guide_from_labels(batch.labels, (height, width), network.config.num_classes)


@torch.inference_mode()
def predict(network: DepthNetwork, batch: FrameBatch, guide: Tensor | None = None) -> NetworkOutput:
    """Return disparities in 1/m (not sigmoid outputs) and class probabilities (not logits), finest scale only."""
    device = next(network.parameters()).device
    images = to_unit_range(batch.to(device)).target
    output = network(images) if guide is None else network(images, guide.to(device))
    disparity, _ = disparity_to_depth(output.disparity[0].float(), network.config.min_depth, network.config.max_depth)
    logits = None if output.logits is None else (output.logits[0].float().softmax(dim=1),)
    return NetworkOutput((disparity,), logits)


def _judge_classes(evaluator: DepthEvaluator, output: NetworkOutput, frames: JudgedFrames, indices: list[int]) -> None:
    if output.logits is None:
        return
    for b, index in enumerate(indices):
        labels = frames.labels(index)
        if labels is None:
            continue
        probabilities = F.interpolate(output.logits[0][b : b + 1], labels.shape, mode="bilinear", align_corners=False)
        confidence, predicted = probabilities[0].max(dim=0)
        evaluator.update_segmentation(labels, predicted.cpu().numpy(), confidence.clamp(0, 1).cpu().numpy())


def _mirrored(batch: FrameBatch) -> FrameBatch:
    return replace(batch, target=batch.target.flip(-1))


def _batches(frames: JudgedFrames) -> Iterator[tuple[list[int], FrameBatch]]:
    for first in range(0, len(frames), JUDGED_AT_ONCE):
        indices = list(range(first, min(first + JUDGED_AT_ONCE, len(frames))))
        yield indices, stack_frames([frames[i] for i in indices])


class Validation:
    """Judges a network on the same frames again and again, and keeps to the numbers that a curve shows."""

    def __init__(self, frames: JudgedFrames, protocol: Protocol) -> None:
        """Take frames with ground truth, and how they are judged."""
        self.frames, self.protocol = frames, protocol

    def __call__(self, learner: Learner) -> dict[str, float]:
        """Return abs_rel, rmse, delta1, border_abs_rel (where there are labels), and mean_iou of a segmentation branch."""
        result = judge(learner.depth, self.frames, self.protocol)
        numbers = {"abs_rel": result.mean.abs_rel, "rmse": result.mean.rmse, "delta1": result.mean.delta1}
        numbers["scale"] = result.scale_median
        border = result.measures.get("border_abs_rel", float("nan"))
        if not math.isnan(border):  # it is where no frame has labels
            numbers["border_abs_rel"] = border
        if result.segmentation is not None:
            numbers["mean_iou"] = result.segmentation.mean_iou
        return numbers
