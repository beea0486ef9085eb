"""Ego-motion between two frames, from both images at once; and, where it is not known, the camera's focal length."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.geometry.shift import picture_shift
from semdepth.models.encoder import Encoder, build_encoder

POSE_SCALE = 0.01
"""Outputs are scaled down so that training starts near no motion (Zhou et al. 2017; Godard et al. 2019)."""
FOCAL_RANGE = 4.0
"""The learnt focal length stays within this factor of the given one: fields of view from 15° to 130° about 55°."""
FOCAL_PACE = 15.0
"""Gain of the focal length's one parameter: an optimiser whose steps are as long as its learning rate (Adam) then needs
hundreds of steps, not thousands, to correct it by a third."""


class FocalLength(nn.Module):
    """A factor on the given focal lengths, one for all frames of a camera, learnt with the motion.

    Gordon et al., "Depth from Videos in the Wild" (ICCV 2019), predict fx, fy, cx and cy for every pair of frames. One
    factor for all frames is steadier, since a video has one camera; one for both axes, because pixels are square, or of
    known shape; and it acts on the *given* intrinsics, so that it means the same after a resize, a crop or a flip. The
    principal point is not learnt. View synthesis sees the focal length only in frames between which the camera turns.
    """

    def __init__(self) -> None:
        """Start from the given focal length."""
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(()))

    @property
    def factor(self) -> Tensor:
        """The factor, a positive scalar within ``FOCAL_RANGE``; 1 at the start."""
        bound = math.log(FOCAL_RANGE)
        return torch.exp(bound * torch.tanh(FOCAL_PACE / bound * self.raw))

    def forward(self, intrinsics: Tensor) -> Tensor:
        """Return (..., 3, 3) intrinsics with the learnt focal lengths; skew scales along, the principal point stays."""
        scale = torch.ones(3, 3, device=intrinsics.device, dtype=intrinsics.dtype)
        scale[:2, :2] = self.factor.to(intrinsics.dtype)
        return intrinsics * scale


class TurnFromShift(nn.Module):
    """The turn of the camera that explains how far the middle of the picture moved: to first order, angle = shift / focal length.

    A pose network from scratch sees no turns for hundreds of steps, and meanwhile the focal length bends to errors of the
    motion (docs/results/learnt_focal.md). A phase correlation sees them at once. Since the angle follows the focal length, a
    change of the one leaves the picture's middle where it is, and shows where a turn does show the focal length: in
    how much further the sides move. How much of the shift is turn (the rest is parallax, and what the window sees of the
    sides) is learnt, too: a share for each axis, 1 at the start. Left at 1 it bent the focal length by a few percent.
    """

    def __init__(self) -> None:
        """Start from shifts that are all turn."""
        super().__init__()
        self.share = nn.Parameter(torch.ones(2))

    def forward(self, first: Tensor, second: Tensor, camera: Tensor) -> Tensor:
        """Return the (B, 3) axis-angle, in radians, that takes points of the ``first`` camera into the ``second``.

        Args:
            first: (B, 3, H, W) in [0, 1].
            second: (B, 3, H, W) in [0, 1].
            camera: (B, 3, 3) intrinsics in pixels of (H, W); the angle is differentiable in them.
        """
        shift = self.share * picture_shift(first, second)
        x, y = (shift / camera[:, (0, 1), (0, 1)]).unbind(1)
        return torch.stack((-y, x, torch.zeros_like(x)), dim=1)


class PoseNetwork(nn.Module):
    """Axis-angle and translation from a channel-stacked pair of frames (Godard et al. 2019).

    Pairs are always fed in temporal order, earlier frame first: the network then learns motions of one direction only.
    Where the source is the earlier frame, the caller inverts the result (``geometry.rigid.pose_matrix(invert=True)``).

    From random parameters the first motions point in a random direction, and which one decides whether depth finds its
    way (docs/experiments.md, "Starting reliably"). So training may start from a camera that drives straight ahead: the last
    layer's weights are zero and its bias is that motion, parameters like all others.

    Where the focal length is learnt, the network corrects the turn that the shift of the picture shows (``TurnFromShift``).
    """

    def __init__(self, encoder: Encoder, learn_focal: bool = False, initial_motion: float = 0.0) -> None:
        """Build the decoder.

        Args:
            encoder: takes 6 channels.
            learn_focal: learn the camera's focal length, too.
            initial_motion: way ahead between two frames before training, in the unit of the predicted depth; 0: random
                and small, as in the literature.
        """
        super().__init__()
        self.encoder = encoder
        self.squeeze = nn.Conv2d(encoder.channels[-1], 256, 1)
        self.conv0 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv1 = nn.Conv2d(256, 256, 3, padding=1)
        self.motion = nn.Conv2d(256, 6, 1)
        if initial_motion:
            _start_straight_ahead(self.motion, initial_motion)
        self.focal = FocalLength() if learn_focal else None
        self.turn = TurnFromShift() if learn_focal else None

    def forward(self, first: Tensor, second: Tensor, camera: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the motion that takes points of the ``first`` camera into the ``second``.

        Args:
            first: (B, 3, H, W) in [0, 1], the earlier frame.
            second: (B, 3, H, W) in [0, 1], the later frame.
            camera: (B, 3, 3) intrinsics as learnt so far, in pixels of (H, W); needed where the focal length is learnt.

        Returns:
            Axis-angle (B, 3) in radians and translation (B, 3) in the unit of the predicted depth.

        Raises:
            ValueError: if the focal length is learnt and ``camera`` is missing.
        """
        x = self.encoder.coarsest(torch.cat((first, second), dim=1))
        x = F.relu(self.squeeze(x))
        x = F.relu(self.conv0(x))
        x = F.relu(self.conv1(x))
        motion = POSE_SCALE * self.motion(x).mean(dim=(2, 3))
        axis_angle, translation = motion[:, :3], motion[:, 3:]
        if self.turn is None:
            return axis_angle, translation
        if camera is None:
            raise ValueError("camera: a pose network that learns the focal length needs it to tell turns")
        return axis_angle + self.turn(first, second, camera), translation


def _start_straight_ahead(motion: nn.Conv2d, way: float) -> None:
    """Make the last layer say, whatever it sees, that what is ahead comes nearer by ``way``."""
    assert motion.bias is not None
    nn.init.zeros_(motion.weight)
    with torch.no_grad():
        motion.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, -way / POSE_SCALE]))


def build_pose_network(
    encoder: str = "resnet18",
    *,
    pretrained: bool = False,
    learn_focal: bool = False,
    initial_motion: float = 0.0,
    seed: int | None = None,
) -> PoseNetwork:
    """Build a pose network.

    Args:
        encoder: as for ``build_encoder``.
        pretrained: start from image weights, folded over the pair.
        learn_focal: learn the camera's focal length with the motion.
        initial_motion: way ahead before training, in the unit of the predicted depth; 0: random and small.
        seed: of the initial parameters; None draws from torch's global generator.

    Raises:
        InputError: if the encoder cannot be built.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        built = build_encoder(encoder, pretrained=pretrained, in_channels=6)
        return PoseNetwork(built, learn_focal, initial_motion)
