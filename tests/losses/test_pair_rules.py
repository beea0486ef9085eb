"""Each rule against wrong pairs, where it is known which are wrong: with it they are gone, without it they are there."""

from dataclasses import replace

import torch
from drawn_streets import (
    BARE,
    BUILDING,
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
    count,
    draw,
    ordered,
)

from semdepth.labels import IGNORE


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


def test_rule_5_a_car_on_road_has_pairs_at_top_and_sides_and_none_at_its_foot() -> None:
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
