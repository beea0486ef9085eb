"""Ego-motion between two frames, from both images at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.models.encoder import Encoder, build_encoder

POSE_SCALE = 0.01
"""Outputs are scaled down so that training starts near no motion (Zhou et al. 2017; Godard et al. 2019)."""


class PoseNetwork(nn.Module):
    """Axis-angle and translation from a channel-stacked pair of frames (Godard et al. 2019).

    Pairs are always fed in temporal order, earlier frame first: the network then learns motions of one direction only.
    Where the source is the earlier frame, the caller inverts the result (``geometry.rigid.pose_matrix(invert=True)``).
    """

    def __init__(self, encoder: Encoder) -> None:
        """Build the decoder on top of ``encoder``, which takes 6 channels."""
        super().__init__()
        self.encoder = encoder
        self.squeeze = nn.Conv2d(encoder.channels[-1], 256, 1)
        self.conv0 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv1 = nn.Conv2d(256, 256, 3, padding=1)
        self.motion = nn.Conv2d(256, 6, 1)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the motion that takes points of the ``first`` camera into the ``second``.

        Args:
            first: (B, 3, H, W) in [0, 1], the earlier frame.
            second: (B, 3, H, W) in [0, 1], the later frame.

        Returns:
            Axis-angle (B, 3) in radians and translation (B, 3) in the unit of the predicted depth.
        """
        x = self.encoder(torch.cat((first, second), dim=1))[-1]
        x = F.relu(self.squeeze(x))
        x = F.relu(self.conv0(x))
        x = F.relu(self.conv1(x))
        motion = POSE_SCALE * self.motion(x).mean(dim=(2, 3))
        return motion[:, :3], motion[:, 3:]


def build_pose_network(encoder: str = "resnet18", *, pretrained: bool = False, seed: int | None = None) -> PoseNetwork:
    """Build a pose network.

    Args:
        encoder: as for ``build_encoder``.
        pretrained: start from image weights, folded over the pair.
        seed: of the initial parameters; None draws from torch's global generator.

    Raises:
        InputError: if the encoder cannot be built.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return PoseNetwork(build_encoder(encoder, pretrained=pretrained, in_channels=6))
