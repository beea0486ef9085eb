"""Counts of right, tied and wrong pairs, on drawn depth and on real lidar."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from semdepth.evaluation.pair_quality import (
    class_table,
    judge_pairs,
    pair_table,
    rule_sets,
    visible_returns,
)
from semdepth.labels import TRAIN_ID
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import PointPairs, sample_pairs

CAR, ROAD, BUILDING = TRAIN_ID["car"], TRAIN_ID["road"], TRAIN_ID["building"]


def hand_made(ordinal: list[int], i: list[tuple[int, int]], j: list[tuple[int, int]]) -> PointPairs:
    count = len(ordinal)
    return PointPairs(
        torch.zeros(count, dtype=torch.long),
        torch.tensor(i),
        torch.tensor(j),
        torch.tensor(ordinal, dtype=torch.int8),
        torch.ones(count, dtype=torch.bool),
    )


def two_sides() -> Tensor:
    labels = torch.full((1, 4, 8), BUILDING, dtype=torch.uint8)
    labels[:, :, 4:] = CAR
    return labels


def test_counts_by_hand() -> None:
    depth = torch.full((1, 1, 4, 8), 20.0)
    depth[..., 4:] = 10.0
    depth[:, :, 1] = 10.05  # row 1: tied
    depth[:, :, 2, 4:] = 30.0  # row 2: the car is behind
    depth[:, :, 3, 0] = 0.0  # row 3: unknown
    pairs = hand_made(
        [1, -1, 1, 1, 1], [(0, 5), (0, 0), (1, 5), (2, 5), (3, 5)], [(0, 0), (0, 5), (1, 0), (2, 0), (3, 0)]
    )
    quality = judge_pairs(pairs, two_sides(), depth, search_radius=0)
    cell = (CAR, BUILDING)
    assert quality.pairs[cell] == quality.pairs.sum() == 5
    assert quality.judged[cell] == quality.judged.sum() == 4
    assert quality.right[cell] == 2
    assert quality.tied[cell] == 1
    assert quality.precision == 0.5
    assert quality.tie_share == 0.25
    assert quality.equal == 0
    both = quality + quality
    assert both.images == 2
    assert both.pairs_per_image == 5
    assert both.precision == 0.5


def test_equal_pairs_within_5_and_10_percent() -> None:
    depth = torch.full((1, 1, 4, 8), 10.0)
    depth[:, :, 0, 7], depth[:, :, 1, 7], depth[:, :, 2, 7] = 10.4, 10.9, 12.0
    pairs = hand_made([0, 0, 0], [(0, 4), (1, 4), (2, 4)], [(0, 7), (1, 7), (2, 7)])
    quality = judge_pairs(pairs, two_sides(), depth, search_radius=0)
    assert (quality.equal, quality.equal_judged) == (3, 3)
    assert quality.equality_precision == pytest.approx((1 / 3, 2 / 3))
    assert quality.pairs.sum() == 0


def test_sparse_depth_is_looked_up_near_by_and_under_the_same_label() -> None:
    depth = torch.zeros(1, 1, 4, 8)
    depth[:, :, 1, 3], depth[:, :, 1, 6] = 20.0, 10.0
    pairs = hand_made([1], [(1, 4)], [(1, 2)])  # the nearest return of the car's point is the building's
    assert judge_pairs(pairs, two_sides(), depth, search_radius=1).judged.sum() == 0
    quality = judge_pairs(pairs, two_sides(), depth, search_radius=2)
    assert quality.judged.sum() == quality.right.sum() == 1


def test_depth_may_be_larger_than_labels() -> None:
    labels = two_sides()
    large = labels.repeat_interleave(3, 1).repeat_interleave(3, 2)
    depth = torch.where(large == CAR, 5.0, 9.0)[:, None]
    pairs = hand_made([1, -1], [(0, 7), (3, 0)], [(0, 0), (3, 7)])
    quality = judge_pairs(pairs, labels, depth, depth_labels=large, search_radius=0)
    assert quality.judged.sum() == quality.right.sum() == 2
    with pytest.raises(ValueError, match="depth_labels"):
        judge_pairs(pairs, labels, depth)


def test_sampled_pairs_of_a_drawn_street_are_right_and_without_contact_are_not() -> None:
    height, width = 96, 320
    row = torch.arange(height, dtype=torch.float32)[:, None].expand(height, width)
    labels = torch.full((1, height, width), ROAD, dtype=torch.uint8)
    labels[:, :40] = BUILDING
    labels[:, 30:70, 100:200] = CAR
    road = 300.0 / (row - 30).clamp(min=1)  # flat ground, horizon at row 30
    depth = torch.where(labels[0] == BUILDING, road[40, 0], torch.where(labels[0] == CAR, road[69, 0], road))[
        None, None
    ]
    config = replace(rule_sets(PairConfig())["+ thin (all)"], samples=1000)
    quality = {}
    for name, rules in (("all", config), ("no contact", replace(config, contact=False))):
        pairs = sample_pairs(labels, depth, config=rules, generator=torch.Generator().manual_seed(0))
        quality[name] = judge_pairs(pairs, labels, depth, search_radius=0)
    assert quality["all"].precision == 1
    assert quality["all"].judged.sum() > 100
    assert quality["no contact"].precision < 0.9
    table = pair_table(quality)
    assert "| all |" in table
    assert "100.0%" in table
    assert "| car | building |" in class_table(quality["all"])


def test_rule_sets_end_with_all_rules() -> None:
    sets = list(rule_sets(PairConfig(samples=7)).values())
    assert all(s.samples == 7 and not s.prediction_decides for s in sets)
    assert not any((sets[0].contact, sets[0].confidence, sets[0].standing))
    assert sets[-1] == PairConfig(samples=7, prediction_decides=False, agreement=False)


def test_no_pairs_give_nan_not_an_error() -> None:
    empty = hand_made([], [], [])
    empty = replace(empty, i=torch.zeros(0, 2, dtype=torch.long), j=torch.zeros(0, 2, dtype=torch.long))
    quality = judge_pairs(empty, two_sides(), torch.ones(1, 1, 4, 8))
    assert quality.precision != quality.precision
    assert "nan" in pair_table({"none": quality})


def test_returns_from_behind_an_edge_are_removed_and_others_stay() -> None:
    depth = torch.zeros(1, 1, 60, 60)
    depth[..., 40:50, 10:50:2] = 5.0  # a car; its roof at rows 30–39 sends nothing back
    depth[..., 35, 30] = 40.0  # seen over the roof
    depth[..., 5, 30] = 40.0  # well above: the camera sees it, too
    depth[..., 45, 58] = 5.5  # beside, hardly farther
    kept = visible_returns(depth, focal_px=721.5)
    assert kept[0, 0, 35, 30] == 0
    assert kept[0, 0, 5, 30] == 40
    assert kept[0, 0, 45, 58] == 5.5
    assert (kept[..., 40:50, 10:50:2] == 5).all()
