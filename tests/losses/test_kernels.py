"""The kernels against the plain path: Numba's; Triton's in its interpreter, and compiled for GPUs that are not here."""

import importlib
import importlib.util
import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from warped_scenes import scene

from semdepth.geometry.rigid import pose_matrix
from semdepth.geometry.warp import synthesise
from semdepth.losses.kernels import warped_errors
from semdepth.losses.photometric import photometric_error, ssim_moments

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from semdepth.losses.gpu_kernels import BLOCK, EXACT, error_kernel, gradient_kernel, warp_kernel

for kernel, slopes in ((warp_kernel, False), (error_kernel, False), (error_kernel, True), (gradient_kernel, False)):
    fixed = {"CHANNELS": 3, "BLOCK": BLOCK, "SLOPES": slopes}
    names = [parameter.name for parameter in kernel.params]
    kinds = {n: "constexpr" if n in fixed else "i32" if n in ("height", "width", "count") else "*fp32" for n in names}
    source = ASTSource(kernel, kinds, {n: fixed[n] for n in names if n in fixed})
    for capability in (80, 90):
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=EXACT).asm
        assert made["cubin"]
        assert "fma." not in made["ptx"], "products joined with sums: equal images may no longer tie"
"""


def need_triton():
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed (it is to be had for Linux): its kernels go untested")


@pytest.fixture(scope="module", params=["cpu_kernels", "gpu_kernels"])
def kernels(request):
    """Give a module of kernels; Triton's are for its interpreter (``TRITON_INTERPRET`` is set in tests/conftest.py)."""
    if request.param == "gpu_kernels":
        need_triton()
    module = importlib.import_module(f"semdepth.losses.{request.param}")
    return SimpleNamespace(warped_errors=partial(warped_errors, module), errors_of=module.errors_of)


def plain(sources, depth, intrinsics, source_from_target, target):
    warped = [synthesise(sources[:, s], depth, intrinsics, source_from_target[:, s]) for s in range(sources.shape[1])]
    moments = ssim_moments(target)
    return torch.stack(warped, 1), torch.cat([photometric_error(image, moments) for image in warped], 1)


def outcome(path, dtype, sources, target, depth, intrinsics, poses):
    """Return warped images, errors, and the gradients of a weighted sum of the errors by depth and poses."""
    batch, count, _, *size = sources.shape
    depth, poses = (x.detach().to(dtype, copy=True).requires_grad_() for x in (depth, poses))
    motion = pose_matrix(poses[:, :3], poses[:, 3:]).unflatten(0, (batch, count))
    warped, errors = path(sources.to(dtype), depth, intrinsics.to(dtype), motion, target.to(dtype))
    weight = torch.rand(batch, count, *size, generator=torch.Generator().manual_seed(9))
    (errors * weight).sum().backward()
    return warped.detach(), errors.detach(), depth.grad, poses.grad


def otherwise_rounded(given, seed):
    """Return the same inputs, each number off by at most what rounding to single precision takes off."""
    generator = torch.Generator().manual_seed(seed)
    ulps = [2 * torch.rand(x.shape, generator=generator, dtype=torch.float64) - 1 for x in given]
    return [x.double() * (1 + 2**-24 * ulp) for x, ulp in zip(given, ulps, strict=True)]


def assert_as_exact_as_single_precision(kernels, *given):
    """Hold the kernels against what single precision makes of the plain path: in five roundings, since one may be lucky."""
    exact = outcome(plain, torch.float64, *given)
    singles = [outcome(plain, torch.float32, *otherwise_rounded(given, seed)) for seed in range(4)]
    singles.append(outcome(plain, torch.float32, *given))
    found = outcome(kernels.warped_errors, torch.float32, *given)
    for name, e, f, *roundings in zip(("warped", "errors", "by depth", "by pose"), exact, found, *singles, strict=True):
        of_kernels, *of_plain = (float((x.double() - e).abs().max()) for x in (f, *roundings))
        assert of_kernels <= 4 * max(of_plain) + 2e-6 * float(e.abs().max()), (name, of_kernels, of_plain)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 12))
@example(10_000, 5, 4)  # single precision as it comes is lucky here: other roundings are twice as far off
@settings(max_examples=8, deadline=None)
def test_same_images_errors_and_gradients_as_the_plain_path(kernels, seed, height, width):
    assert_as_exact_as_single_precision(kernels, *scene(seed, (height, width)))


def test_several_blocks_and_images(kernels):
    assert_as_exact_as_single_precision(kernels, *scene(1, (17, 31), batch=2))


def test_points_behind_the_camera_and_outside_the_image(kernels):
    sources, target, depth, camera, poses = scene(2, (8, 12))
    poses[0, 5] = -2.5  # a part of the points comes to lie behind
    poses[1, 3:5] = 40.0  # all are seen far outside
    warped, errors, by_depth, by_pose = outcome(
        kernels.warped_errors, torch.float32, sources, target, depth, camera, poses
    )
    assert all(x.isfinite().all() for x in (warped, errors, by_depth, by_pose))
    assert (by_pose[1] == 0).all()
    assert_as_exact_as_single_precision(kernels, sources, target, depth, camera, poses)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_finite_shows_and_reads_no_foreign_memory(kernels, wrong):
    sources, target, depth, camera, poses = scene(3, (6, 9))
    depth[0, 0, 2, 4] = wrong
    motion = pose_matrix(poses[:, :3], poses[:, 3:])[None]
    _, errors = kernels.warped_errors(sources, depth, camera, motion, target)
    assert errors[0, :, 2, 4].isnan().all()
    assert errors[0, :, 4:].isfinite().all()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_motion_that_is_not_finite_shows_in_the_gradient(kernels, wrong):
    """The auto-mask hides such errors; the gradient is what leaves the batch out."""
    sources, target, depth, camera, poses = scene(3, (6, 9))
    depth.requires_grad_()
    motion = pose_matrix(poses[:, :3], poses[:, 3:])[None].clone()
    motion[0, :, 0, 3] = wrong
    motion.requires_grad_()
    _, errors = kernels.warped_errors(sources, depth, camera, motion, target)
    errors.backward(torch.zeros_like(errors))
    assert depth.grad.isnan().any()
    assert motion.grad.isnan().any()


def test_equal_images_tie_to_the_last_bit_with_and_without_gradient(kernels):
    sources, target, *_ = scene(4, (7, 9))
    images, target = sources.float(), target.float()
    still, camera = torch.eye(4).expand(1, 2, 4, 4), torch.tensor([[[4.0, 0, 4], [0, 4.0, 3], [0, 0, 1]]])
    depth = torch.ones(1, 1, 7, 9, requires_grad=True)
    warped, errors = kernels.warped_errors(images, depth, camera, still, target)
    assert errors.requires_grad
    assert torch.equal(errors.detach(), kernels.errors_of(warped, target))
    assert float(kernels.errors_of(target[:, None], target).abs().max()) == 0


def test_wrong_shapes_are_refused(kernels):
    sources, target, depth, camera, poses = scene(5, (6, 9))
    motion = pose_matrix(poses[:, :3], poses[:, 3:])[None]
    with pytest.raises(ValueError, match="sources: expected shape"):
        kernels.warped_errors(sources, depth[..., :-1], camera, motion, target)
    with pytest.raises(ValueError, match="depth: expected shape"):
        kernels.warped_errors(sources, depth.expand(1, 2, 6, 9), camera, motion, target)
    with pytest.raises(ValueError, match="intrinsics: expected shape"):
        kernels.warped_errors(sources, depth, camera[0], motion, target)
    with pytest.raises(ValueError, match="target: expected shape"):
        kernels.warped_errors(sources, depth, camera, motion, target[..., :-1])
    with pytest.raises(ValueError, match="source_from_target: expected shape"):
        kernels.warped_errors(sources, depth, camera, motion[:, :1], target)
    with pytest.raises(ValueError, match="H and W of 2 or more, got 1 and 9"):
        kernels.warped_errors(sources[..., :1, :], depth[..., :1, :], camera, motion, target[..., :1, :])


@pytest.mark.slow
def test_they_compile_for_gpus():
    """Down to machine code, by Triton's own assembler: no GPU is needed for that."""
    need_triton()
    clean = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
