import numpy as np
import pytest

from semdepth.evaluation.flicker import flicker
from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.style import WorldConfig


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truth of two frames of a drive, its camera, and the motion between them."""
    world = render_drive(3, 2, 64, 128, config=WorldConfig(scene="simple", min_speed=9.0, anti_alias=False))
    poses = world.world_from_camera.double().numpy()
    depth = world.depth[:, 0].numpy()
    return depth[1], depth[0], world.intrinsics.numpy(), np.linalg.inv(poses[0]) @ poses[1]


def test_the_truth_does_not_flicker(pair) -> None:
    later, earlier, camera, motion = pair
    filled = [np.where(d > 0, d, 500) for d in (later, earlier)]
    assert flicker(*filled, later, earlier, camera, motion) < 0.01
    assert flicker(*filled, later, earlier, camera, np.eye(4)) != pytest.approx(0, abs=1e-3)


def test_a_constant_factor_does_not_flicker_and_a_jump_counts_its_logarithm(pair) -> None:
    later, earlier, camera, motion = pair
    one, other = (np.where(d > 0, d, 500) for d in (later, earlier))
    still = flicker(one, other, later, earlier, camera, motion)
    assert flicker(one * 7, other * 7, later, earlier, camera, motion) == pytest.approx(still, abs=1e-6)
    assert flicker(one * 1.3, other, later, earlier, camera, motion) == pytest.approx(np.log(1.3), abs=0.01)


def test_nothing_in_common_is_no_number(pair) -> None:
    later, earlier, camera, motion = pair
    assert np.isnan(flicker(later + 1, earlier + 1, later, earlier * 0, camera, motion))
