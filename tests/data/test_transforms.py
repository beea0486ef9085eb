import colorsys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.data.transforms import AugmentConfig, augment, colour_matrix, flip, random_zoom, to_unit_range, zoom
from semdepth.geometry.camera import back_project
from semdepth.geometry.rigid import pose_matrix
from semdepth.geometry.zoom import resample, zoom_matrix
from semdepth.labels import IGNORE
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch

GREY = torch.tensor([0.299, 0.587, 0.114])


def make_batch(size: int = 4, seed: int = 0) -> FrameBatch:
    g = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=g)

    return FrameBatch(
        names=tuple(f"drive/{i}/l" for i in range(size)),
        target=rand(size, 3, 6, 10),
        sources=rand(size, 2, 3, 6, 10),
        offsets=(-1, 1),
        intrinsics=torch.tensor([[8.0, 0.0, 4.0], [0.0, 8.0, 2.5], [0.0, 0.0, 1.0]]).repeat(size, 1, 1),
        labels=(rand(size, 6, 10) * 19).byte(),
        confidence=rand(size, 6, 10),
        depth=rand(size, 1, 6, 10) * 20,
        source_from_target=pose_matrix(rand(size * 2, 3), rand(size * 2, 3)).view(size, 2, 4, 4),
    )


def assert_same(a: FrameBatch, b: FrameBatch, tolerance: float = 0.0) -> None:
    for f in fields(FrameBatch):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, torch.Tensor):
            torch.testing.assert_close(x, y, rtol=0.0, atol=tolerance)
        else:
            assert x == y, f.name


def rows(batch: FrameBatch, index: list[int]) -> FrameBatch:
    tensors = {f.name: v[index] for f in fields(batch) if isinstance(v := getattr(batch, f.name), torch.Tensor)}
    return replace(batch, names=tuple(batch.names[i] for i in index), **tensors)


def test_unit_range():
    batch = replace(make_batch(), target=torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8))
    batch = replace(batch, confidence=torch.tensor([[[0, 255]]], dtype=torch.uint8))
    unit = to_unit_range(batch)
    torch.testing.assert_close(unit.target, torch.tensor([[[[0.0, 0.2, 1.0]]]]))
    assert unit.confidence.tolist() == [[[0.0, 1.0]]]
    assert unit.sources is batch.sources, "what is float already stays"
    assert unit.labels.dtype == torch.uint8


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_flipping_twice_gives_the_batch_back(chosen):
    batch = make_batch()
    assert_same(flip(flip(batch, torch.tensor(chosen)), torch.tensor(chosen)), batch)


def test_flip_changes_chosen_samples_only():
    batch = make_batch()
    flipped = flip(batch, torch.tensor([True, False, False, True]))
    assert_same(rows(flipped, [1, 2]), rows(batch, [1, 2]))
    for name in ("target", "sources", "labels", "confidence", "depth"):
        assert torch.equal(getattr(flipped, name)[0], getattr(batch, name)[0].flip(-1)), name
    assert flipped.intrinsics[0, 0, 2] == 10 - 1 - 4


def test_flip_keeps_the_geometry():
    """A point seen at pixel p of target and q of source is seen at the mirrored pixels after the flip."""
    batch = make_batch(1)
    flipped = flip(batch, torch.tensor([True]))
    point = torch.tensor([0.3, -0.2, 5.0, 1.0])
    mirrored = point * torch.tensor([-1.0, 1.0, 1.0, 1.0])

    def pixel(frames: FrameBatch, p: torch.Tensor) -> torch.Tensor:
        q = frames.intrinsics[0] @ p[:3]
        return q[:2] / q[2]

    for a, b in (
        (point, mirrored),
        *(
            (m @ point, n @ mirrored)
            for m, n in zip(batch.source_from_target[0], flipped.source_from_target[0], strict=True)
        ),
    ):
        x, y = pixel(batch, a).tolist()
        assert pixel(flipped, b).tolist() == pytest.approx([9 - x, y], abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 0.5))
def test_jitter_keeps_the_range_and_the_clean_images(seed, strength, hue):
    batch = make_batch()
    config = AugmentConfig(0.0, 1.0, strength, strength, strength, hue)
    seen = augment(batch, torch.Generator().manual_seed(seed), config)
    assert_same(replace(seen, seen_target=None, seen_sources=None), batch)
    for images in (seen.seen_target, seen.seen_sources):
        assert images.min() >= 0.0
        assert images.max() <= 1.0
    assert seen.seen_sources.shape == batch.sources.shape


def test_a_triplet_has_one_colour_change(generator):
    batch = make_batch()
    batch = replace(batch, sources=batch.target[:, None].repeat(1, 2, 1, 1, 1))
    seen = augment(batch, generator, AugmentConfig(flip=0.5, jitter=1.0))
    for s in range(2):
        assert torch.equal(seen.seen_sources[:, s], seen.seen_target)
    change = (seen.seen_target - seen.target).flatten(1).abs().mean(1)
    assert len({round(c, 6) for c in change.tolist()}) == 4, "every sample has its own"
    assert (change > 1e-3).all()


def test_samples_without_jitter_are_untouched(generator):
    batch = make_batch(64)
    seen = augment(batch, generator, AugmentConfig())
    changed = (seen.seen_target != seen.target).flatten(1).any(1)
    flipped = (seen.target != batch.target).flatten(1).any(1)
    assert 16 < int(changed.sum()) < 48
    assert 16 < int(flipped.sum()) < 48
    assert 4 < int((changed & flipped).sum()) < 28, "flip and jitter are independent"
    off = augment(batch, generator, AugmentConfig(flip=0.0, jitter=0.0))
    assert_same(off, batch)


def test_augment_follows_its_generator_and_its_row_alone():
    batch = make_batch(6)
    run = lambda b, seed: augment(b, torch.Generator().manual_seed(seed), AugmentConfig())  # noqa: E731
    assert_same(run(batch, 1), run(batch, 1))
    assert not torch.equal(run(batch, 1).seen_target, run(batch, 2).seen_target)
    torch.rand(3)  # the global generator has no say
    mates = rows(batch, [0, 1, 2, 5, 5, 5])
    assert_same(rows(run(mates, 1), [0, 1, 2]), rows(run(batch, 1), [0, 1, 2]))
    assert_same(run(rows(batch, [0, 1]), 1), rows(run(batch, 1), [0, 1]), tolerance=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_augment_is_the_same_on_a_gpu():
    batch, config = make_batch(), AugmentConfig(jitter=1.0)
    there = augment(batch.to("cuda"), torch.Generator().manual_seed(1), config)
    assert there.target.is_cuda
    assert_same(there.to("cpu"), augment(batch, torch.Generator().manual_seed(1), config), tolerance=1e-5)


def colours(matrix: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    return matrix[0, :, :3] @ rgb + matrix[0, :, 3]


@pytest.mark.parametrize("rgb", [(0.2, 0.5, 0.7), (0.6, 0.3, 0.35)])
def test_each_colour_change_by_its_formula(rgb):
    pixel, one, grey = torch.tensor(rgb), torch.ones(1), torch.tensor([0.4])
    luma = (GREY * pixel).sum()
    same = colour_matrix(one, one, one, 0 * one, grey)
    torch.testing.assert_close(colours(same, pixel), pixel, rtol=0, atol=1e-6)
    bright = colour_matrix(1.2 * one, one, one, 0 * one, grey)
    torch.testing.assert_close(colours(bright, pixel), 1.2 * pixel)
    contrast = colour_matrix(one, 0.8 * one, one, 0 * one, grey)
    torch.testing.assert_close(colours(contrast, pixel), 0.8 * pixel + 0.2 * 0.4)
    pale = colour_matrix(one, one, 0 * one, 0 * one, grey)
    torch.testing.assert_close(colours(pale, pixel), luma.expand(3), rtol=0, atol=1e-5)
    turned = colours(colour_matrix(one, one, one, 0.1 * one, grey), pixel)
    torch.testing.assert_close((GREY * turned).sum(), luma)
    turn = (colorsys.rgb_to_hsv(*turned.tolist())[0] - colorsys.rgb_to_hsv(*rgb)[0]) % 1.0
    assert min(turn, 1 - turn) == pytest.approx(0.1, abs=0.05), "about a tenth of the colour circle"
    assert np.allclose(colours(colour_matrix(one, one, one, one, grey), pixel), pixel, atol=1e-5), "a full turn"


def twice(batch: FrameBatch, top: float = 0.0, left: float = 0.0) -> torch.Tensor:
    values = ([float(v)] * len(batch) for v in (2, top, left))
    return zoom_matrix(*map(torch.tensor, values))


def test_zoom_moves_pixels_labels_and_intrinsics_together():
    """Zoomed in twice, every pixel shows the class and, with its own intrinsics, the point that it showed before."""
    batch = make_batch()
    depth = torch.rand(4, 1, 3, 5).repeat_interleave(2, -1).repeat_interleave(2, -2) + 1  # constant over 2×2 pixels
    batch = replace(batch, depth=depth, labels=(depth[:, 0] * 9).byte())
    near = zoom(batch, twice(batch, 6, 10), torch.tensor([True, False, True, True]))
    assert_same(rows(near, [1]), rows(batch, [1]))
    rest = [0, 2, 3]
    quarter = batch.depth[rest][..., 3:, 5:].repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(near.depth[rest], quarter)
    assert torch.equal(near.labels[rest], (quarter[:, 0] * 9).byte())
    assert torch.equal(near.source_from_target, batch.source_from_target)
    points, again = (back_project(b.depth, b.intrinsics)[rest] for b in (batch, near))
    # A pixel's area holds two by two zoomed ones, whose mean is its centre.
    means = torch.nn.functional.avg_pool2d(again, 2)
    torch.testing.assert_close(means, points[..., 3:, 5:], rtol=0, atol=1e-5)


def test_zooming_out_leaves_unknown_what_was_not_seen():
    batch = replace(make_batch(1), seen_target=make_batch(1).target)
    far = zoom(batch, random_zoom(torch.tensor([[0.0, 0.5, 0.5]]), 1.5, 0.5, (6, 10)), torch.tensor([True]))
    unseen = torch.ones(6, 10, dtype=torch.bool)
    unseen[2:4, 3:7] = False  # 3 × 5 pixels in the middle; the centres of these are on the image
    assert (far.labels[0][unseen][:10] == IGNORE).all()
    assert (far.labels[0, 2:4, 3:7] < 19).all()
    assert (far.depth[0, 0, 0] == 0).all()
    assert (far.confidence[0, 0] == 0).all()
    assert torch.equal(far.target, far.seen_target)
    assert far.sources.shape == batch.sources.shape


def test_the_second_view_is_what_the_network_sees_at_another_zoom(generator):
    batch = make_batch()
    seen = augment(batch, generator, AugmentConfig(jitter=1.0, second_view=True))
    expected, _ = resample(seen.seen_target, seen.zoomed_from_target)
    torch.testing.assert_close(seen.zoomed_target, expected)
    factors = seen.zoomed_from_target[:, 0, 0]
    assert len(set(factors.tolist())) == 4
    assert (factors >= 1 / 1.5).all()
    assert (factors <= 1.5).all()


def test_zoom_draws_change_nothing_else():
    batch = make_batch(8)
    run = lambda **options: augment(batch, torch.Generator().manual_seed(3), AugmentConfig(**options))  # noqa: E731
    plain, viewed = run(), run(second_view=True)
    assert_same(replace(viewed, zoomed_target=None, zoomed_from_target=None), plain)
    zoomed = run(zoom=0.5)
    same = (zoomed.intrinsics == plain.intrinsics).flatten(1).all(1)
    assert 0 < int(same.sum()) < 8
    assert_same(rows(zoomed, same.nonzero()[:, 0].tolist()), rows(plain, same.nonzero()[:, 0].tolist()))
    assert (zoomed.intrinsics[~same, 0, 0] > 8).all(), "into a sample, never out of it"


@pytest.mark.parametrize(
    "option",
    [{"flip": 1.5}, {"jitter": -0.1}, {"hue": 0.6}, {"contrast": float("nan")}, {"zoom": 2.0}, {"zoom_factor": 1.0}],
)
def test_wrong_options_are_refused(option):
    with pytest.raises(InputError, match=next(iter(option))):
        AugmentConfig(**option)
