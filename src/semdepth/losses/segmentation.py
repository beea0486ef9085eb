"""Segmentation against noisy labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.labels import IGNORE
from semdepth.processes import ALONE, Share


def segmentation_loss(logits: Tensor, labels: Tensor, confidence: Tensor | None = None, share: Share = ALONE) -> Tensor:
    """Return the cross-entropy against pseudo-labels, each pixel weighted by its confidence: ``Σ q·CE / Σ q``.

    Logits of a coarser decoder scale are compared with the labels at the centres of their own pixels (nearest): labels
    cannot be averaged, and C channels of logits at full size would cost far more than they teach.

    Args:
        logits: (B, C, h, w), any float type; h and w not above the labels' size.
        labels: (B, H, W) integers, usually uint8: 0 to C - 1, and 255 = ignore.
        confidence: (B, H, W) weights in [0, 1]; None: 1 everywhere.
        share: where several processes train, ``Σ q`` is its mean over them, so that their mean loss is that of the global
            batch.

    Returns:
        Scalar, 0 or above; 0 with a gradient of 0 where no pixel counts, never NaN.

    Raises:
        ValueError: if a shape or type is wrong, or a label is neither a class nor 255. (The check of the values waits
            for the device: out-of-range labels would otherwise stop a GPU with no word of where they came from.)
    """
    _require_logits(logits)
    classes, size = logits.shape[1], (logits.shape[2], logits.shape[3])
    _require_labels(labels, len(logits), classes, size)
    if confidence is not None and confidence.shape != labels.shape:
        raise ValueError(f"confidence: expected the labels' shape {tuple(labels.shape)}, got {tuple(confidence.shape)}")
    labels = _at_centres(labels, size)
    weight = (labels != IGNORE).float()
    if confidence is not None:
        weight = weight * _at_centres(confidence, size)
    loss = F.cross_entropy(_full_precision(logits), labels.long(), ignore_index=IGNORE, reduction="none")
    return (loss * weight).sum() / share.mean(weight.sum()).clamp(min=1e-12)


def _full_precision(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _require_logits(logits: Tensor) -> None:
    if logits.ndim != 4 or not 2 <= logits.shape[1] <= IGNORE:
        raise ValueError(f"logits: expected (B, C, H, W) with C from 2 to {IGNORE}, got {tuple(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits: expected floating point, got {logits.dtype}")


def _require_labels(labels: Tensor, batch: int, classes: int, size: tuple[int, int]) -> None:
    if labels.ndim != 3 or len(labels) != batch or labels.shape[1] < size[0] or labels.shape[2] < size[1]:
        raise ValueError(f"labels: expected ({batch}, H, W) of at least {size} pixels, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels: expected integers (uint8), got {labels.dtype}")
    strange = ((labels < 0) | (labels >= classes)) & (labels != IGNORE)
    if bool(strange.any()):
        raise ValueError(
            f"labels: {int(labels[strange][0])} is neither a class (0 to {classes - 1}) nor {IGNORE} (ignore); "
            "write them as trainIds"
        )


def _at_centres(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (B, h, w) values nearest to the centres of the pixels of a coarser grid."""
    for dim, count in ((1, size[0]), (2, size[1])):
        full = values.shape[dim]
        if count != full:
            # Whole numbers: the floor of (i + 1/2)·full/count, with no rounding to go wrong.
            index = ((2 * torch.arange(count, device=values.device) + 1) * full) // (2 * count)
            values = values.index_select(dim, index)
    return values
