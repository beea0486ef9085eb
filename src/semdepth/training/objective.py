"""The page: what is minimised. Predict, pose, warp, the terms, their weighted sum (METHOD 3).

``L = Σ_k (1/4)·(L_photo + λ_smooth·L_smooth / 2^k) + λ_sem·L_sem + λ_rank·L_rank + λ_far·L_far``

The sum over the scales k is ``view_synthesis``; L_sem is ``sum_over_scales``, L_rank is ``Learner.ranking``, L_far, which
keeps σ from ending at 0, is ``saturation``, and every λ stands in ``Learner.weights``; but λ_sem is followed or learnt by
``TaskBalance``, unless the balance is ``fixed``.

Beyond the paper, each off by default: ``+ λ_contact·L_contact``, ``+ λ_zoom·L_zoom``, ``+ λ_exact·L_exact``, a mask of
moving objects in L_photo.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from semdepth.geometry.camera import disparity_to_depth
from semdepth.geometry.rigid import pose_matrix
from semdepth.losses.consistency import zoom_consistency
from semdepth.losses.contact import ground_contact_loss
from semdepth.losses.exact_depth import exact_depth_loss
from semdepth.losses.ranking import semantic_ranking_loss
from semdepth.losses.saturation import saturation
from semdepth.losses.segmentation import segmentation_loss
from semdepth.models.network import DepthNetwork, NetworkConfig, build_depth_network
from semdepth.models.pose_net import PoseNetwork, build_pose_network
from semdepth.processes import ALONE, Share
from semdepth.structures import FrameBatch, NetworkOutput
from semdepth.training.balance import TaskBalance, captured, gradient_norms
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.view_synthesis import view_synthesis


@dataclass
class Objective:
    """The loss of a batch, its terms, and the views that panels and the collapse watch look at."""

    loss: Tensor
    """Scalar, differentiable."""
    terms: dict[str, Tensor]
    """Unweighted scalars, detached, of those that take part: photometric, smoothness, saturation, segmentation, ranking,
    ground_contact, zoom, exact_depth."""
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
        measure = measure and torch.is_grad_enabled()
        with captured(self.depth.encoder, measure) as shared:
            output = _in_planes(self.depth(batch.seen_target if batch.seen_target is not None else batch.target))
        if self.pose.focal is not None:
            batch = replace(batch, intrinsics=self.pose.focal(batch.intrinsics))
        source_from_target = self.motion(batch)
        views = view_synthesis(batch, output.disparity, source_from_target, self.config, self.depth_range)
        weights = self.weights(step)
        terms = {"photometric": views.photometric, "smoothness": views.smooth}
        if weights["saturation"] > 0:
            terms["saturation"] = torch.stack([saturation(sigma) for sigma in output.disparity]).sum()
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

    def weights(self, step: int) -> dict[str, float]:
        """Return λ of every term at ``step``. Ranking and ground contact wait out the warm-up, then ramp in over as long."""
        config, wait = self.config, self.config.ranking_warm_up
        ramp = min(max((step - wait) / wait, 0.0), 1.0) if wait else 1.0
        weights = {"photometric": 1.0, "smoothness": config.smoothness, "segmentation": config.segmentation}
        weights |= {"ranking": ramp * config.ranking, "ground_contact": ramp * config.ground_contact}
        weights |= {"zoom": config.zoom_consistency, "exact_depth": config.exact_depth}
        return weights | {"saturation": config.saturation}

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

    def ranking(self, batch: FrameBatch, output: NetworkOutput, generator: torch.Generator | None) -> Tensor:
        """Rank the finest disparity by the pseudo-labels (METHOD 3.3), weighted by the branch's own certainty (2.2)."""
        assert batch.labels is not None
        certain = None if output.logits is None else output.logits[0].detach().softmax(dim=1)
        maps = (self.finest(output), batch.labels, certain, batch.confidence)
        return semantic_ranking_loss(*maps, config=self.config.ranking_loss, generator=generator, share=self.share)

    def finest(self, output: NetworkOutput) -> Tensor:
        """Return the finest scale's disparity (not σ), (B, 1, H, W)."""
        return disparity_to_depth(output.disparity[0].float(), *self.depth_range)[0]

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


def _in_planes(output: NetworkOutput) -> NetworkOutput:
    """Return the logits in float32 at least, one class's map after the other: once, for both losses that take softmax of them."""
    if output.logits is None:
        return output
    dtype, layout = torch.promote_types(output.logits[0].dtype, torch.float32), torch.contiguous_format
    return replace(output, logits=tuple(scale.to(dtype, memory_format=layout) for scale in output.logits))


def sum_over_scales(logits: tuple[Tensor, ...], batch: FrameBatch, share: Share = ALONE) -> Tensor:
    """Return the segmentation loss (METHOD 3.2) summed over the decoder's scales."""
    assert batch.labels is not None
    losses = [segmentation_loss(scale, batch.labels, batch.confidence, share) for scale in logits]
    return torch.stack(losses).sum()
