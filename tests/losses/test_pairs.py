from dataclasses import replace

import pytest
import torch
from drawn_streets import (
    BARE,
    BUILDING,
    BUS,
    CAR,
    HEIGHT,
    POLE,
    PRIOR,
    ROAD,
    SKY,
    VEGETATION,
    WIDTH,
    blank,
    car_on_road,
    draw,
    ordered,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.labels import IGNORE, TRAIN_ID
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import sample_pairs
from semdepth.losses.regions import connected_regions
from semdepth.runtime import InputError


def test_pole_is_nearer_than_the_building_behind_it() -> None:
    labels = blank(BUILDING)
    labels[:, 10:, 150:160] = POLE
    near, far, near_label, far_label = ordered(draw(labels), labels)
    assert len(near) > 200
    assert (near_label == POLE).all()
    assert (far_label == BUILDING).all()
    assert (far[:, 1] < 150).any()
    assert (far[:, 1] >= 160).any()


@pytest.mark.parametrize("front", ["building", "vegetation", "road", "pole", "car", "wall"])
def test_sky_is_behind_everything(front: str) -> None:
    labels = blank(SKY)
    labels[:, 50:] = TRAIN_ID[front]
    near, _, near_label, far_label = ordered(draw(labels), labels)
    assert len(near) > 200
    assert (near_label == TRAIN_ID[front]).all()
    assert (far_label == SKY).all()


def test_pairs_lie_across_the_border_within_tolerance_and_reach() -> None:
    labels = blank(BUILDING)
    labels[:, :, 160:] = CAR
    near, far, *_ = ordered(draw(labels, BARE), labels)
    assert (near[:, 0] == far[:, 0]).all()  # the normal is horizontal
    # Half of 2 and 30 px, since the image is half of 640 wide; the border lies at column 159.5.
    for distance in (near[:, 1] - 159.5, 159.5 - far[:, 1]):
        assert distance.min() >= 0.5
        assert 13 < distance.max() <= 15.5


def test_no_prior_and_no_prediction_gives_no_pair() -> None:
    labels = blank(BUILDING)
    labels[:, :, 160:] = VEGETATION
    assert len(draw(labels)) == 0


@pytest.mark.parametrize(("left", "expected"), [(2.0, 1), (0.5, -1), (1.02, 0)])
def test_network_decides_where_there_is_no_prior(left: float, expected: int) -> None:
    labels = blank(BUILDING)
    labels[:, :, 160:] = VEGETATION
    disparity = torch.ones(1, 1, HEIGHT, WIDTH)
    disparity[..., :160] = left
    pairs = draw(labels, PairConfig(tau=0.05), disparity=disparity)
    if expected == 0:
        assert len(pairs) == 0  # below the ratio: dropped, not called equal
        return
    assert len(pairs) > 200
    assert not pairs.from_prior.any()
    at_i, at_j = pairs.at(disparity[:, 0])
    assert ((at_i - at_j).sign() == pairs.ordinal).all()


def test_prior_overrules_the_network() -> None:
    labels = blank(BUILDING)
    labels[:, :, 160:] = CAR
    disparity = torch.ones(1, 1, HEIGHT, WIDTH)
    disparity[..., :160] = 3.0
    pairs = draw(labels, PairConfig(), disparity=disparity)
    assert pairs.from_prior.all()
    _, _, near_label, _ = ordered(pairs, labels)
    assert (near_label == CAR).all()


def test_equal_pairs_lie_on_one_thing_only() -> None:
    labels = blank(ROAD)
    labels[:, 30:60, 100:140] = CAR
    labels[:, 30:60, 146:190] = CAR
    pairs = draw(labels, BARE)
    equal = pairs.ordinal == 0
    assert equal.sum() > 200
    label_i, label_j = pairs.at(labels)
    assert (label_i[equal] == CAR).all()  # never on road
    assert (label_j[equal] == CAR).all()
    region_i, region_j = pairs.at(connected_regions(labels)[0])
    assert (region_i[equal] == region_j[equal]).all()  # never from one car to the next


def test_upright_pairs_reach_the_inside_of_a_large_thing() -> None:
    labels = blank(BUILDING)
    labels[:, 10:90, 100:220] = BUS  # 80 high, 120 wide: the reach is 15

    def inside(config: PairConfig) -> int:
        pairs = draw(labels, config)
        equal = pairs.ordinal == 0
        return sum(int(((p[equal, 0] >= 30) & (p[equal, 0] < 70)).sum()) for p in (pairs.i, pairs.j))

    pairs = draw(labels)
    column_apart = (pairs.i[:, 1] != pairs.j[:, 1]) & (pairs.ordinal == 0)
    row_apart = (pairs.i[:, 0] - pairs.j[:, 0]).abs()
    assert row_apart[~column_apart & (pairs.ordinal == 0)].max() > 60
    assert row_apart[column_apart].max() <= 15  # else along the normal, within reach
    assert inside(PRIOR) > 2 * inside(replace(PRIOR, upright=False))


def test_upright_pairs_do_not_jump_over_what_is_in_between() -> None:
    labels = blank(BUILDING)
    labels[:, 10:90, 100:220] = BUS
    labels[:, 45:50] = POLE  # the bus is one above, another below
    pairs = draw(labels)
    equal = pairs.ordinal == 0
    row = torch.stack([pairs.i[equal, 0], pairs.j[equal, 0]])
    assert ((row < 45).all(0) | (row >= 50).all(0) | ((row >= 45) & (row < 50)).all(0)).all()


def thin_pole(label: int = POLE, width: int = 2) -> torch.Tensor:
    """A street front with something thin before it, foot to top at columns 100 and following."""
    labels = blank(BUILDING)
    labels[:, 20:90, 100 : 100 + width] = label
    return labels


def of(label: int, labels: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return points[labels[0, points[:, 0], points[:, 1]] == label]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_thin_things_have_their_points_on_their_middle_line(width: int) -> None:
    labels = thin_pole(width=width)
    near, far, near_label, far_label = ordered(draw(labels), labels)
    assert len(near) > 200
    assert (near_label == POLE).all()
    assert (far_label == BUILDING).all()
    assert set(near[:, 1].tolist()) == {100 + (width - 1) // 2}
    assert far[:, 1].min() < 99
    assert far[:, 1].max() > 101
    # Its ends are no middle: what is above the top pixel or below the last one is not the pole.
    assert near[:, 0].min() >= 21
    assert near[:, 0].max() <= 88
    assert width > 2 or len(draw(labels, replace(PRIOR, thin=False))) == 0


def test_what_is_wide_enough_keeps_its_distance_from_the_border() -> None:
    labels = thin_pole(width=12)
    with_and_without = [draw(labels, replace(PRIOR, thin=thin)) for thin in (True, False)]
    assert len(with_and_without[0]) > 200
    assert torch.equal(with_and_without[0].i, with_and_without[1].i)


def test_only_thin_classes_are_met_on_middle_lines() -> None:
    assert len(draw(thin_pole(CAR))) == 0  # a sliver of a car is a wrong label
    assert len(draw(thin_pole(TRAIN_ID["traffic sign"]))) > 0


def test_a_network_that_does_not_know_poles_leaves_them_their_pairs() -> None:
    labels = thin_pole()
    probabilities = torch.zeros(1, 19, HEIGHT, WIDTH)
    probabilities[:, BUILDING] = 1  # all is building
    pairs = draw(labels, probabilities=probabilities)
    assert len(pairs) > 200
    probabilities[:, [BUILDING, VEGETATION]] = probabilities[:, [VEGETATION, BUILDING]]
    near, *_ = ordered(draw(labels, probabilities=probabilities), labels)
    assert len(near) == 0  # the other point is still asked


def test_a_thin_thing_is_equally_far_from_foot_to_top() -> None:
    labels = thin_pole()
    pairs = draw(labels)
    equal = pairs.ordinal == 0
    assert len(of(POLE, labels, pairs.i[equal])) == int(equal.sum()) > 100
    assert (pairs.i[equal][:, 1] == pairs.j[equal][:, 1]).all()
    assert (pairs.i[equal][:, 0] - pairs.j[equal][:, 0]).abs().max() > 40


def test_unsure_labels_give_thin_things_no_pairs() -> None:
    labels = thin_pole()
    confidence = torch.where(labels == POLE, 0.7, 1.0)
    assert len(draw(labels, confidence=confidence)) == 0


def test_same_seed_same_pairs_and_other_seed_others() -> None:
    labels = car_on_road()
    first, again, other = draw(labels), draw(labels), draw(labels, seed=1)
    assert torch.equal(first.i, again.i)
    assert torch.equal(first.ordinal, again.ordinal)
    assert not torch.equal(first.i[: len(other)], other.i[: len(first)])


def test_images_are_drawn_independently() -> None:
    car, pole = car_on_road(), blank(BUILDING)
    pole[:, 10:, 150:160] = POLE
    empty = blank(ROAD)
    for first in (car, pole, empty):
        pairs = draw(torch.cat([first, car]))
        second = draw(torch.cat([car, car]))
        assert torch.equal(pairs.i[pairs.image == 1], second.i[second.image == 1])
    assert (pairs.image == 1).all()  # nothing from the image without borders


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 24), width=st.integers(1, 40), classes=st.integers(1, 5))
def test_any_label_map_gives_sane_pairs(seed: int, height: int, width: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    palette = torch.tensor([CAR, ROAD, SKY, IGNORE, VEGETATION], dtype=torch.uint8)[:classes]
    labels = palette[torch.randint(0, classes, (2, height, width), generator=generator)]
    disparity = torch.rand(2, 1, height, width, generator=generator) + 0.01
    pairs = sample_pairs(labels, disparity, config=PairConfig(tolerance=0, least_area=0), generator=generator)
    assert pairs.i.shape == pairs.j.shape == (len(pairs), 2)
    size = torch.tensor([height, width])
    for point, label in zip((pairs.i, pairs.j), pairs.at(labels), strict=True):
        assert ((point >= 0) & (point < size)).all()
        assert (label != IGNORE).all()


def test_size_does_not_change_the_geometry() -> None:
    small = car_on_road()
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    spread = []
    for labels in (small, large):
        near, far, *_ = ordered(draw(labels), labels)
        spread.append(float((near - far).float().norm(dim=1).mean()) / labels.shape[2])
    assert spread[0] == pytest.approx(spread[1], rel=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"tolerance": 30.0},
        {"tolerance": -1.0},
        {"tau": -0.1},
        {"least_area": -1.0},
        {"least_confidence": 1.5},
    ],
)
def test_contradictions_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        PairConfig(**wrong)
