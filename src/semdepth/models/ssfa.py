"""Implicit semantic guidance: features of the depth and the segmentation branch exchanged after a decoder stage.

Both exchanges add what a 1×1 convolution, initialised to zero, makes of the two branches' features: before training,
a network with either is exactly the network without.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.models.modulation import Norm, modulate


class SemanticAlignment(nn.Module):
    """Semantic-aware Spatial Feature Alignment (Li et al. 2021, arXiv 2102.06685; form after SPADE, Park et al. 2019).

    With class probabilities P: ``E = ReLU(conv3×3(P))``; for F in {D, S}: ``F' = (1 + γ_F(E)) ⊙ norm(F) + β_F(E)``,
    γ, β 3×3 convolutions, norm without parameters; ``D ← D + W([D', S'])``, ``S ← S + V([S', D'])``.
    """

    def __init__(self, channels: int, num_classes: int, embedding: int = 64, norm: Norm = "channels") -> None:
        """Build the alignment of two ``channels`` wide features under ``num_classes`` probabilities."""
        super().__init__()
        self.norm: Norm = norm
        self.embed = nn.Conv2d(num_classes, embedding, 3, padding=1)
        # One pass for both branches: D and S side by side, their γ and β from one convolution, W over V in another.
        self.modulation = nn.Conv2d(embedding, 4 * channels, 3, padding=1)
        self.exchange = _zero_conv1x1(2 * channels, 2 * channels)

    def forward(self, depth: Tensor, semantic: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Align the features.

        Args:
            depth: D, (B, channels, h, w).
            semantic: S, (B, channels, h, w).
            probabilities: P, (B, num_classes, h', w'), each pixel summing to 1. At another size than the features',
                the modulation is computed at P's size and resized bilinearly.

        Returns:
            The aligned D and S.
        """
        modulation = self.modulation(F.relu(self.embed(probabilities)))
        both = torch.cat((depth, semantic), dim=1)
        return _halves(_add_exchange(both, self.exchange, modulate(both, modulation, self.norm)))


class FeatureConcatenation(nn.Module):
    """The ablation's control: ``[D, S]`` through a convolution, no categories, as many parameters.

    ``H = ReLU(conv3×3([D, S]))``; ``D ← D + W(H)``, ``S ← S + V(H)``. The width of H is chosen such that the number of
    parameters comes next to ``SemanticAlignment``'s.
    """

    def __init__(self, channels: int, num_classes: int, embedding: int = 64) -> None:
        """Build the control of a ``SemanticAlignment`` with the same arguments."""
        super().__init__()
        budget = _alignment_parameters(channels, num_classes, embedding)
        width = max(1, round((budget - 2 * channels) / (20 * channels + 1)))
        self.mix = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.exchange = _zero_conv1x1(width, 2 * channels)

    def forward(self, depth: Tensor, semantic: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Exchange the features; as ``SemanticAlignment.forward``, but ``probabilities`` are not looked at."""
        both = torch.cat((depth, semantic), dim=1)
        return _halves(_add_exchange(both, self.exchange, F.relu(self.mix(both))))


def guide_from_labels(labels: Tensor, size: tuple[int, int], num_classes: int) -> Tensor:
    """Return another segmenter's labels as what ``DepthNetwork.forward`` takes for its guide.

    Args:
        labels: (B, H, W) trainIds, 255 = unknown.
        size: (h, w) of the guide.
        num_classes: of the network.

    Returns:
        (B, num_classes, h, w) float32, the share of each class under a pixel; they sum to the share that is known.
    """
    # One class after the other: all at once are gigabytes where the labels are a photo's.
    return torch.cat(
        [F.interpolate((labels == c)[:, None].float(), size=size, mode="area") for c in range(num_classes)], 1
    )


def _add_exchange(both: Tensor, exchange: nn.Conv2d, features: Tensor) -> Tensor:
    """Return ``both + exchange(features)``.

    A 1×1 convolution is one product of matrices an image; that takes a fraction of the time where (B, C, H, W) learns on a CPU.
    """
    quick = torch.is_grad_enabled() and both.device.type == "cpu" and not torch.compiler.is_compiling()
    if not quick or exchange.bias is None or not (both.is_contiguous() and features.is_contiguous()):
        exchanged: Tensor = exchange(features)
        return both + exchanged
    weight = exchange.weight.flatten(1).expand(len(both), -1, -1)
    added = torch.baddbmm(both.flatten(2), weight, features.flatten(2)).add_(exchange.bias[:, None])
    return added.view_as(both)


def _halves(both: Tensor) -> tuple[Tensor, Tensor]:
    depth, semantic = both.chunk(2, dim=1)
    return depth, semantic


def _zero_conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _alignment_parameters(channels: int, num_classes: int, embedding: int) -> int:
    embed = embedding * (9 * num_classes + 1)
    modulation = 4 * channels * (9 * embedding + 1)
    exchange = 2 * channels * (2 * channels + 1)
    return embed + modulation + exchange
