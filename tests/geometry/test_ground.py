"""The road's plane: exact on planes, equivariant to scale, robust to what labels and depth get wrong."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.geometry.camera import intrinsics_from_fov, invert_intrinsics, map_pixels
from semdepth.geometry.ground import GroundPlaneConfig, ScaleFilter, fit_ground_plane
from semdepth.runtime import InputError
from semdepth.synthetic.drive import render_drive, world_seed
from semdepth.synthetic.label_noise import corrupt_labels

SIZE = (60, 160)
K = intrinsics_from_fov(80.0, SIZE)


def road(height: float = 1.65, pitch: float = 0.0, roll: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth of an endless plane below a camera that looks ``pitch`` down and is rolled clockwise; labels: 0 or sky."""
    down = [math.sin(roll) * math.cos(pitch), math.cos(roll) * math.cos(pitch), math.sin(pitch)]
    rays = map_pixels(invert_intrinsics(K[None].double()), SIZE)[0]
    slope = (rays * torch.tensor(down, dtype=torch.float64)[:, None, None]).sum(0)
    seen = slope > 0.02
    return torch.where(seen, height / slope, 0.0), torch.where(seen, 0, 10).byte()


@settings(max_examples=8, deadline=None)
@given(st.floats(0.3, 5), st.floats(-0.15, 0.15), st.floats(-0.2, 0.2), st.floats(1e-3, 1e3))
def test_any_camera_in_any_unit(height: float, pitch: float, roll: float, unit: float) -> None:
    depth, labels = road(height, pitch, roll)
    plane = fit_ground_plane(depth * unit, labels, K)
    assert plane.reason is None
    assert plane.height == pytest.approx(height * unit, rel=1e-6)
    assert plane.scale(height) == pytest.approx(1 / unit, rel=1e-6)
    assert plane.pitch_deg == pytest.approx(math.degrees(pitch), abs=1e-4)
    assert plane.roll_deg == pytest.approx(math.degrees(roll), abs=1e-4)
    assert plane.inliers == 1.0


def noisy_road(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A fifth of the road is something else that stands on it, and depth errs by 3 %."""
    depth, labels = road(pitch=0.02)
    depth = depth * (1 + 0.03 * torch.randn(SIZE, generator=generator, dtype=torch.float64))
    wrong = torch.rand(SIZE, generator=generator) < 0.2
    return torch.where(wrong, depth * torch.rand(SIZE, generator=generator, dtype=torch.float64), depth), labels


def test_wrong_labels_and_wrong_depth(generator: torch.Generator) -> None:
    depth, labels = noisy_road(generator)
    plane = fit_ground_plane(depth, labels, K)
    assert plane.height == pytest.approx(1.65, rel=0.01)
    assert plane.pitch_deg == pytest.approx(math.degrees(0.02), abs=0.5)
    assert 0.5 < plane.inliers < 0.9


def test_the_same_input_gives_the_same_plane_and_the_unit_changes_nothing(generator: torch.Generator) -> None:
    depth, labels = noisy_road(generator)
    first, again, scaled = (fit_ground_plane(depth * unit, labels, K) for unit in (1, 1, 64))
    assert again.height == pytest.approx(first.height, rel=1e-9)
    assert again.normal == pytest.approx(first.normal, abs=1e-9)
    assert scaled.height == pytest.approx(64 * first.height, rel=1e-9)
    assert first.inliers == again.inliers == scaled.inliers


def test_rendered_drives_exact_and_noisy() -> None:
    for index in range(2):
        drive = render_drive(world_seed("test", index), 2, 64, 208)
        noisy, _ = corrupt_labels(drive.labels, index, instances=drive.instances)
        for k in range(2):
            height = -float(drive.world_from_camera[k, 1, 3])
            for labels in (drive.labels[k], noisy[k]):
                plane = fit_ground_plane(0.03 * drive.depth[k, 0], labels, drive.intrinsics)
                assert plane.height == pytest.approx(0.03 * height, rel=0.02)


def test_only_near_road_counts() -> None:
    """Far away the road climbs; near by it is flat."""
    depth, labels = road()
    far = depth > 8 * depth[labels == 0].min()
    bent = torch.where(far, depth * 0.7, depth)
    assert fit_ground_plane(bent, labels, K).inliers == 1.0


@pytest.mark.parametrize("kind", ["no road", "no depth", "wall", "clutter"])
def test_no_plane_says_why(kind: str, generator: torch.Generator) -> None:
    depth, labels = road()
    says = "pixels of near road"
    if kind == "no road":
        labels = torch.full_like(labels, 255)
    elif kind == "no depth":
        depth = torch.full_like(depth, math.nan)
    elif kind == "wall":
        depth, says = torch.full_like(depth, 7.0), "level"
    else:
        depth, says = torch.rand(SIZE, generator=generator, dtype=torch.float64) * 3 + 1, "level|one plane"
    plane = fit_ground_plane(depth, labels, K)
    assert plane.reason is not None
    assert re.search(says, plane.reason)
    assert all(math.isnan(v) for v in (*plane.normal, plane.height, plane.scale(1.65), plane.pitch_deg, plane.roll_deg))


def test_bad_input() -> None:
    depth, labels = road()
    with pytest.raises(ValueError, match="labels"):
        fit_ground_plane(depth, labels[:-1], K)
    with pytest.raises(ValueError, match="intrinsics"):
        fit_ground_plane(depth, labels, K[None])
    for wrong in (0.0, -1.0, math.nan, math.inf, 1e300):
        with pytest.raises(InputError, match="camera height"):
            fit_ground_plane(depth, labels, K).scale(wrong)
    for options in ({"labels": ()}, {"reach": 1.0}, {"tolerance": 0.0}, {"min_points": 2}, {"hypotheses": 0}):
        with pytest.raises(InputError, match="ground plane"):
            GroundPlaneConfig(**options)


def test_the_filter_takes_the_median_of_the_past() -> None:
    kept = ScaleFilter(3)
    given_scales = [math.nan, 1.0, 9.0, math.nan, 2.0, 3.0, 3.0]
    found = [kept(scale) for scale in given_scales]
    assert math.isnan(found[0])
    assert found[1:] == [1.0, 5.0, 5.0, 2.0, 3.0, 3.0]
    with pytest.raises(ValueError, match="window"):
        ScaleFilter(0)
