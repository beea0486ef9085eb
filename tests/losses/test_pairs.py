"""Small drawn streets, where it is known which pairs are right."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semdepth.labels import IGNORE, TRAIN_ID
from semdepth.losses.pairs import PairConfig, PointPairs, sample_pairs
from semdepth.losses.regions import border_edges, border_normals, connected_regions
from semdepth.runtime import InputError

ROAD, BUILDING, POLE, SKY, CAR = (TRAIN_ID[name] for name in ("road", "building", "pole", "sky", "car"))
VEGETATION, SIGN = TRAIN_ID["vegetation"], TRAIN_ID["traffic sign"]
HEIGHT, WIDTH = 96, 320
PRIOR = PairConfig(prediction_decides=False)
BARE = replace(
    PRIOR,
    uniform_neighbourhood=False,
    minimum_area=False,
    confidence=False,
    agreement=False,
    contact=False,
    standing=False,
)


def blank(label: int) -> Tensor:
    return torch.full((1, HEIGHT, WIDTH), label, dtype=torch.uint8)


def car_on_road() -> Tensor:
    """All road but for a car at rows 30–59, columns 100–179."""
    labels = blank(ROAD)
    labels[:, 30:60, 100:180] = CAR
    return labels


def draw(labels: Tensor, config: PairConfig = PRIOR, seed: int = 0, **maps: Tensor) -> PointPairs:
    batch, height, width = labels.shape
    disparity = maps.pop("disparity", torch.ones(batch, 1, height, width))
    return sample_pairs(labels, disparity, **maps, config=config, generator=torch.Generator().manual_seed(seed))


def ordered(pairs: PointPairs, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points and labels of the nearer and the other one, of the pairs with an order."""
    keep = pairs.ordinal != 0
    nearer_first = (pairs.ordinal > 0)[keep, None]
    i, j = pairs.i[keep], pairs.j[keep]
    near, far = torch.where(nearer_first, i, j), torch.where(nearer_first, j, i)
    image = pairs.image[keep]
    return near, far, labels[image, near[:, 0], near[:, 1]], labels[image, far[:, 0], far[:, 1]]


def count(pairs: PointPairs) -> int:
    return int((pairs.ordinal != 0).sum())


def test_car_on_road_has_pairs_at_top_and_sides_and_none_at_its_foot() -> None:
    labels = car_on_road()
    near, far, near_label, far_label = ordered(draw(labels), labels)
    assert (near_label == CAR).all()
    assert (far_label == ROAD).all()
    assert (far[:, 0] <= near[:, 0]).all()
    assert (far[:, 0] < 30).any()  # above the roof
    assert (far[:, 1] < 100).any()
    assert (far[:, 1] >= 180).any()
    _, far, *_ = ordered(draw(labels, replace(PRIOR, contact=False)), labels)
    assert (far[:, 0] >= 60).any()  # without the rule, the foot does give pairs


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


def test_rule_1_slivers() -> None:
    labels = blank(BUILDING)
    labels[:, :, 100:102] = POLE  # too thin for a 3×3 neighbourhood of its own
    config = replace(BARE, tolerance=0.0)
    assert count(draw(labels, config)) > 0
    assert count(draw(labels, replace(config, uniform_neighbourhood=True))) == 0


def test_rule_1_ignored_pixels() -> None:
    labels = blank(BUILDING)
    labels[:, :, 160:] = CAR
    labels[:, ::2, :160:2] = IGNORE
    assert count(draw(labels, BARE)) > 0
    assert count(draw(labels, replace(BARE, uniform_neighbourhood=True))) == 0
    assert len(draw(blank(IGNORE), BARE)) == 0


def test_rule_2_specks() -> None:
    labels = blank(BUILDING)
    labels[:, 40:46, 100:106] = CAR  # 36 of the 50 pixels that 200 at 640 come to
    assert count(draw(labels, BARE)) > 0
    assert count(draw(labels, replace(BARE, minimum_area=True))) == 0
    assert count(draw(labels, replace(BARE, minimum_area=True, least_area=100.0))) > 0


def test_rule_3_confidence() -> None:
    labels = blank(BUILDING)
    labels[:, 30:70, 100:180] = CAR
    confidence = torch.ones(1, HEIGHT, WIDTH)
    confidence[:, :, :140] = 0.3
    pairs = draw(labels, replace(BARE, confidence=True), confidence=confidence)
    assert len(pairs) > 0
    assert (torch.cat(pairs.at(confidence)) >= 0.7).all()
    off = draw(labels, BARE, confidence=confidence)
    assert (torch.cat(off.at(confidence)) < 0.7).any()
    assert count(draw(labels, replace(BARE, confidence=True))) == count(draw(labels, BARE))  # labels bring none


def test_rule_4_agreement() -> None:
    labels = blank(BUILDING)
    labels[:, 30:70, 100:180] = CAR
    seen = labels.long().clone()
    seen[:, :, :140] = VEGETATION
    probabilities = torch.nn.functional.one_hot(seen, 19).movedim(3, 1).float()
    pairs = draw(labels, replace(BARE, agreement=True), probabilities=probabilities)
    assert len(pairs) > 0
    assert (torch.stack(pairs.at(seen)) == torch.stack(pairs.at(labels))).all()
    off = draw(labels, BARE, probabilities=probabilities)
    assert (torch.stack(off.at(seen)) != torch.stack(off.at(labels))).any()


def test_rule_6_nothing_stands_behind_a_thing_that_is_above_it() -> None:
    labels = blank(SKY)
    labels[:, 20:70, 60:260] = CAR
    labels[:, 35:55, 120:180] = BUILDING  # a mislabelled patch of the car
    labels[:, 70:] = ROAD
    off, on = (draw(labels, replace(BARE, contact=True, standing=standing)) for standing in (False, True))
    _, _, _, far_label = ordered(off, labels)
    assert (far_label == BUILDING).any()
    _, far, _, far_label = ordered(on, labels)
    assert not (far_label == BUILDING).any()
    assert ((far_label == SKY) & (far[:, 0] < 20)).any()  # the true background stays


def test_rule_6_sky_is_above_and_nothing_floats() -> None:
    labels = blank(SKY)
    labels[:, 60:] = BUILDING
    labels[:, 20:40, 30:80] = BUILDING  # mislabelled sky
    labels[:, 72:88, 200:260] = SKY  # mislabelled building
    near, far, *_ = ordered(draw(labels, replace(BARE, standing=True)), labels)
    assert len(near) > 200
    assert (near[:, 0] >= 60).all()
    assert (far[:, 0] < 60).all()
    near, far, *_ = ordered(draw(labels, BARE), labels)
    assert (near[:, 0] < 40).any()
    assert (far[:, 0] >= 72).any()


def test_rule_6_forgives_specks_only_with_rule_2() -> None:
    labels = blank(BUILDING)
    labels[:, :, 160:] = POLE
    labels[:, 0, :] = CAR
    labels[:, 0, ::3] = SKY
    config = replace(BARE, standing=True)
    assert count(draw(labels, replace(config, minimum_area=True))) > count(draw(labels, config))


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


def test_samples_follow_the_border_normal_on_a_slant() -> None:
    row, column = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    labels = torch.where(column > 100 + row, CAR, BUILDING).to(torch.uint8)[None]
    edges = border_edges(labels)
    normal = border_normals(labels, edges, radius=3)
    inner = (edges[1][:, 0] > 5) & (edges[1][:, 0] < HEIGHT - 6)
    sign = torch.where(labels[edges[0], edges[1][:, 0], edges[1][:, 1]] == BUILDING, 1.0, -1.0)[:, None]
    expected = torch.tensor([-1.0, 1.0]) / 2**0.5
    assert ((normal * sign)[inner] @ expected).min() > 0.97


def test_regions_agree_with_flood_fill(generator: torch.Generator) -> None:
    labels = torch.randint(0, 3, (2, 12, 17), generator=generator, dtype=torch.uint8)
    region, area = connected_regions(labels)
    for b in range(2):
        seen = np.zeros((12, 17), dtype=bool)
        for start in np.ndindex(12, 17):
            if seen[start]:
                continue
            stack, members = [start], []
            seen[start] = True
            while stack:
                r, c = stack.pop()
                members.append((r, c))
                for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                    if 0 <= y < 12 and 0 <= x < 17 and not seen[y, x] and labels[b, y, x] == labels[b, r, c]:
                        seen[y, x] = True
                        stack.append((y, x))
            numbers = {int(region[b, r, c]) for r, c in members}
            assert len(numbers) == 1
            number = numbers.pop()
            assert int(area[number]) == len(members)
            assert int((region == number).sum()) == len(members)


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
