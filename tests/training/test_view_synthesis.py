import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semdepth.data.transforms import to_unit_range
from semdepth.models.network import NetworkConfig
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.view_synthesis import view_synthesis

from .conftest import Wall


def test_agrees_with_the_published_loss(shared: Path) -> None:
    numbers = np.load(shared / "reference" / "view_synthesis.npz")
    tensor = {k: torch.from_numpy(numbers[k]) for k in numbers.files}
    batch = FrameBatch(
        names=("a", "b"),
        target=tensor["target"],
        sources=torch.stack([tensor["source0"], tensor["source1"]], dim=1),
        offsets=(-1, 1),
        intrinsics=tensor["K"][:, :3, :3],
    )
    motion = torch.stack([tensor["T"][:2], tensor["T"][2:]], dim=1)
    sigmas = tuple(tensor[f"disp{k}"] for k in range(4))
    views = view_synthesis(batch, sigmas, motion, ObjectiveConfig(), (0.1, 100.0))
    total = views.photometric + 1e-3 * views.smooth
    assert float(total) == pytest.approx(float(tensor["total_loss"]), abs=1e-5)


@pytest.mark.parametrize("full_resolution", [True, False])
def test_a_car_that_keeps_our_speed_no_longer_pulls_at_depth(
    small_network: NetworkConfig, full_resolution: bool
) -> None:
    """Its pixels are the same in all frames, but for a little noise, as a sensor gives it: the auto-mask lets some pass."""
    wall = Wall(labels=True)
    batch = to_unit_range(stack_frames([wall[0], wall[1]]))
    assert batch.labels is not None
    noise = 0.01 * torch.randn(batch.sources.shape, generator=torch.Generator().manual_seed(0))
    car = (batch.labels == 13)[:, None, None]
    sources = torch.where(car, batch.target[:, None] + noise, batch.sources)
    batch = replace(batch, sources=sources.clamp(0, 1))
    sure = car[:, 0, 0] & torch.nn.functional.avg_pool2d(car[:, 0].float(), 9, 1, 4)[:, 0].eq(1)

    def pull(**config: object) -> torch.Tensor:
        torch.manual_seed(0)
        learner = Learner(small_network, ObjectiveConfig(full_resolution=full_resolution, **config))  # type: ignore[arg-type]
        sigma = learner.depth(batch.target).disparity[0].detach().requires_grad_()
        motion = learner.motion(batch).detach()
        view_synthesis(batch, (sigma,), motion, learner.config, learner.depth_range).photometric.backward()
        gradient = sigma.grad
        assert gradient is not None
        return gradient[:, 0]

    assert pull()[sure].abs().sum() > 0
    masked = pull(motion_mask="moving")
    assert masked[sure].abs().sum() == 0
    assert masked[~car[:, 0, 0]].abs().sum() > 0


@pytest.mark.parametrize("full_resolution", [True, False])
@pytest.mark.parametrize("compiler", ["numba", "triton"])
def test_kernels_give_the_same_loss_and_gradient(compiler: str, full_resolution: bool) -> None:
    if importlib.util.find_spec(compiler) is None:
        pytest.skip(f"{compiler} is not installed (Triton is to be had for Linux): its kernels go untested")
    g = torch.Generator().manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(3, 3, 4, 6, generator=g), (16, 24), mode="bicubic").clamp(0, 1)
    camera = torch.tensor([[[20.0, 0, 11.5], [0, 20.0, 7.5], [0, 0, 1]]])
    batch = FrameBatch(("a",), images[:1], images[None, 1:], (-1, 1), camera)
    found = []
    for kernels in ("torch", compiler):
        sigmas = [torch.rand(1, 1, 16 >> k, 24 >> k, generator=g.manual_seed(k)).requires_grad_() for k in range(3)]
        motion = torch.eye(4).repeat(1, 2, 1, 1)
        motion[:, :, :3, 3] = torch.tensor([[0.05, 0.0, -0.3], [0.0, 0.02, 0.3]])
        motion.requires_grad_()
        config = ObjectiveConfig(full_resolution=full_resolution, kernels=kernels)  # type: ignore[arg-type]
        views = view_synthesis(batch, tuple(sigmas), motion, config, (0.1, 10.0))
        (views.photometric + 1e-3 * views.smooth).backward()
        gradients = [x.grad for x in (*sigmas, motion)]
        found.append((views.photometric.detach(), views.warped, views.error, *gradients))
    for plain, fused in zip(*found, strict=True):
        assert plain is not None
        assert fused is not None
        torch.testing.assert_close(fused, plain, atol=3e-6, rtol=2e-5)
