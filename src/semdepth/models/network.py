"""The depth network: one encoder, a depth decoder, and with fusion a segmentation decoder beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.models.decoder import NUM_SCALES, ClassHead, DisparityHead, PyramidDecoder, ground_profile
from semdepth.models.encoder import Encoder, build_encoder
from semdepth.models.modulation import Norm
from semdepth.models.ssfa import FeatureConcatenation, SemanticAlignment
from semdepth.runtime import InputError
from semdepth.structures import NetworkOutput

Fusion = Literal["depth-only", "none", "concat", "ssfa"]
InitialDisparity = Literal["ground", "flat"]
Intrinsics = Literal["given", "learnt"]


@dataclass(frozen=True)
class NetworkConfig:
    """What the networks are made of."""

    encoder: str = "resnet18"
    """Image encoder: a short name (resnet18, resnet50, convnextv2-tiny ...), a local folder, or a hub id."""
    pretrained: bool = False
    """Start both encoders from image weights (short names then need the hub)."""
    fusion: Fusion = "depth-only"
    """depth-only: no segmentation; none: two branches; concat: features exchanged; ssfa: aligned by class."""
    num_classes: int = 19
    """Classes of the segmentation branch."""
    decoder_channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Widths of the decoder stages, fine to coarse."""
    min_depth: float = 0.1
    """Depth at sigmoid output 1."""
    max_depth: float = 100.0
    """Depth at sigmoid output 0."""
    initial_disparity: InitialDisparity = "ground"
    """ground: start from what a level camera above flat ground sees; flat: the literature's head, no row profile."""
    ground_sigmoid: tuple[float, float] = (0.1, 0.5)
    """Initial sigmoid output (at and above the horizon, at the bottom row), for ``initial_disparity: ground``."""
    ssfa_norm: Norm = "channels"
    """What ssfa normalises features over: channels, at each pixel; instance: the image, channel by channel (as before; worse)."""
    guide_gradient: bool = False
    """Let the ssfa gradient flow into the class probabilities that guide it."""
    pose_encoder: str = "resnet18"
    """Encoder of the pose network, named as ``encoder``."""
    initial_motion: float = 0.02
    """Start from a camera that drives this far ahead between frames, in the unit of the predicted depth (the road at the bottom
    of the image starts at 0.2); below 0 it drives backwards; 0: random and small, the literature's start."""
    intrinsics: Intrinsics = "given"
    """given: the data's; learnt: the data's focal length is a first guess, corrected with the motion (the camera must turn)."""

    def __post_init__(self) -> None:
        if self.fusion not in get_args(Fusion):
            raise InputError(f"network.fusion: {self.fusion!r} is unknown; choose one of {', '.join(get_args(Fusion))}")
        if self.initial_disparity not in get_args(InitialDisparity):
            raise InputError(f"network.initial_disparity: {self.initial_disparity!r} is unknown; choose ground or flat")
        if self.intrinsics not in get_args(Intrinsics):
            raise InputError(f"network.intrinsics: {self.intrinsics!r} is unknown; choose given or learnt")
        if self.ssfa_norm not in get_args(Norm):
            raise InputError(f"network.ssfa_norm: {self.ssfa_norm!r} is unknown; choose channels or instance")
        if not all(0 < value < 1 for value in self.ground_sigmoid):
            raise InputError(f"network.ground_sigmoid: {self.ground_sigmoid}; give two numbers between 0 and 1")
        if not 0 < self.min_depth < self.max_depth:
            raise InputError(
                f"network.min_depth: {self.min_depth} and max_depth {self.max_depth}; need 0 < min_depth < max_depth"
            )
        if self.num_classes < 2:
            raise InputError(f"network.num_classes: {self.num_classes}; give at least 2")
        if len(self.decoder_channels) < NUM_SCALES or min(self.decoder_channels) < 1:
            raise InputError(
                f"network.decoder_channels: {self.decoder_channels}; give at least {NUM_SCALES} positive widths"
            )
        if self.guide_gradient and self.fusion != "ssfa":
            raise InputError(f"network.guide_gradient: means nothing with fusion {self.fusion!r}; set fusion: ssfa")


class DepthNetwork(nn.Module):
    """Sigmoid disparity, and class logits unless depth-only, at four scales from one image."""

    def __init__(self, config: NetworkConfig, encoder: Encoder) -> None:
        """Build the decoders on top of ``encoder``.

        What the variants share is built first: under one seed they start from the same parameters.
        """
        super().__init__()
        self.config = config
        self.encoder = encoder
        pyramid = (encoder.channels, encoder.strides, config.decoder_channels)
        far, near = config.ground_sigmoid
        rows = ground_profile(near, far) if config.initial_disparity == "ground" else None
        widths = config.decoder_channels[:NUM_SCALES]
        self.depth_decoder = PyramidDecoder(*pyramid)
        self.disparity_heads = nn.ModuleList(DisparityHead(c, rows) for c in widths)
        self.semantic_decoder: PyramidDecoder | None = None
        self.fusions: nn.ModuleList | None = None
        if config.fusion != "depth-only":
            self.semantic_decoder = PyramidDecoder(*pyramid)
            self.class_heads = nn.ModuleList(ClassHead(c, config.num_classes) for c in widths)
        if config.fusion == "ssfa":
            self.fusions = nn.ModuleList(
                SemanticAlignment(c, config.num_classes, norm=config.ssfa_norm) for c in widths
            )
        elif config.fusion == "concat":
            self.fusions = nn.ModuleList(FeatureConcatenation(c, config.num_classes) for c in widths)

    @property
    def size_multiple(self) -> int:
        """What H and W of the images must be multiples of (and at least twice)."""
        return self.encoder.strides[-1]

    def require_guidable(self) -> None:
        """Refuse a guide where there is nothing to be guided.

        Raises:
            InputError: if the network has no SSFA.
        """
        if self.config.fusion != "ssfa":
            raise InputError(
                f"labels guide networks with network.fusion ssfa only, this one has {self.config.fusion}: leave the labels "
                "out, or give weights with SSFA, such as those in the box"
            )

    def forward(self, images: Tensor, guide: Tensor | None = None) -> NetworkOutput:
        """Predict.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; H and W multiples of ``size_multiple``, at least twice that.
            guide: (B, num_classes, H', W') class probabilities, such as another segmenter's, that guide SSFA in place of those
                that the network predicts. Where they are all 0, nothing is known, and the prediction guides. Without SSFA it
                is not looked at.

        Raises:
            ValueError: for other sizes.
        """
        height, width, multiple = images.shape[2], images.shape[3], self.size_multiple
        if height % multiple or width % multiple or min(height, width) < 2 * multiple:
            raise ValueError(
                f"image is {width}×{height}; width and height must be multiples of {multiple}, ≥ {2 * multiple}"
            )
        features = self.encoder(images)
        if self.semantic_decoder is None:
            return NetworkOutput(self._disparities(features))
        return self._both_branches(self.semantic_decoder, features, guide)

    def _disparities(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        depth = features[-1]
        disparity: list[Tensor] = []
        for i in reversed(range(len(self.depth_decoder))):
            depth = self.depth_decoder.step(i, depth, features)
            if i < NUM_SCALES:
                disparity.insert(0, self.disparity_heads[i](depth))
        return tuple(disparity)

    def _both_branches(
        self, semantic_decoder: PyramidDecoder, features: list[Tensor], given: Tensor | None
    ) -> NetworkOutput:
        """Step through both decoders together.

        A stage is guided by the branch's newest prediction: that of the next coarser stage, and at the coarsest stage
        with a head (stride 8) its own, made before the alignment. So each prediction is made once, and supervised.
        The guide is handed over at its own size: a modulation computed there and resized costs a quarter of one
        computed at the stage's size, and a coarser prediction holds nothing finer to lose.
        """
        depth = semantic = features[-1]
        disparity: list[Tensor] = []
        logits: list[Tensor] = []
        for i in reversed(range(len(self.depth_decoder))):
            depth = self.depth_decoder.step(i, depth, features)
            semantic = semantic_decoder.step(i, semantic, features)
            if i >= NUM_SCALES:
                continue
            coarsest = i == NUM_SCALES - 1
            if coarsest:
                logits.insert(0, self.class_heads[i](semantic))
            if self.fusions is not None:
                depth, semantic = self.fusions[i](depth, semantic, self._guide(logits[0], given))
            if not coarsest:
                logits.insert(0, self.class_heads[i](semantic))
            disparity.insert(0, self.disparity_heads[i](depth))
        return NetworkOutput(tuple(disparity), tuple(logits))

    def _guide(self, logits: Tensor, given: Tensor | None) -> Tensor:
        """Return the class probabilities that guide a stage, at the size of its newest prediction."""
        predicted = F.softmax(logits if self.config.guide_gradient else logits.detach(), dim=1)
        if given is None:
            return predicted
        resized = F.interpolate(given.to(predicted.dtype), size=predicted.shape[2:], mode="area")
        known = resized.sum(dim=1, keepdim=True)
        return torch.where(known > 0, resized / known.clamp_min(1e-6), predicted)


def build_depth_network(config: NetworkConfig, seed: int | None = None) -> DepthNetwork:
    """Build a depth network.

    Args:
        config: what it is made of.
        seed: of the initial parameters; None draws from torch's global generator.

    Raises:
        InputError: if the encoder cannot be built or the decoder does not fit it.
    """
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        encoder = build_encoder(config.encoder, pretrained=config.pretrained)
        return assemble(config, encoder)


def assemble(config: NetworkConfig, encoder: Encoder) -> DepthNetwork:
    """Put the decoders of ``config`` on an encoder.

    Raises:
        InputError: if ``config.decoder_channels`` does not fit the encoder.
    """
    try:
        return DepthNetwork(config, encoder)
    except ValueError as error:
        raise InputError(f"network.decoder_channels: {error}") from None
