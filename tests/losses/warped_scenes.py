"""Images with a depth and motions, for the kernels."""

import torch
import torch.nn.functional as F


def scene(seed, size, sources=2, batch=1):
    """Return float64 sources, target, depth, intrinsics and the six numbers of every pose."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch * (sources + 1), 3, 4, 5, generator=g, dtype=torch.float64)
    images = F.interpolate(coarse, size, mode="bicubic").clamp(0, 1).unflatten(0, (batch, sources + 1))
    depth = 1.5 + 3 * torch.rand(batch, 1, *size, generator=g, dtype=torch.float64)
    height, width = size
    camera = torch.tensor([[0.8 * width, 0, 0.49 * width], [0, 1.5 * height, 0.48 * height], [0, 0, 1]])
    spread = torch.tensor([0.05, 0.05, 0.05, 0.3, 0.2, 1.0])
    poses = torch.randn(batch * sources, 6, generator=g, dtype=torch.float64) * spread
    return images[:, 1:].contiguous(), images[:, 0].contiguous(), depth, camera.double().expand(batch, 3, 3), poses
