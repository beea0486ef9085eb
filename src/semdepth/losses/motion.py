"""Which objects move on their own, told from the target's labels and from how the sources look."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.labels import MOVABLE, membership
from semdepth.losses.regions import connected_regions

LEAST_CONFIDENCE = 0.5
"""A label less sure than this says nothing about what can move."""
STANDS_STILL = 1.2
"""An object moves with the camera where the sources as they are explain it with at most this many times the error of the
warped ones. Above 1, because an object whose depth has grown to a hole is explained by the warp, too: barely better
(docs/experiments.md has what other values find)."""


def movable(labels: Tensor, confidence: Tensor | None = None) -> Tensor:
    """Return (B, H, W) bool: true on pixels of classes that can move on their own.

    Args:
        labels: (B, H, W) uint8 trainIds, 255 = ignore.
        confidence: (B, H, W) of the labels in [0, 1]; below ``LEAST_CONFIDENCE`` a label is not believed.
    """
    can_move = torch.from_numpy(membership(MOVABLE)).to(labels.device)[labels.long()]
    return can_move if confidence is None else can_move & (confidence >= LEAST_CONFIDENCE)


def moving_with_camera(
    labels: Tensor,
    warped_errors: Tensor,
    identity_errors: Tensor,
    confidence: Tensor | None = None,
    ratio: float = STANDS_STILL,
) -> Tensor:
    """Return (B, H, W) bool: true on movable objects that keep our speed, as far as the pictures tell.

    Such an object stands still in the image; to view synthesis, which knows no motion but ours, it looks infinitely far.
    The auto-mask (Godard et al. 2019) asks each pixel alone and misses some, most of all once their depth has begun to
    grow: warped by an infinite depth they do not move either. Here each connected region of a movable class is asked as a
    whole, by its pixels whose 3×3 neighbourhood is its own (the SSIM window of the others sees the background). SGDepth
    (Klingner et al., ECCV 2020) instead compares the target's labels with the warped labels of the sources; our batches
    carry labels of the target only. What moves otherwise (oncoming, crossing) is found only where neither explains it.

    Args:
        labels: (B, H, W) uint8 trainIds, 255 = ignore.
        warped_errors: (B, S, H, W) photometric errors of the warped sources; no gradient flows.
        identity_errors: (B, S, H, W) those of the sources as they are.
        confidence: (B, H, W) of the labels in [0, 1].
        ratio: a region is chosen where its mean identity error is at most ``ratio`` times its mean warped error.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if warped_errors.shape != identity_errors.shape or warped_errors[:, 0].shape != labels.shape:
        given = (tuple(x.shape) for x in (labels, warped_errors, identity_errors))
        raise ValueError("labels, warped_errors and identity_errors do not fit: {}, {}, {}".format(*given))
    candidates = movable(labels, confidence)
    region, area = connected_regions(labels)
    counted = (candidates & _inside(labels)).float()
    errors = (warped_errors.detach().float().amin(1), identity_errors.float().amin(1), torch.ones_like(counted))
    warped, identity, pixels = (
        counted.new_zeros(len(area)).index_add_(0, region.flatten(), (e * counted).flatten()) for e in errors
    )
    return candidates & ((identity <= ratio * warped) & (pixels > 0))[region]


def _inside(labels: Tensor) -> Tensor:
    """Return (B, H, W) bool: true where the 3×3 neighbourhood carries one label."""
    values = labels[:, None].float()
    return (F.max_pool2d(values, 3, 1, 1) == -F.max_pool2d(-values, 3, 1, 1))[:, 0]
