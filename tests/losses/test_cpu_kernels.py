"""What is the CPU kernels' own: threads, constants, a full disk. Their numbers: ``test_kernels``."""

import os
import subprocess
import sys

import pytest
import torch
from warped_scenes import scene

from semdepth.geometry.rigid import pose_matrix
from semdepth.losses import cpu_kernels
from semdepth.losses.kernels import kernels_for, warped_errors

COMPARE = """
import resource, torch
from semdepth.losses import cpu_kernels
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as on a full disk: files can be opened, and nothing written
print(float(cpu_kernels.errors_of(torch.zeros(1, 1, 3, 4, 5), torch.ones(1, 3, 4, 5)).mean()))
"""


def outcome():
    sources, target, depth, camera, poses = (x.float() for x in scene(6, (17, 31), batch=2))
    motion = pose_matrix(poses[:, :3], poses[:, 3:]).unflatten(0, (2, 2)).requires_grad_()
    depth.requires_grad_()
    warped, errors = warped_errors(cpu_kernels, sources, depth, camera, motion, target)
    errors.square().sum().backward()
    return warped, errors.detach(), depth.grad, motion.grad


@pytest.mark.parametrize("threads", [2, 5, 68])
def test_threads_that_share_an_image_change_no_bit(threads, monkeypatch):
    alone = outcome()
    monkeypatch.setattr(cpu_kernels, "_FEWEST_ROWS", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert len(cpu_kernels.spans(68, cpu_kernels._FEWEST_ROWS)) == threads
    warped, errors, by_depth, by_motion = outcome()
    assert torch.equal(warped, alone[0])
    assert torch.equal(errors, alone[1])
    assert torch.equal(by_depth, alone[2])
    assert float((by_motion - alone[3]).abs().max() / alone[3].abs().max()) < 1e-6  # sums in another order


def test_a_changed_constant_shows(monkeypatch):
    """What is compiled is kept from run to run: a constant in it would stay what it was."""
    before = outcome()[1]
    c1, _, share = cpu_kernels._OF_SSIM
    monkeypatch.setattr(cpu_kernels, "_OF_SSIM", (c1, cpu_kernels.np.float32(0.04**2), share))
    assert not torch.equal(outcome()[1], before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files by Linux's means")
def test_a_full_disk_does_not_stop_a_run(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", COMPARE],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) == pytest.approx(0.15 + 0.85 * 0.5, abs=1e-3)
    assert not any(path.stat().st_size for path in tmp_path.rglob("*.nb*"))


def test_other_types_and_a_missing_compiler_leave_it_to_torch(monkeypatch):
    image = torch.zeros(1, 3, 4, 5)
    assert kernels_for("auto", image) is cpu_kernels
    assert kernels_for("torch", image) is None
    assert kernels_for("auto", image.double()) is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert kernels_for("auto", image) is None
