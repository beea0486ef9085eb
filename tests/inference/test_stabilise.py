from itertools import pairwise

import numpy as np
import pytest
from clips import wall

from semdepth.inference.stabilise import Stabiliser, fit_scale_and_shift
from semdepth.runtime import InputError
from semdepth.structures import Prediction

GROUND = np.broadcast_to(60 / np.linspace(1, 12, 96)[:, None], (96, 160)).astype(np.float32)


def prediction(depth: np.ndarray) -> Prediction:
    return Prediction(depth.astype(np.float32), (1 / depth).astype(np.float32))


def jumps(depths: list[np.ndarray]) -> float:
    return float(np.mean([np.abs(np.log(b / a)).mean() for a, b in pairwise(depths)]))


def test_scale_and_noise_are_evened_out_in_a_still_scene() -> None:
    random, picture = np.random.default_rng(0), wall([0])[0]
    for given in (
        [GROUND * scale for scale in np.exp(random.normal(0, 0.1, 12))],
        [GROUND * np.exp(random.normal(0, 0.05, GROUND.shape)) for _ in range(12)],
    ):
        steady = Stabiliser()
        found = [steady(picture, prediction(depth)) for depth in given]
        assert jumps([p.depth for p in found]) < 0.6 * jumps(given)
        errors = [np.abs(np.log(depths[-1] / GROUND)).mean() for depths in (given, [p.depth for p in found])]
        assert errors[1] < errors[0] + 0.03
        np.testing.assert_allclose(found[-1].disparity * found[-1].depth, 1, rtol=1e-5)


def test_driving_on_is_no_flicker_and_stays_as_it_is() -> None:
    """A wall that comes nearer by a metre a frame: the past must not hold it back."""
    steady, picture = Stabiliser(), wall([0])[0]
    for k in range(10):
        depth = GROUND + 20 - k
        found = steady(picture, prediction(depth)).depth
        np.testing.assert_allclose(found, depth, rtol=0.02)


def test_the_past_follows_the_flow() -> None:
    """Noise is on the picture's texture, which slides: only along the flow does the mean take it off."""
    random = np.random.default_rng(0)
    shape = np.exp(0.3 * np.sin(np.arange(300) / 12))
    steady, errors = Stabiliser(), []
    for k, picture in enumerate(wall(range(0, 60, 4))):
        truth = np.broadcast_to(10 * shape[4 * k : 4 * k + 160], (96, 160))
        noisy = truth * np.exp(random.normal(0, 0.05, truth.shape))
        found = steady(picture, prediction(noisy)).depth
        errors.append([np.abs(np.log(d / truth))[:, :140].mean() for d in (noisy, found)])
    before, after = np.mean(errors[5:], axis=0)
    assert after < 0.8 * before


def test_a_cut_or_another_size_starts_anew() -> None:
    steady = Stabiliser()
    steady(wall([0], seed=0)[0], prediction(GROUND))
    after_cut = steady(wall([0], seed=9)[0], prediction(GROUND * 3))
    np.testing.assert_array_equal(after_cut.depth, prediction(GROUND * 3).depth)
    other = steady(np.zeros((40, 50, 3), dtype=np.uint8), prediction(np.ones((40, 50))))
    np.testing.assert_array_equal(other.depth, 1)


def test_scale_and_shift_are_found_among_outliers() -> None:
    random = np.random.default_rng(0)
    depth = random.uniform(3, 60, (96, 160)).astype(np.float32)
    before = 1.2 * depth + 1.5
    before[:30] = random.uniform(3, 60, (30, 160))
    scale, shift = fit_scale_and_shift(depth, before, np.ones_like(depth), stay=0)
    assert scale == pytest.approx(1.2, abs=0.01)
    assert shift == pytest.approx(1.5, abs=0.1)
    assert fit_scale_and_shift(depth, before, np.zeros_like(depth)) == (1, 0)


def test_a_memory_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match="memory 1"):
        Stabiliser(1)
