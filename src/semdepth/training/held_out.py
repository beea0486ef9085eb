"""Judge a run without ground truth: how well its depth and motion make frames that it has not learnt from out of each other."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from semdepth.data.transforms import to_unit_range
from semdepth.data.video import JudgedFrames
from semdepth.structures import FrameBatch
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.view_synthesis import Reference, view_synthesis

RULES = ObjectiveConfig()
"""Auto-mask, minimum over the sources, no motion mask: every run is judged alike, whatever it was taught with."""


class HeldOutViews:
    """Judges a learner on the same frames again and again by their photometric error (METHOD 3.1)."""

    def __init__(self, frames: JudgedFrames) -> None:
        """Take frames with sources, none of them learnt from."""
        self.frames = frames

    def __call__(self, learner: Learner) -> dict[str, float]:
        """Return photometric, the mean error that view synthesis leaves, and explained, its share of what standing still leaves.

        Args:
            learner: in eval mode, on any device.

        Returns:
            ``photometric``: mean over pixels and frames of the least error, of the sources warped or as they are, at the
            finest scale; 0 is perfect. ``explained``: 1 − photometric / the least error of the sources as they are; 0: the
            run explains no more than a camera that stands, 1: all.
        """
        device = next(learner.parameters()).device
        sums = torch.zeros(2, dtype=torch.float64)
        for index in range(len(self.frames)):
            sums += torch.stack(errors(learner, to_unit_range(self.frames[index].to(device)))).double().cpu()
        made, still = (sums / len(self.frames)).tolist()
        return {"photometric": made, "explained": 1 - made / still if still > 0 else 0.0}


@torch.no_grad()
def errors(learner: Learner, batch: FrameBatch) -> tuple[Tensor, Tensor]:
    """Return the mean errors of a batch: with the learner's depth and motion, and standing still."""
    if learner.pose.focal is not None:
        batch = replace(batch, intrinsics=learner.pose.focal(batch.intrinsics))
    finest = learner.depth(batch.target).disparity[:1]
    views = view_synthesis(batch, finest, learner.motion(batch), RULES, learner.depth_range)
    still = Reference(batch.target, batch.sources, batch.intrinsics, auto_mask=True).identity_errors
    assert still is not None
    return views.error.mean(), still.amin(dim=1).mean()
