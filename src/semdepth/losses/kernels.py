"""Kernels of our own for view synthesis: which there are, which is taken, and what all of them ask of their arguments.

``cpu_kernels`` (Numba) and ``gpu_kernels`` (Triton) hold the same two things: the function ``errors_of`` and, with its gradient,
the autograd function ``WarpedErrors``, which ``warped_errors`` here is the door to.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor

from semdepth.compiled import has_numba
from semdepth.geometry.camera import require_shape
from semdepth.geometry.warp import projection
from semdepth.runtime import InputError

Kernels = Literal["auto", "torch", "numba", "triton"]
"""What works out view synthesis: torch's operators, three kernels for a CPU or three for a GPU; auto: Numba's on a CPU."""


def check_kernels(kernels: Kernels, device: torch.device) -> None:
    """Refuse kernels that cannot run here.

    Raises:
        InputError: if Numba's are wanted on a GPU, Triton's without one (Triton's interpreter, ``TRITON_INTERPRET=1``, goes
            without), or what compiles them is not installed.
    """
    if kernels not in ("numba", "triton"):
        return
    if kernels == "numba" and device.type != "cpu":
        raise InputError(f"objective.kernels: numba is for a CPU, and this run is on {device.type}; set auto")
    if kernels == "triton" and device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InputError(f"objective.kernels: triton needs a CUDA GPU, and this run is on {device.type}; set auto")
    if importlib.util.find_spec(kernels) is None:
        raise InputError(f"objective.kernels: {kernels} is not installed here; pip install {kernels}, or set auto")


def kernels_for(kernels: Kernels, images: Tensor) -> ModuleType | None:
    """Return the module whose kernels work out the photometric errors of such images; None: torch's operators do."""
    if kernels == "auto":
        able = images.device.type == "cpu" and images.dtype == torch.float32
        kernels = "numba" if able and has_numba() else "torch"
    if kernels == "torch":
        return None
    return importlib.import_module(f"semdepth.losses.{'cpu' if kernels == 'numba' else 'gpu'}_kernels")


def warped_errors(
    kernels: ModuleType, sources: Tensor, depth: Tensor, intrinsics: Tensor, source_from_target: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the sources warped into the target, and their photometric errors; float32 all through.

    Args:
        kernels: of ``kernels_for``.
        sources: (B, S, C, H, W) in [0, 1]; no gradient flows to them.
        depth: (B, 1, H, W) of the target.
        intrinsics: (B, 3, 3) of all cameras, in pixels of (H, W).
        source_from_target: (B, S, 4, 4), translation in the unit of ``depth``.
        target: (B, C, H, W) in [0, 1]; no gradient flows to it.

    Returns:
        (B, S, C, H, W) warped sources, to which no gradient flows, and (B, S, H, W) errors in [0, 1]; NaN where depth, intrinsics
        or motion are not finite.

    Raises:
        ValueError: if a shape is wrong, or there are fewer than 2 × 2 pixels.
    """
    warped, errors = kernels.WarpedErrors.apply(*checked(sources, depth, intrinsics, source_from_target, target))
    return warped, errors


def require_image_size(height: int, width: int) -> None:
    """Raise a ValueError for images that cannot be reflected at their border."""
    if min(height, width) < 2:
        raise ValueError(f"images: expected H and W of 2 or more, got {height} and {width}")


def checked(
    sources: Tensor, depth: Tensor, intrinsics: Tensor, source_from_target: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what a kernel reads, in float32 as it lies in memory: sources, depth, matrices, target.

    Args:
        sources: (B, S, C, H, W).
        depth: (B, 1, H, W).
        intrinsics: (B, 3, 3).
        source_from_target: (B, S, 4, 4).
        target: (B, C, H, W).

    Returns:
        The same, and as the third (B, S, 3, 4) of ``geometry.warp.projection``.

    Raises:
        ValueError: if a shape is wrong, or there are fewer than 2 × 2 pixels.
    """
    require_shape("depth", depth, "B", 1, "H", "W")
    batch, _, height, width = depth.shape
    require_image_size(height, width)
    require_shape("intrinsics", intrinsics, batch, 3, 3)
    require_shape("sources", sources, batch, "S", "C", height, width)
    require_shape("source_from_target", source_from_target, batch, sources.shape[1], 4, 4)
    require_shape("target", target, batch, sources.shape[2], height, width)
    matrices = projection((height, width), intrinsics[:, None].float(), source_from_target.float())
    return tuple(x.float().contiguous() for x in (sources, depth, matrices, target))  # type: ignore[return-value]
