"""A zoom changes pixels and intrinsics together, so that points in space stay where they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry.camera import back_project, crop_intrinsics, map_pixels, resize_intrinsics
from semdepth.geometry.zoom import resample, zoom_intrinsics, zoom_matrix

INTRINSICS = torch.tensor([[[50.0, 0.0, 23.5], [0.0, 48.0, 9.0], [0.0, 0.0, 1.0]]])
SIZE = (20, 48)
factors = st.floats(0.5, 2.0)
shares = st.floats(0.0, 1.0)


def zoom(factor: float, top: float = 0.0, left: float = 0.0) -> torch.Tensor:
    return zoom_matrix(*(torch.tensor([value]) for value in (factor, top, left)))


def test_is_a_resize_and_a_crop() -> None:
    expected = crop_intrinsics(resize_intrinsics(INTRINSICS, SIZE, (30, 72)), 4, 11)
    torch.testing.assert_close(zoom_intrinsics(INTRINSICS, zoom(1.5, 4, 11)), expected)


@settings(max_examples=30, deadline=None)
@given(factors, shares, shares)
def test_back_projected_points_stay(factor: float, down: float, right: float) -> None:
    matrix = zoom(factor, down * (factor - 1) * SIZE[0], right * (factor - 1) * SIZE[1])
    x, y = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="xy")
    # The plane's disparity is linear in the pixels, so that reading it between pixels is exact.
    disparity = (0.02 + 0.001 * x + 0.004 * y).float()[None, None]
    zoomed, inside = resample(disparity, matrix)
    there = map_pixels(matrix, SIZE)[0, :2]  # where each plain pixel is seen
    points = back_project(1 / disparity, INTRINSICS)
    again = back_project(1 / zoomed, zoom_intrinsics(INTRINSICS, matrix))
    # The zoomed image's point at an integer pixel lies on the plane of the plain image's points.
    a, b, c, d = plane_of(points)
    off = (a * again[0, 0] + b * again[0, 1] + c * again[0, 2] + d)[inside[0, 0]]
    assert off.abs().max() < 1e-3 * points.abs().max()
    ray = points[0, :, 7, 13] / points[0, 2, 7, 13]
    seen = zoom_intrinsics(INTRINSICS, matrix)[0] @ ray
    torch.testing.assert_close(seen[:2], there[:, 7, 13], rtol=0, atol=1e-3)


def plane_of(points: torch.Tensor) -> tuple[float, ...]:
    corners = points[0][:, [0, 0, -1], [0, -1, 0]].double()
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = normal / normal.norm()
    return (*normal.tolist(), -float(normal @ corners[:, 0]))


def test_nothing_changes_without_zoom() -> None:
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    for mode in ("bilinear", "nearest"):
        same, inside = resample(image, zoom(1.0), mode)
        torch.testing.assert_close(same, image, rtol=0, atol=1e-5)
        assert inside.all()


def test_zooming_in_and_out_shows_the_same_patch() -> None:
    labels = torch.arange(8.0).repeat_interleave(4).expand(1, 1, 6, 32)
    near, inside = resample(labels, zoom(2.0, 3, 16), "nearest")
    assert inside.all()
    assert near[0, 0, 0].tolist() == [2.0 + k // 8 for k in range(32)]
    far, inside = resample(labels, zoom(0.5, -2, -8), "nearest")
    assert inside[0, 0, 3].tolist() == [8 <= x < 24 for x in range(32)]
    assert far[0, 0, 3, 8:24].tolist() == [k // 2 for k in range(16)]
    assert inside[0, 0, :, 12].tolist() == [2 <= y < 5 for y in range(6)]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="zoom"):
        resample(torch.rand(2, 1, *SIZE), zoom(1.5))
    with pytest.raises(ValueError, match="intrinsics"):
        zoom_intrinsics(INTRINSICS[0], zoom(1.5))
