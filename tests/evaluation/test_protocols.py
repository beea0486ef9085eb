from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.evaluation.protocols import (
    Protocol,
    cityscapes,
    depth_from_disparity,
    flip_post_process,
    garg_crop,
    kitti_eigen,
    kitti_improved,
    make3d,
    resize_disparity,
    synthetic,
)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "reference" / "evaluation.npz") as file:
        return dict(file)


def test_kitti_eigen_agrees_with_the_published_numbers(golden: dict[str, np.ndarray]) -> None:
    judgement = kitti_eigen(golden["gt"], golden["pred"])
    assert garg_crop(*golden["gt"].shape) == tuple(golden["garg_crop"])
    assert judgement.pixels == int(golden["n"])
    assert judgement.ratio == pytest.approx(float(golden["ratio"]), rel=1e-5)
    np.testing.assert_allclose(astuple(judgement.errors), golden["errors"], atol=1e-5)


def test_flip_post_process_agrees_with_the_published_numbers(golden: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(flip_post_process(golden["pp_left"], golden["pp_right"]), golden["pp_out"], atol=1e-7)


def test_flip_post_process_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="differ"):
        flip_post_process(np.ones((2, 4)), np.ones((2, 5)))


def draw(seed: int, low: float = 1.0, high: float = 70.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(low, high, (20, 30)) * (rng.uniform(size=(20, 30)) < 0.5)
    return truth, rng.uniform(0.1, 100, (20, 30))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1e-3, 1e3))
def test_median_scaling_makes_the_errors_blind_to_scale(seed: int, factor: float) -> None:
    truth, prediction = draw(seed)
    once, twice = synthetic(truth, prediction), synthetic(truth, prediction * factor)
    np.testing.assert_allclose(astuple(once.errors), astuple(twice.errors), rtol=1e-9)
    assert twice.ratio == pytest.approx(once.ratio / factor)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 100))
def test_a_prediction_right_up_to_scale_is_perfect(seed: int, factor: float) -> None:
    truth, _ = draw(seed)
    filled = np.where(truth > 0, truth, 5.0) * factor
    judgement = synthetic(truth, filled)
    np.testing.assert_allclose(astuple(judgement.errors), [0, 0, 0, 0, 1, 1, 1], atol=1e-9)
    assert judgement.ratio == pytest.approx(1 / factor)
    assert judgement.pixels == (truth > 0).sum()


def test_without_median_scaling_the_scale_counts() -> None:
    truth = np.full((10, 10), 10.0)
    metric = replace(synthetic, median_scaling=False)
    judgement = metric(truth, truth * 2)
    assert judgement.errors.abs_rel == pytest.approx(1.0)
    assert judgement.ratio == pytest.approx(0.5)


def test_crop_and_caps_decide_which_pixels_are_judged() -> None:
    truth = np.full((100, 100), 10.0)
    truth[50, 50], truth[51, 50], truth[52, 50], truth[53, 50] = 0.0, 1e-4, 90.0, 80.0
    assert kitti_eigen.judged(truth).sum() == (99 - 40) * (96 - 3) - 4
    assert synthetic.judged(truth).sum() == 10_000 - 4
    assert kitti_improved.judged(truth).sum() == 10_000 - 2


def test_predictions_are_capped_after_scaling() -> None:
    truth = np.array([[10.0, 10.0, 10.0, 79.0]])
    aligned = synthetic.align(truth, np.array([[1.0, 1.0, 1.0, 1000.0]]))
    np.testing.assert_allclose(aligned.prediction, [[10, 10, 10, 80]])


def test_cityscapes_judges_the_middle_above_the_bonnet() -> None:
    """Watson et al. 2021: of the 768×2048 that are left, [256:, 192:1856]; the same share at other sizes."""
    assert cityscapes.crop is not None
    assert cityscapes.crop(768, 2048) == (256, 768, 192, 1856)
    assert cityscapes.crop(48, 128) == (16, 48, 12, 116)
    truth = np.full((48, 128), 10.0)
    truth[20, 20], truth[21, 20] = 80.0, 0.0
    assert cityscapes.judged(truth).sum() == 32 * 104 - 2


def test_make3d_judges_nearer_than_70_m_and_caps_there() -> None:
    truth = np.array([[10.0, 10.0, 10.0, 69.0, 70.0, 81.0, 0.0]])
    assert make3d.judged(truth).tolist() == [[True] * 4 + [False] * 3]
    aligned = make3d.align(truth, np.array([[1.0, 1.0, 1.0, 100.0, 1.0, 1.0, 1.0]]))
    assert aligned.prediction[0, 3] == 70.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_refuses_predictions_that_are_no_depths(bad: float) -> None:
    truth, prediction = np.full((4, 4), 5.0), np.full((4, 4), 5.0)
    prediction[1, 1] = bad
    with pytest.raises(ValueError, match="not finite or not positive"):
        synthetic(truth, prediction)
    truth[1, 1] = 0.0  # nobody looks there
    assert synthetic(truth, prediction).errors.abs_rel == 0


def test_refuses_what_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match="no valid pixel"):
        synthetic(np.zeros((4, 4)), np.ones((4, 4)))
    with pytest.raises(ValueError, match="differ in size"):
        synthetic(np.ones((4, 4)), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        synthetic(np.ones((1, 4, 4)), np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="min_depth"):
        Protocol("backwards", min_depth=80, max_depth=1)


def test_disparity_is_resized_over_pixel_areas_and_inverted() -> None:
    disparity = torch.tensor([[1.0, 3.0]])
    np.testing.assert_allclose(resize_disparity(disparity, 1, 4), [[1.0, 1.5, 2.5, 3.0]])
    np.testing.assert_allclose(depth_from_disparity(disparity, 1, 4), [[1.0, 1 / 1.5, 0.4, 1 / 3]], rtol=1e-6)
    with pytest.raises(ValueError, match=r"\(h, w\)"):
        resize_disparity(torch.ones(1, 1, 2, 2), 4, 4)
