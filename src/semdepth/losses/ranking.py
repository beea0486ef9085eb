"""Semantic-guided ranking loss: depth borders agree with the segmentation's (METHOD 3.3, explicit guidance)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from semdepth.entropy import normalised_entropy
from semdepth.labels import SKY
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import PointPairs, sample_pairs
from semdepth.processes import ALONE, Share
from semdepth.runtime import InputError


@dataclass(frozen=True)
class RankingConfig:
    """Form of the semantic-guided ranking loss, and how its pairs are drawn."""

    form: Literal["hinge", "logistic"] = "hinge"
    """hinge: only pairs out of order push, with constant force in log-disparity. logistic: the literature's form on
    disparity over its image mean (Xian et al. 2020), which never stops pushing."""
    margin: float = 0.05
    """hinge: a pair is in order once its log-disparities differ by this much the right way (0.05: 5 % in depth)."""
    equality: Literal["band", "square", "none"] = "band"
    """Pairs on one thing: push only beyond ``band``, or by the squared difference (the literature's), or not at all."""
    band: float = 0.1
    """band: differences this small are free (in log-disparity for the hinge, else in disparity over its mean)."""
    sky_yields: bool = True
    """In a pair with the sky only the sky is pushed. View synthesis measures the thing before it and knows nothing of the
    sky, which a network puts at some tens of metres: pushed alike, what is far came nearer instead. (Logistic: all that
    the image's mean is taken of is pushed a little.)"""
    uncertainty: bool = True
    """Weight each pair by the certainty of the network's classes at both points, where probabilities are given."""
    pairs: PairConfig = field(default_factory=PairConfig)
    """How pairs are drawn, and which rules they pass."""

    def __post_init__(self) -> None:
        if not (self.margin >= 0 and self.band >= 0):
            raise InputError(f"ranking_loss.margin {self.margin}, ranking_loss.band {self.band}: give numbers >= 0")


def semantic_ranking_loss(
    disparity: Tensor,
    labels: Tensor,
    probabilities: Tensor | None = None,
    confidence: Tensor | None = None,
    *,
    config: RankingConfig,
    generator: torch.Generator | None = None,
    share: Share = ALONE,
) -> Tensor:
    """Rank depths across the borders of a label map: ``Σ w·φ / Σ w`` over the pairs of ``sample_pairs``.

    With ``s`` = log-disparity (hinge) or disparity over its image mean (logistic), and ℓ the pair's order,
    φ = max(0, margin − ℓ·(s_i − s_j)) or log(1 + exp(−ℓ·(s_i − s_j))) for ℓ = ±1; for ℓ = 0
    φ = max(0, abs(s_i − s_j) − band) or (s_i − s_j)². w = c_i·c_j, c = 1 − normalised entropy of the classes.
    Every form is invariant to the scale of disparity. Against the sky no gradient flows to the other point, if
    ``config.sky_yields``, but, in the logistic form, through the mean.

    Args:
        disparity: (B, 1, H, W) positive and proportional to 1 / depth: the disparity that
            ``geometry.camera.disparity_to_depth`` returns, not the sigmoid it is made of.
        labels: (B, H, W) uint8 trainIds, 255 = ignore.
        probabilities: (B, C, H, W) class probabilities of the network, for weights and for rule 4; no gradient flows.
        confidence: (B, H, W) confidence of the labels, in [0, 1].
        config: form and pairs.
        generator: source of the draws.
        share: where several processes train, ``Σ w`` is its mean over them, so that their mean loss is that of the global
            batch, and each image gets the draws that it would get in one process.

    Returns:
        Scalar; zero with zero gradient where no pair survives, never NaN.

    Raises:
        ValueError: if the maps differ in size.
    """
    _, penalty, weight = rank_pairs(
        disparity, labels, probabilities, confidence, config=config, generator=generator, share=share
    )
    return (weight * penalty).sum() / share.mean(weight.sum()).clamp(min=torch.finfo(weight.dtype).tiny)


def rank_pairs(
    disparity: Tensor,
    labels: Tensor,
    probabilities: Tensor | None,
    confidence: Tensor | None,
    *,
    config: RankingConfig,
    generator: torch.Generator | None = None,
    share: Share = ALONE,
) -> tuple[PointPairs, Tensor, Tensor]:
    """Return the pairs of the loss, the penalty of each and its weight, (P,): what ``semantic_ranking_loss`` is the mean of."""
    if disparity.dtype in (torch.float16, torch.bfloat16):
        disparity = disparity.float()
    pairs = sample_pairs(
        labels, disparity, probabilities, confidence, config=config.pairs, generator=generator, share=share
    )
    score = _score(disparity, config.form)
    at_i, at_j = pairs.at(score)
    if config.sky_yields:
        sky_i, sky_j = (label == SKY[0] for label in pairs.at(labels))
        at_i, at_j = torch.where(sky_j, at_i.detach(), at_i), torch.where(sky_i, at_j.detach(), at_j)
    penalty = _penalty(at_i - at_j, pairs.ordinal, config)
    weight = _certainty(pairs, probabilities) if config.uncertainty and probabilities is not None else None
    weight = torch.ones_like(penalty) if weight is None else weight.to(penalty.dtype)
    if config.equality == "none":
        weight = weight * (pairs.ordinal != 0)
    return pairs, penalty, weight


def _score(disparity: Tensor, form: str) -> Tensor:
    """Return the (B, H, W) quantity whose differences are ranked."""
    if form == "hinge":
        return disparity[:, 0].clamp(min=torch.finfo(disparity.dtype).tiny).log()
    return (disparity / disparity.mean((2, 3), keepdim=True).clamp(min=torch.finfo(disparity.dtype).tiny))[:, 0]


def _penalty(difference: Tensor, ordinal: Tensor, config: RankingConfig) -> Tensor:
    signed = ordinal * difference
    ranked = F.relu(config.margin - signed) if config.form == "hinge" else F.softplus(-signed)
    equal = difference**2 if config.equality == "square" else F.relu(difference.abs() - config.band)
    return torch.where(ordinal == 0, equal, ranked)


def _certainty(pairs: PointPairs, probabilities: Tensor) -> Tensor:
    """Return ``c_i·c_j`` of each pair, (P,), with c = 1 − H(p) / log C, detached."""
    at_i, at_j = (1 - normalised_entropy(p.float()) for p in pairs.at(probabilities.detach().movedim(1, 3)))
    return at_i * at_j
