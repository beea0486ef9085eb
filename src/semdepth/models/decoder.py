"""U-Net decoder, used twice (depth and segmentation), and the two kinds of head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.models.doubling import double_and_convolve
from semdepth.models.padding import ReflectedConv, convolve_padded

NUM_SCALES = 4
"""Predictions are made at strides 1, 2, 4, 8: scale k = 0 … 3."""
ROWS = 17
"""Rows at which a row profile is given; linear between them."""


class DecoderStage(nn.Module):
    """Convolve, double the size, join the encoder's feature of that size, convolve (Godard et al. 2019, supplement).

    Both convolutions are 3×3 with reflection padding and ELU. On a CPU the doubled feature is never made (``doubling``).
    """

    plain: bool = False
    """Double the feature, pad it and convolve, as it is written."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        """Build a stage; ``skip_channels`` 0 means that the encoder has no feature of the doubled size."""
        super().__init__()
        self.reduce = ReflectedConv(in_channels, out_channels)
        self.merge = ReflectedConv(out_channels + skip_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """(B, in, h, w) and (B, skip, 2h, 2w) or None → (B, out, 2h, 2w)."""
        x = F.elu(self.reduce(x), inplace=True)  # in place: one feature is kept for the way back, not two
        # What is exported shall be as simple as it can be; on a GPU the quick way has not been tried.
        if self.plain or x.device.type != "cpu" or torch.compiler.is_compiling():
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            return F.elu(self.merge(x if skip is None else torch.cat((x, skip), dim=1)), inplace=True)
        weight, bias = self.merge.weight, self.merge.bias
        if skip is None:
            return F.elu(double_and_convolve(x, weight, bias), inplace=True)
        below, beside = weight.split((x.shape[1], skip.shape[1]), dim=1)
        beside_sum = convolve_padded(skip, "reflect", beside, bias)
        return F.elu(double_and_convolve(x, below).add_(beside_sum), inplace=True)


def convolve_plainly(network: nn.Module) -> None:
    """Make every decoder stage and head of a network go the plain way, for comparison."""
    for module in network.modules():
        if isinstance(module, DecoderStage | ReflectedConv):
            module.plain = True


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


def ground_profile(near: float, far: float) -> Tensor:
    """Return the (ROWS,) sigmoid outputs, top row first, of what a level camera above flat ground sees.

    Disparity on a plane is linear in the image row. It falls from ``near`` at the bottom to ``far`` at the horizon, which
    is taken to be the middle row, and stays there above it (houses and trees, not only sky).

    Args:
        near: sigmoid output at the bottom row, in (0, 1).
        far: sigmoid output at and above the middle row, in (0, 1).
    """
    below_horizon = torch.linspace(-1.0, 1.0, ROWS).clamp(min=0.0)
    return far + (near - far) * below_horizon


class DisparityHead(nn.Module):
    """Sigmoid disparity from a decoder feature, with an optional profile over the image rows.

    With both depth and motion free, a run from scratch can settle in an inverted world (far below, near above) whose
    photometric error is low enough to hold it. ``initial_rows`` starts the head at another place: its logits are added to
    every column, linearly between the rows they are given for. They are ordinary parameters: training is free to undo
    them, for a camera that looks up, down or from a roof.
    """

    def __init__(self, channels: int, initial_rows: Tensor | None) -> None:
        """Build the head of a ``channels`` wide feature.

        Args:
            channels: of the feature.
            initial_rows: (R,) sigmoid outputs before training, top row first, in (0, 1), e.g. ``ground_profile(…)``;
                None: the literature's plain head, without further parameters.
        """
        super().__init__()
        self.conv = ReflectedConv(channels, 1)
        self.row_logits = None if initial_rows is None else nn.Parameter(torch.logit(initial_rows))

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, 1, h, w) in (0, 1)."""
        logit: Tensor = self.conv(feature)
        if self.row_logits is not None:
            rows = self.row_logits.to(logit.dtype)[None, None, :, None]
            logit = logit + F.interpolate(rows, (feature.shape[2], 1), mode="bilinear", align_corners=True)
        return torch.sigmoid(logit)


class ClassHead(nn.Module):
    """Class logits from a decoder feature."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = ReflectedConv(channels, num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, num_classes, h, w)."""
        logits: Tensor = self.conv(feature)
        return logits
