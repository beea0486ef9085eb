"""The page: what is minimised. Predict, pose, warp, the terms, their weighted sum (METHOD 3).

``L = Σ_k (1/4)·(L_photo + λ_smooth·L_smooth / 2^k) + λ_sem·L_sem + λ_rank·L_rank``

Beyond the paper, each off by default: ``+ λ_contact·L_contact``, ``+ λ_zoom·L_zoom``, ``+ λ_exact·L_exact``, a mask of
moving objects in L_photo, a balance of the two tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.geometry.camera import disparity_to_depth
from semdepth.geometry.rigid import pose_matrix
from semdepth.losses.consistency import zoom_consistency
from semdepth.losses.contact import ground_contact_loss
from semdepth.losses.exact_depth import exact_depth_loss
from semdepth.losses.motion import movable, moving_with_camera
from semdepth.losses.photometric import minimum_reprojection
from semdepth.losses.ranking import RankingConfig, semantic_ranking_loss
from semdepth.losses.segmentation import segmentation_loss
from semdepth.losses.smoothness import smoothness
from semdepth.models.network import DepthNetwork, NetworkConfig, build_depth_network
from semdepth.models.pose_net import PoseNetwork, build_pose_network
from semdepth.processes import ALONE, Share
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, NetworkOutput
from semdepth.training.balance import BalanceConfig, TaskBalance, captured, gradient_norms
from semdepth.training.eager import with_gradient
from semdepth.training.views import Reference, Views


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised."""

    smoothness: float = 1e-3
    """λ_smooth, weight of the edge-aware smoothness of the disparity."""
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
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """How depth and segmentation are weighed against each other."""

    def __post_init__(self) -> None:
        for name in (
            "smoothness",
            "segmentation",
            "ranking",
            "ranking_warm_up",
            "ground_contact",
            "zoom_consistency",
            "exact_depth",
        ):
            if getattr(self, name) < 0:
                raise InputError(f"objective.{name}: must not be negative")
        if self.motion_mask == "moving" and not self.auto_mask:
            raise InputError("objective.motion_mask: moving compares with standing still; set objective.auto_mask=true")
        if self.balance.method != "fixed" and self.segmentation == 0:
            raise InputError("objective.balance.method: needs a segmentation to balance; set objective.segmentation")


@dataclass
class Objective:
    """The loss of a batch, its terms, and the views that panels and the collapse watch look at."""

    loss: Tensor
    """Scalar, differentiable."""
    terms: dict[str, Tensor]
    """Unweighted scalars, detached, of those that take part: photometric, smoothness, segmentation, ranking, ground_contact,
    zoom, exact_depth."""
    disparity: Tensor
    """(B, 1, H, W) finest σ, detached."""
    warped: Tensor
    """(B, S, 3, H, W) sources seen from the target at the finest scale, detached."""
    error: Tensor
    """(B, H, W) photometric error that counts at the finest scale, detached."""
    kept: Tensor
    """(B, H, W) bool, pixels that the masks keep at the finest scale."""
    source_from_target: Tensor
    """(B, S, 4, 4) estimated motion, detached."""
    balance: dict[str, Tensor] = field(default_factory=dict)
    """Where measured: weight and gradient (weighted, at the shared features) of depth and segmentation."""


class Learner(nn.Module):
    """Depth and pose networks together with what they are taught; ``forward`` is one evaluation of the objective."""

    def __init__(self, network: NetworkConfig, objective: ObjectiveConfig, share: Share = ALONE) -> None:
        """Build both networks (draws from the global seed)."""
        super().__init__()
        self.config, self.share = objective, share
        self.depth: DepthNetwork = build_depth_network(network)
        learnt, ahead = network.intrinsics == "learnt", network.initial_motion
        self.pose: PoseNetwork = build_pose_network(
            network.pose_encoder, pretrained=network.pretrained, learn_focal=learnt, initial_motion=ahead
        )
        self.depth_range = (network.min_depth, network.max_depth)
        self.balance = TaskBalance(objective.balance, objective.segmentation)

    def forward(
        self, batch: FrameBatch, step: int = 0, generator: torch.Generator | None = None, measure: bool = False
    ) -> Objective:
        """Evaluate the objective of METHOD 3 on a batch.

        Args:
            batch: float images (see ``data.transforms.to_unit_range``), at least one source.
            step: the training step, for what ramps in.
            generator: draws the ranking loss's point pairs; equal in all processes.
            measure: measure how strongly depth and segmentation pull at what they share (costs about a backward pass).
        """
        measure = (measure or self.balance.is_due(step)) and self.depth.semantic_decoder is not None
        with captured(self.depth.encoder, measure) as shared:
            output = self.depth(batch.seen_target if batch.seen_target is not None else batch.target)
        if self.pose.focal is not None:
            batch = replace(batch, intrinsics=self.pose.focal(batch.intrinsics))
        source_from_target = self.motion(batch)
        views = self.view_synthesis(batch, output, source_from_target)
        weights = self.weights(step)
        terms = {"photometric": views.photometric, "smoothness": views.smooth}
        if output.logits is not None and batch.labels is not None:
            terms["segmentation"] = sum_over_scales(output.logits, batch, self.share)
        if weights["ranking"] > 0 and batch.labels is not None:
            terms["ranking"] = self.ranking(batch, output, generator)
        if weights["ground_contact"] > 0 and batch.labels is not None:
            terms["ground_contact"] = ground_contact_loss(
                self.finest(output), batch.labels, batch.confidence, self.share
            )
        if weights["zoom"] > 0 and batch.zoomed_target is not None:
            terms["zoom"] = self.zoom(batch, output)
        if weights["exact_depth"] > 0 and batch.depth is not None:
            terms["exact_depth"] = self.exact_depth(batch.depth, output)
        measured = self.measure(terms, weights, shared, step) if measure and "segmentation" in terms else {}
        loss = self.balance(terms, weights)
        return Objective(
            loss=loss,
            terms={name: value.detach() for name, value in terms.items()},
            disparity=output.disparity[0].detach(),
            warped=views.warped.detach(),
            error=views.error.detach(),
            kept=views.kept,
            source_from_target=source_from_target.detach(),
            balance=measured,
        )

    def motion(self, batch: FrameBatch) -> Tensor:
        """Return (B, S, 4, 4) ``source_from_target``; pairs are fed in temporal order, the motion inverted for s < t.

        Where the focal length is learnt, the batch must hold the camera as learnt so far.
        """
        target = batch.seen_target if batch.seen_target is not None else batch.target
        sources = batch.seen_sources if batch.seen_sources is not None else batch.sources
        before = [offset < 0 for offset in batch.offsets]
        first = torch.stack([sources[:, s] if before[s] else target for s in range(len(before))], dim=1)
        second = torch.stack([target if before[s] else sources[:, s] for s in range(len(before))], dim=1)
        camera = batch.intrinsics.repeat_interleave(len(before), dim=0)
        axis_angle, translation = self.pose(first.flatten(0, 1), second.flatten(0, 1), camera)
        axis_angle = axis_angle.float().unflatten(0, (len(batch), -1))
        translation = translation.float().unflatten(0, (len(batch), -1))
        matrices = [pose_matrix(axis_angle[:, s], translation[:, s], invert=b) for s, b in enumerate(before)]
        return torch.stack(matrices, dim=1)

    def view_synthesis(self, batch: FrameBatch, output: NetworkOutput, source_from_target: Tensor) -> Views:
        """Warp the sources into the target at every scale and compare (METHOD 3.1)."""
        scales = len(output.disparity)
        photometric = smooth = torch.zeros((), device=batch.target.device)
        finest: tuple[Tensor, Tensor, Tensor] | None = None
        moving: Tensor | None = None
        full = Reference(batch.target, batch.sources, batch.intrinsics, self.config.auto_mask)
        for k, predicted in enumerate(output.disparity):
            sigma = predicted.float()
            size = (sigma.shape[-2], sigma.shape[-1])
            own_size = full.resized(size) if k else full
            reference = full if self.config.full_resolution else own_size
            part = partial(self.photometric, batch, reference, moving)
            error_mean, warped, error, kept, *masks = with_gradient(
                part, sigma, source_from_target, reference.intrinsics
            )
            moving = masks[0] if masks else None
            photometric = photometric + error_mean / scales
            disparity, _ = disparity_to_depth(sigma, *self.depth_range)
            smooth = smooth + smoothness(disparity, own_size.target) / 2**k / scales
            finest = finest or (warped, error, kept)
        assert finest is not None
        return Views(photometric, smooth, *finest)

    def photometric(
        self,
        batch: FrameBatch,
        reference: Reference,
        moving: Tensor | None,
        sigma: Tensor,
        motion: Tensor,
        camera: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return one scale's mean error; (B, S, 3, H, W) warped, (B, H, W) error, (B, H, W) kept; the mask, if there is one.

        Args:
            batch: whose labels say what may move.
            reference: the images at the size to compare at.
            moving: (B, 1, H, W) mask of the finest scale; None there, and where there is none.
            sigma: (B, 1, h, w), upsampled to the size of ``reference``.
            motion: (B, S, 4, 4) ``source_from_target``.
            camera: (B, 3, 3) intrinsics at the size of ``reference``.
        """
        if (sigma.shape[-2], sigma.shape[-1]) != reference.size:
            sigma = F.interpolate(sigma, reference.size, mode="bilinear", align_corners=False)
        _, depth = disparity_to_depth(sigma, *self.depth_range)
        warped, errors = reference.compare(depth, motion, camera)
        error, kept = minimum_reprojection(
            errors,
            reference.identity_errors,
            auto_mask=self.config.auto_mask,
            per_pixel_minimum=self.config.per_pixel_minimum,
        )
        if moving is None and self.config.motion_mask != "none":
            moving = self.moving(batch, errors, reference)
        if moving is None:
            return error.mean(), warped, error, kept
        left_out = F.interpolate(moving, error.shape[-2:], mode="nearest")[:, 0] > 0
        error, kept = error.masked_fill(left_out, 0.0), kept & ~left_out
        return error.mean(), warped, error, kept, moving

    def moving(self, batch: FrameBatch, errors: Tensor, reference: Reference) -> Tensor | None:
        """Return (B, 1, H, W), 1 on the objects that view synthesis leaves out; None without labels."""
        if batch.labels is None:
            return None
        if self.config.motion_mask == "movable" or reference.identity_errors is None:
            return movable(batch.labels, batch.confidence)[:, None].float()
        identity = reference.identity_errors
        return moving_with_camera(batch.labels, errors, identity, batch.confidence)[:, None].float()

    def zoom(self, batch: FrameBatch, output: NetworkOutput) -> Tensor:
        """Compare the finest depth with that of the second view, the same frame at another zoom."""
        assert batch.zoomed_target is not None
        assert batch.zoomed_from_target is not None
        sigmas = output.disparity[0], self.depth(batch.zoomed_target).disparity[0]
        plain, zoomed = (disparity_to_depth(sigma.float(), *self.depth_range)[0] for sigma in sigmas)
        return zoom_consistency(plain, zoomed, batch.zoomed_from_target, self.share)

    def exact_depth(self, depth: Tensor, output: NetworkOutput) -> Tensor:
        """Compare every scale with known depth; the mean over the scales."""
        disparities = (disparity_to_depth(sigma.float(), *self.depth_range)[0] for sigma in output.disparity)
        return torch.stack([exact_depth_loss(disparity, depth) for disparity in disparities]).mean()

    def measure(
        self, terms: dict[str, Tensor], weights: dict[str, float], shared: list[Tensor], step: int
    ) -> dict[str, Tensor]:
        """Measure how strongly both tasks pull at the shared features; the balance follows where it is due."""
        norms = gradient_norms(terms, weights, shared, self.share)
        if self.training and self.balance.is_due(step):
            self.balance.follow(norms)
        current = self.balance.current(self.config.segmentation)
        found = {f"gradient_{task}": current[task].to(norm.device) * norm for task, norm in norms.items()}
        return found | {f"weight_{task}": weight for task, weight in current.items()}

    def weights(self, step: int) -> dict[str, float]:
        """Return λ of every term at ``step``. Ranking and ground contact wait out the warm-up, then ramp in over as long."""
        config, wait = self.config, self.config.ranking_warm_up
        ramp = min(max((step - wait) / wait, 0.0), 1.0) if wait else 1.0
        weights = {"photometric": 1.0, "smoothness": config.smoothness, "segmentation": config.segmentation}
        weights |= {"ranking": ramp * config.ranking, "ground_contact": ramp * config.ground_contact}
        return weights | {"zoom": config.zoom_consistency, "exact_depth": config.exact_depth}

    def ranking(self, batch: FrameBatch, output: NetworkOutput, generator: torch.Generator | None) -> Tensor:
        """Rank the finest disparity by the pseudo-labels (METHOD 3.3), weighted by the branch's own certainty (2.2)."""
        assert batch.labels is not None
        certain = None if output.logits is None else output.logits[0].detach().float().softmax(dim=1)
        maps = (self.finest(output), batch.labels, certain, batch.confidence)
        return semantic_ranking_loss(*maps, config=self.config.ranking_loss, generator=generator, share=self.share)

    def finest(self, output: NetworkOutput) -> Tensor:
        """Return the finest scale's disparity (not σ), (B, 1, H, W)."""
        return disparity_to_depth(output.disparity[0].float(), *self.depth_range)[0]


def sum_over_scales(logits: tuple[Tensor, ...], batch: FrameBatch, share: Share = ALONE) -> Tensor:
    """Return the segmentation loss (METHOD 3.2) summed over the decoder's scales."""
    assert batch.labels is not None
    losses = [segmentation_loss(scale.float(), batch.labels, batch.confidence, share) for scale in logits]
    return torch.stack(losses).sum()
