"""Shifts that were made are found, to a fraction of a pixel, and a turn of the camera is such a shift."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semdepth.geometry.rigid import axis_angle_to_matrix
from semdepth.geometry.shift import REACH, picture_shift
from semdepth.geometry.warp import synthesise


def texture(batch: int, height: int, width: int) -> Tensor:
    """Return smooth random pictures, larger by 32 pixels on each side."""
    noise = torch.rand(batch, 3, height + 64, width + 64, generator=torch.Generator().manual_seed(3))
    return F.avg_pool2d(noise, 3, stride=1, padding=1)


@settings(max_examples=15, deadline=None)
@given(x=st.integers(-20, 20), y=st.integers(-12, 12))
def test_whole_pixels_are_found_exactly_whatever_the_brightness(x: int, y: int) -> None:
    wide = texture(2, 64, 128)
    first = wide[:, :, 32:96, 32:160]
    second = wide[:, :, 32 - y : 96 - y, 32 - x : 160 - x]
    found = picture_shift(first, 0.5 * second + 0.2)
    assert torch.allclose(found, torch.tensor([float(x), float(y)]).expand(2, 2), atol=0.15)
    assert torch.allclose(picture_shift(second, first), -found, atol=0.1)


@pytest.mark.parametrize("yaw_deg", [-3.0, -0.7, 0.0, 1.2, 3.0])
def test_a_turn_shifts_the_middle_by_focal_length_times_angle(yaw_deg: float) -> None:
    camera = torch.tensor([[[100.0, 0, 95.5], [0, 110.0, 31.5], [0, 0, 1]]])
    yaw, pitch = math.radians(yaw_deg), math.radians(0.8)
    source_from_target = torch.eye(4)[None].clone()
    source_from_target[:, :3, :3] = axis_angle_to_matrix(torch.tensor([[pitch, yaw, 0.0]]))
    source = texture(1, 64, 192)[:, :, 32:96, 32:224]
    target = synthesise(source, torch.ones(1, 1, 64, 192), camera, source_from_target)
    expected = torch.tensor([[100.0 * yaw, -110.0 * pitch]])
    assert torch.allclose(picture_shift(target, source), expected, atol=0.4)


def test_what_shows_nothing_does_not_move() -> None:
    flat = torch.full((2, 3, 32, 64), 0.4)
    assert picture_shift(flat, flat).abs().max() < 1e-3
    assert torch.equal(picture_shift(torch.zeros_like(flat), torch.zeros_like(flat)), torch.zeros(2, 2))
    still = texture(1, 32, 64)
    assert picture_shift(still, still).abs().max() < 1e-3
    assert picture_shift(torch.rand(1, 3, 32, 64), torch.rand(1, 3, 32, 64)).abs().max() <= REACH * 64 + 0.5
    tiny = torch.rand(1, 1, 4, 4)
    assert torch.isfinite(picture_shift(tiny, tiny)).all()


def test_pictures_must_agree_in_shape() -> None:
    with pytest.raises(ValueError, match="second"):
        picture_shift(torch.rand(1, 3, 32, 64), torch.rand(1, 3, 32, 60))
