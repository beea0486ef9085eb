"""Small drawn streets, where it is known which pairs are right, and pairs drawn from them."""

from dataclasses import replace

import torch
from torch import Tensor

from semdepth.labels import TRAIN_ID
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import PointPairs, sample_pairs

ROAD, BUILDING, POLE, SKY, CAR = (TRAIN_ID[name] for name in ("road", "building", "pole", "sky", "car"))
VEGETATION, BUS = TRAIN_ID["vegetation"], TRAIN_ID["bus"]
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
    upright=False,
    thin=False,
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
