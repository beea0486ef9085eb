"""The same network, faster to predict with: batch norms folded into convolutions, channels last in memory."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from semdepth.models.decoder import convolve_plainly


def make_fast(network: nn.Module) -> None:
    """Fold the batch norms of a network in eval mode, and lay its weights out channels last, in place.

    Predictions stay the same to float32's rounding. Not for what shall be trained or saved (``fold_batch_norm``).

    Raises:
        ValueError: if the network is in training mode.
    """
    fold_batch_norm(network)
    convolve_plainly(network)  # phases save a training step's time; with channels last they cost a prediction 5 %
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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
