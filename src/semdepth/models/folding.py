"""The same network, faster to predict with: batch norms folded, channels last in memory, in bfloat16 if wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from semdepth.models.decoder import convolve_plainly
from semdepth.models.network import DepthNetwork

Arithmetic = Literal["fp32", "bf16"]
"""What a loaded network computes in."""


def make_fast(network: DepthNetwork, precision: Arithmetic = "fp32") -> None:
    """Fold the batch norms of a network in eval mode, and lay its weights out channels last, in place.

    Not for what shall be trained or saved (``fold_batch_norm``).

    Args:
        network: in eval mode.
        precision: fp32: predictions stay the same to float32's rounding; bf16: weights and features have 8 bits of
            mantissa, predictions are off by up to a hundredth. The outputs are float32 in both.

    Raises:
        ValueError: if the network is in training mode.
    """
    fold_batch_norm(network)
    if precision == "bf16":
        convolve_plainly(network)  # the quick way sums up weights at every call, which here costs more than it saves
        _round_to_bfloat16(network)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _round_to_bfloat16(network: DepthNetwork) -> None:
    """Let everything be bfloat16 but the heads: a disparity of 8 bits would stand in steps of half a percent."""
    heads = [*network.disparity_heads, *(() if network.semantic_decoder is None else network.class_heads)]
    kept = [{name: value.clone() for name, value in head.state_dict().items()} for head in heads]
    network.to(torch.bfloat16)
    for module in (network, *(network.fusions or ())):  # what takes images, or the probabilities of a head
        module.register_forward_pre_hook(_cast_to(torch.bfloat16))
    for head, exact in zip(heads, kept, strict=True):
        head.float().load_state_dict(exact)
        head.register_forward_pre_hook(_cast_to(torch.float32))


def _cast_to(dtype: torch.dtype) -> Callable[[nn.Module, tuple[Tensor | None, ...]], tuple[Tensor | None, ...]]:
    return lambda _, tensors: tuple(None if tensor is None else tensor.to(dtype) for tensor in tensors)


def fold_batch_norm(network: nn.Module) -> int:
    """Fold every batch norm of a transformers ResNet into its convolution, in place; for inference only.

    ``γ·(W∗x − μ)/√(σ² + ε) + β`` is a convolution with weights ``W·γ/√(σ² + ε)`` and a bias. Other backbones have no batch
    norms, and are left as they are.

    Args:
        network: in eval mode. Its ``state_dict`` has other keys afterwards: do not fold what shall be saved.

    Returns:
        How many were folded.

    Raises:
        ValueError: if the network is in training mode, where its statistics are not the ones that would be folded.
    """
    if network.training:
        raise ValueError("folding takes a network in eval mode")
    folded = 0
    for module in list(network.modules()):
        convolution, norm = getattr(module, "convolution", None), getattr(module, "normalization", None)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.convolution = fuse_conv_bn_eval(convolution, norm)
            module.normalization = nn.Identity()
            folded += 1
    return folded
