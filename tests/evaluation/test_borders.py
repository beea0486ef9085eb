import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.evaluation.borders import (
    border_density,
    boundary_errors,
    count_objects,
    depth_edges,
    distance_within,
    label_borders,
)

masks = st.builds(
    lambda seed, rows, columns, share: np.random.default_rng(seed).uniform(size=(rows, columns)) < share,
    st.integers(0, 10_000),
    st.integers(1, 14),
    st.integers(1, 14),
    st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(1, 12))
def test_distances_agree_with_the_obvious_way(mask: np.ndarray, reach: int) -> None:
    points = np.argwhere(mask)
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), axis=-1)
    all_distances = np.linalg.norm(cells[:, :, None] - points, axis=-1)
    nearest = all_distances.min(axis=-1, initial=np.inf)
    expected = np.where(nearest <= reach, nearest, np.inf)
    np.testing.assert_allclose(distance_within(mask, reach), expected, rtol=1e-6)


def flood(mask: np.ndarray, least: int) -> int:
    left, count = {tuple(p) for p in np.argwhere(mask).tolist()}, 0
    while left:
        todo, size = [left.pop()], 0
        while todo:
            y, x = todo.pop()
            size += 1
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in left:
                    left.remove(near)
                    todo.append(near)
        count += size >= least
    return count


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(1, 4))
def test_objects_agree_with_a_flood_fill(mask: np.ndarray, least: int) -> None:
    assert count_objects(mask, least) == flood(mask, least)


def test_a_spiral_is_one_object_and_specks_are_none() -> None:
    spiral = np.zeros((9, 9), dtype=bool)
    spiral[0, :] = spiral[:, 8] = spiral[8, :] = True
    spiral[2:9, 0] = spiral[2, :7] = spiral[2:7, 6] = spiral[6, 2:7] = True
    assert count_objects(spiral) == flood(spiral, 20) == 1
    specks = np.zeros((30, 30), dtype=bool)
    specks[::3, ::3] = True
    assert count_objects(specks) == 0


def test_label_borders_lie_on_both_sides_and_ignore_makes_none() -> None:
    labels = np.array([[1, 1, 2, 2, 255, 3]] * 2)
    np.testing.assert_array_equal(label_borders(labels), [[False, True, True, False, False, False]] * 2)
    assert border_density(labels) == pytest.approx(4 / 10)
    assert np.isnan(border_density(np.full((2, 2), 255)))


def step(ratio: float, column: int = 20, blur: int = 0) -> np.ndarray:
    depth = np.full((30, 40), 10.0)
    depth[:, column:] *= ratio
    for _ in range(blur):
        padded = np.pad(depth, ((0, 0), (1, 1)), mode="edge")
        depth = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    return depth


def test_a_step_is_an_edge_one_pixel_wide_from_the_ratio_on() -> None:
    edges = depth_edges(step(1.3))
    np.testing.assert_array_equal(edges.sum(axis=1), 1)
    assert set(np.nonzero(edges)[1]) <= {19, 20}
    assert not depth_edges(step(1.2)).any()
    assert depth_edges(step(1.2), ratio=1.1).any()
    np.testing.assert_array_equal(depth_edges(step(1.3) * 17), edges, err_msg="edges do not depend on the scale")


def test_a_blurred_step_needs_to_be_larger() -> None:
    assert not depth_edges(step(1.3, blur=12)).any()
    assert depth_edges(step(4, blur=12)).any()


def test_a_slanted_road_has_no_edges() -> None:
    rows = np.arange(60.0)[:, None] + np.zeros((60, 80))
    road = 1.65 * 100 / (rows + 3)
    assert not depth_edges(road)[:, 1:-1].any()


def test_depth_edges_refuse_holes_and_odd_ratios() -> None:
    with pytest.raises(ValueError, match="dense"):
        depth_edges(np.zeros((5, 5)))
    with pytest.raises(ValueError, match="ratio"):
        depth_edges(np.ones((5, 5)), ratio=1.0)


def test_boundary_errors_by_hand() -> None:
    true, shifted, far = (np.zeros((10, 40), dtype=bool) for _ in range(3))
    true[:, 10] = shifted[:, 13] = far[:, 35] = True
    assert boundary_errors(true, true) == (0.0, 0.0)
    assert boundary_errors(true, shifted) == (3.0, 3.0)
    assert boundary_errors(true, far) == (10.0, 10.0)
    assert boundary_errors(true, true | far) == (0.0, 0.0), "what is far from any true edge is no match"
    half = true.copy()
    half[5:] = False
    accuracy, completeness = boundary_errors(true, half)
    assert accuracy == 0
    assert completeness == pytest.approx((1 + 2 + 3 + 4 + 5) / 10)
    assert np.isnan(boundary_errors(np.zeros_like(true), true)).all()
    assert boundary_errors(true, np.zeros_like(true)) == (10.0, 10.0)
