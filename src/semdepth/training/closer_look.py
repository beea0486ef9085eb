"""Single frames looked at closely: what is predicted where, how wrong it is, and how sure the network was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F

from semdepth.data.video import JudgedFrames
from semdepth.entropy import normalised_entropy
from semdepth.evaluation.metrics import Float64, calibration_sums
from semdepth.evaluation.protocols import Protocol, depth_from_disparity, flip_post_process
from semdepth.labels import NUM_CLASSES
from semdepth.models.network import DepthNetwork
from semdepth.training.recorder import to_picture
from semdepth.training.validation import predict

SAMPLED = 4000
"""Judged pixels of a frame that go into a pool of many frames."""


@dataclass(frozen=True)
class Look:
    """One judged frame; maps at the size of its ground truth."""

    name: str
    image: npt.NDArray[np.uint8]
    """(h, w, 3), at the network's size."""
    truth: Float64
    """(H, W) metres, 0 = unknown."""
    prediction: Float64
    """(H, W) metres, scaled and capped by the protocol."""
    error: Float64
    """(H, W) |g − p| / g on judged pixels, NaN elsewhere."""
    predicted_labels: npt.NDArray[np.uint8] | None
    """(H, W) trainIds; None for a depth-only network, as the next two."""
    uncertainty: Float64 | None
    """(H, W) normalised entropy of the class probabilities, in [0, 1]."""
    calibration: Float64 | None
    """(15, 3) ``metrics.calibration_sums`` of the classes; None also where the frame has no labels."""

    @property
    def abs_rel(self) -> float:
        """Mean error over the judged pixels."""
        return float(np.nanmean(self.error))

    def samples(self, seed: int) -> tuple[Float64, Float64]:
        """Return errors and uncertainties of up to ``SAMPLED`` judged pixels, drawn by ``seed``; none without a segmentation."""
        if self.uncertainty is None:
            return np.zeros(0), np.zeros(0)
        known = np.flatnonzero(np.isfinite(self.error))
        if len(known) > SAMPLED:
            known = np.random.default_rng(seed).choice(known, SAMPLED, replace=False)
        return self.error.ravel()[known], self.uncertainty.ravel()[known]


def look_at(
    network: DepthNetwork, frames: JudgedFrames, protocol: Protocol, index: int, *, flip: bool = False
) -> Look | None:
    """Predict one frame and set it beside its ground truth, as ``validation.judge`` does.

    Args:
        network: in eval mode, on any device.
        frames: with ground truth.
        protocol: masks, scales and caps.
        index: of the frame.
        flip: blend with the mirrored image's disparity (Godard et al. 2017).

    Returns:
        The look; None where no pixel can be judged.

    Raises:
        InputError: if a file cannot be used.
    """
    truth = frames.ground_truth(index)
    if not protocol.judged(truth).any():
        return None
    batch = frames[index]
    output = predict(network, batch)
    disparity: npt.NDArray[Any] = output.disparity[0][0, 0].cpu().numpy()
    if flip:
        mirrored = predict(network, replace(batch, target=batch.target.flip(-1)))
        disparity = flip_post_process(disparity, mirrored.disparity[0][0, 0].flip(-1).cpu().numpy())
    aligned = protocol.align(truth, depth_from_disparity(disparity, *truth.shape))
    error = np.full(truth.shape, np.nan)
    known = aligned.mask
    error[known] = np.abs(aligned.ground_truth[known] - aligned.prediction[known]) / aligned.ground_truth[known]
    image = to_picture(batch.target[0].float() / 255)
    labels, unsure, sums = None, None, None
    if output.logits is not None:  # probabilities, from predict
        resized = F.interpolate(output.logits[0], truth.shape, mode="bilinear", align_corners=False)[0]
        confidence, guess = resized.max(dim=0)
        labels = guess.byte().cpu().numpy()
        unsure = normalised_entropy(resized, 0).cpu().numpy().astype(np.float64)
        sums = _calibration(frames.labels(index), labels, confidence.clamp(0, 1).cpu().numpy())
    return Look(frames.name(index), image, aligned.ground_truth, aligned.prediction, error, labels, unsure, sums)


def _calibration(
    true: npt.NDArray[Any] | None, guess: npt.NDArray[np.uint8], confidence: npt.NDArray[Any]
) -> Float64 | None:
    if true is None:
        return None
    kept = true < NUM_CLASSES
    return calibration_sums(confidence[kept], true[kept] == guess[kept])
