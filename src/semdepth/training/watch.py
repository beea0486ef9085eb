"""Notice a run that has collapsed, say which way, and what usually causes it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from semdepth.geometry.camera import disparity_to_depth
from semdepth.geometry.warp import sampling_grid
from semdepth.structures import FrameBatch
from semdepth.training.objective import Objective

CONSTANT_DISPARITY = 1e-3
"""Standard deviation over mean of the disparity below which an image's disparity counts as constant."""
DROPPED_BY_MASK = 0.01
"""Share of kept pixels below which the auto-mask has dropped everything."""
NO_MOTION_PIXELS = 0.05
"""Mean flow that the estimated motion makes, in pixels, below which the pose network stands still."""
STATIC_VIDEO = 1.0 / 255.0
"""Mean absolute change between neighbouring frames below which a video is nearly static."""
INVERTED = 0.7
"""Median disparity of the lower third over the upper third below which a scene stands on its head."""

CAUSES = {
    "constant disparity": "the depth network sees no use in depth: too little motion between frames, wrong intrinsics, "
    "or too high a learning rate",
    "auto-mask drops everything": "no warp beats standing still: the camera hardly moves, or intrinsics are wrong",
    "zero motion": "the pose network predicts no motion: frames too close in time, or a learning rate too high at the start",
    "nearly static video": "neighbouring frames are almost equal: use a larger data.offsets, or leave out frames at rest",
    "inverted depth": "the lower part of the image is farther than the upper: a bad minimum of the start; keep "
    "network.initial_disparity=ground, lower the learning rate, or try another seed (ignore this for a camera without ground)",
}


@dataclass
class CollapseWatch:
    """Keeps running means over a window of observations and speaks once for each kind of collapse."""

    depth_range: tuple[float, float]
    patience: int = 8
    """Observations in a row that must agree before a warning."""
    streaks: dict[str, int] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def observe(self, batch: FrameBatch, objective: Objective) -> list[str]:
        """Look at one step whose loss is finite; return the warnings that are due now, one line each."""
        warnings = []
        for kind, present in self.symptoms(batch, objective).items():
            self.streaks[kind] = self.streaks.get(kind, 0) + 1 if present else 0
            if self.streaks[kind] == self.patience and kind not in self.told:
                self.told.add(kind)
                warnings.append(f"{kind}: {CAUSES[kind]}")
        return warnings

    def state(self) -> dict[str, dict[str, int]]:
        """Return what a checkpoint keeps."""
        return {"streaks": dict(self.streaks), "told": dict.fromkeys(sorted(self.told), 1)}

    def load_state(self, state: dict[str, dict[str, int]]) -> None:
        """Go on from a checkpoint's state."""
        self.streaks, self.told = dict(state["streaks"]), set(state["told"])

    def symptoms(self, batch: FrameBatch, objective: Objective) -> dict[str, bool]:
        """Return for each kind of collapse whether this step shows it."""
        disparity, depth = disparity_to_depth(objective.disparity.float(), *self.depth_range)
        spread = disparity.std(dim=(1, 2, 3)) / disparity.mean(dim=(1, 2, 3))
        height = disparity.shape[2]
        upper = disparity[:, :, : height // 3].flatten(1).median(dim=1).values
        lower = disparity[:, :, -(height // 3) :].flatten(1).median(dim=1).values
        # Averaged over 4×4 pixels, so that sensor noise does not pass for motion.
        change = F.avg_pool2d((batch.target.unsqueeze(1) - batch.sources).flatten(0, 1), 4).abs().mean()
        symptoms = {
            "constant disparity": spread.mean() < CONSTANT_DISPARITY,
            "auto-mask drops everything": objective.kept.float().mean() < DROPPED_BY_MASK,
            "nearly static video": change < STATIC_VIDEO,
            "zero motion": mean_flow(depth, batch, objective) < NO_MOTION_PIXELS,
            "inverted depth": (lower / upper).median() < INVERTED,
        }
        return {kind: bool(present) for kind, present in symptoms.items()}


def mean_flow(depth: torch.Tensor, batch: FrameBatch, objective: Objective) -> torch.Tensor:
    """Return the mean distance in pixels by which the estimated motion moves the image's points."""
    height, width = depth.shape[-2:]
    here = sampling_grid(depth, batch.intrinsics, torch.eye(4, device=depth.device).expand(len(batch), 4, 4))
    there = sampling_grid(depth, batch.intrinsics, objective.source_from_target[:, 0])
    pixels = (there - here) * torch.tensor([width - 1, height - 1], device=depth.device) / 2
    mean: torch.Tensor = pixels.norm(dim=-1).clamp(max=width).mean()
    return mean
