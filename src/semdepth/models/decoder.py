"""U-Net decoder, used twice (depth and segmentation), and the two kinds of head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_SCALES = 4
"""Predictions are made at strides 1, 2, 4, 8: scale k = 0 … 3."""


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="reflect")


class DecoderStage(nn.Module):
    """Convolve, double the size, join the encoder's feature of that size, convolve (Godard et al. 2019, supplement).

    Both convolutions are 3×3 with reflection padding and ELU.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        """Build a stage; ``skip_channels`` 0 means that the encoder has no feature of the doubled size."""
        super().__init__()
        self.reduce = _conv3x3(in_channels, out_channels)
        self.merge = _conv3x3(out_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(B, in, h, w) and (B, skip, 2h, 2w) or None → (B, out, 2h, 2w)."""
        x = F.interpolate(F.elu(self.reduce(x)), scale_factor=2.0, mode="nearest")
        return F.elu(self.merge(x if skip is None else torch.cat((x, skip), dim=1)))


class PyramidDecoder(nn.Module):
    """The stages of a U-Net decoder; ``stages[i]`` ends at stride 2^i, the coarsest comes first in time.

    The caller steps through the stages (``step``), so that two decoders can exchange features after each.
    """

    def __init__(
        self, encoder_channels: Sequence[int], encoder_strides: Sequence[int], channels: Sequence[int]
    ) -> None:
        """Build the decoder of an encoder's pyramid.

        Args:
            encoder_channels: fine to coarse, as ``Encoder.channels``.
            encoder_strides: as ``Encoder.strides``.
            channels: width of the stage that ends at stride 1, 2, 4, …

        Raises:
            ValueError: if ``channels`` has fewer entries than the encoder's strides ask for.
        """
        super().__init__()
        depth = encoder_strides[-1].bit_length() - 1
        if not NUM_SCALES <= depth <= len(channels):
            raise ValueError(
                f"an encoder of stride {encoder_strides[-1]} needs {depth} decoder channels (at least {NUM_SCALES}), "
                f"not {len(channels)}"
            )
        skips = dict(zip(encoder_strides[:-1], encoder_channels[:-1], strict=True))
        below = [*channels[1:depth], encoder_channels[-1]]
        self.channels = tuple(channels[:depth])
        self._skip_index = [encoder_strides.index(2**i) if 2**i in skips else None for i in range(depth)]
        self.stages = nn.ModuleList(DecoderStage(below[i], skips.get(2**i, 0), channels[i]) for i in range(depth))

    def __len__(self) -> int:
        return len(self.stages)

    def step(self, i: int, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Run stage ``i``: (B, ·, H/2^(i+1), W/2^(i+1)) → (B, channels[i], H/2^i, W/2^i).

        Args:
            i: the stage, from ``len(self) − 1`` (its ``x`` is the encoder's coarsest feature) down to 0.
            x: what the stage before returned, possibly changed on the way.
            features: the encoder's pyramid, fine to coarse.
        """
        index = self._skip_index[i]
        out: Tensor = self.stages[i](x, None if index is None else features[index])
        return out


class DisparityHead(nn.Module):
    """Sigmoid disparity from a decoder feature, with an optional view of the image row.

    With both photometric error and disparity free, a run from scratch can settle in an inverted world (far below, near
    above) whose error is low enough to hold it. ``initial_logits`` starts the head at what a camera above flat ground
    would see: a logit that ramps linearly from the top row to the bottom row, as one more input channel (Liu et al.
    2018, CoordConv). The ramp is an ordinary parameter: training is free to undo it.
    """

    def __init__(self, channels: int, initial_logits: tuple[float, float] | None) -> None:
        """Build the head of a ``channels`` wide feature.

        Args:
            channels: of the feature.
            initial_logits: logit at the (top, bottom) row before training; None: the literature's plain head, with no
                row channel and no further parameter.
        """
        super().__init__()
        self.conv = _conv3x3(channels, 1)
        self.row_weight: nn.Parameter | None = None
        if initial_logits is not None:
            top, bottom = initial_logits
            self.row_weight = nn.Parameter(torch.tensor(float(bottom - top)))
            with torch.no_grad():
                assert self.conv.bias is not None
                self.conv.bias.fill_(top)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, 1, h, w) in (0, 1)."""
        logit: Tensor = self.conv(feature)
        if self.row_weight is not None:
            row = torch.linspace(0.0, 1.0, feature.shape[2], device=feature.device, dtype=logit.dtype)
            logit = logit + self.row_weight * row[:, None]
        return torch.sigmoid(logit)


class ClassHead(nn.Module):
    """Class logits from a decoder feature."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = _conv3x3(channels, num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, num_classes, h, w)."""
        logits: Tensor = self.conv(feature)
        return logits
