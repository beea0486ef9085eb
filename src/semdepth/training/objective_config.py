"""What is minimised, as options: the weight λ of every term, the switches of view synthesis, the tasks' balance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from semdepth.losses.kernels import Kernels
from semdepth.losses.ranking import RankingConfig
from semdepth.runtime import InputError
from semdepth.training.balance import BalanceConfig


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised."""

    smoothness: float = 1e-3
    """λ_smooth, weight of the edge-aware smoothness of the disparity."""
    saturation: float = 0.01
    """λ_far, weight of what pulls back sigmoid outputs that run to 0 (infinitely far), where learning would end. 0 switches it
    off."""
    auto_mask: bool = True
    """Drop pixels that no warp explains better than standing still (static scene parts, cars that keep our speed)."""
    per_pixel_minimum: bool = True
    """Per pixel, take the source that fits best (occlusion); otherwise the mean over the sources."""
    full_resolution: bool = True
    """Upsample every scale's disparity to full resolution before warping; otherwise warp at the scale's own size."""
    segmentation: float = 0.05
    """λ_sem, weight of the cross-entropy against the pseudo-labels (networks with a segmentation branch only)."""
    ranking: float = 0.0
    """λ_rank, weight of the semantic-guided ranking loss; 0 switches it off."""
    ranking_warm_up: int = 0
    """Steps before ranking (and ground contact) start; they then ramp in over as many steps again."""
    ranking_loss: RankingConfig = field(default_factory=RankingConfig)
    """Form and sampling of the ranking loss."""
    ground_contact: float = 0.0
    """λ_contact, weight of what stands on the ground being as far as the ground at its foot; 0 switches it off."""
    zoom_consistency: float = 0.0
    """λ_zoom, weight of equal depth at two zooms of one frame; set augment.second_view with it. 0 switches it off."""
    exact_depth: float = 0.0
    """λ_exact, weight of the distance to known depth (rendered worlds; set data.with_depth too). 0, the method: none is used."""
    motion_mask: Literal["none", "moving", "movable"] = "none"
    """Leave out of view synthesis: moving: objects of a movable class that the pictures show keeping our speed; movable: all
    objects that could move, parked ones too (their depth then comes from semantics and smoothness alone)."""
    kernels: Kernels = "auto"
    """What works out warp, SSIM, L1 and their gradient, same numbers. auto: numba on a CPU, torch elsewhere. numba: three
    kernels for a CPU. triton: three for a GPU, not yet measured on one. torch: its operators."""
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """How depth and segmentation are weighed against each other."""

    def __post_init__(self) -> None:
        for weight in fields(self):
            value = getattr(self, weight.name)
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise InputError(f"objective.{weight.name} {value}: must be a number that is not negative")
        if self.motion_mask == "moving" and not self.auto_mask:
            raise InputError("objective.motion_mask: moving compares with standing still; set objective.auto_mask=true")
        if self.balance.method == "learnt" and self.segmentation == 0:
            raise InputError("objective.balance.method: needs a segmentation to balance; set objective.segmentation")
