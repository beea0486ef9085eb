"""The 19 Cityscapes classes (``trainId``s), their colours, and the groups that the method speaks of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IGNORE = 255
"""The label of a pixel without a class."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its Cityscapes ``trainId``, its ``id`` in gtFine label files, its name and its usual colour."""

    train_id: int
    label_id: int
    name: str
    colour: tuple[int, int, int]


CLASSES: tuple[LabelClass, ...] = (
    LabelClass(0, 7, "road", (128, 64, 128)),
    LabelClass(1, 8, "sidewalk", (244, 35, 232)),
    LabelClass(2, 11, "building", (70, 70, 70)),
    LabelClass(3, 12, "wall", (102, 102, 156)),
    LabelClass(4, 13, "fence", (190, 153, 153)),
    LabelClass(5, 17, "pole", (153, 153, 153)),
    LabelClass(6, 19, "traffic light", (250, 170, 30)),
    LabelClass(7, 20, "traffic sign", (220, 220, 0)),
    LabelClass(8, 21, "vegetation", (107, 142, 35)),
    LabelClass(9, 22, "terrain", (152, 251, 152)),
    LabelClass(10, 23, "sky", (70, 130, 180)),
    LabelClass(11, 24, "person", (220, 20, 60)),
    LabelClass(12, 25, "rider", (255, 0, 0)),
    LabelClass(13, 26, "car", (0, 0, 142)),
    LabelClass(14, 27, "truck", (0, 0, 70)),
    LabelClass(15, 28, "bus", (0, 60, 100)),
    LabelClass(16, 31, "train", (0, 80, 100)),
    LabelClass(17, 32, "motorcycle", (0, 0, 230)),
    LabelClass(18, 33, "bicycle", (119, 11, 32)),
)
NUM_CLASSES = len(CLASSES)
NUM_LABEL_IDS = 34
"""Cityscapes' label ids are 0–33; most are not judged."""
TRAIN_ID = {c.name: c.train_id for c in CLASSES}


def _ids(*names: str) -> tuple[int, ...]:
    return tuple(TRAIN_ID[name] for name in names)


SKY = _ids("sky")
GROUND = _ids("road", "sidewalk", "terrain")
THIN = _ids("pole", "traffic light", "traffic sign")
THING = _ids("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
MOVABLE = THING
"""Classes that can move on their own: exactly the things."""
OCCLUDER = THING + THIN
"""Classes that stand in front of what they border on (METHOD 3.3, occlusion prior)."""
STANDING = _ids("building", "wall", "fence", "pole") + THING
"""Classes that rise upright from the ground that they stand on."""


def palette() -> npt.NDArray[np.uint8]:
    """Return the (256, 3) uint8 colour of every label value; values without a class are black."""
    colours = np.zeros((256, 3), dtype=np.uint8)
    for c in CLASSES:
        colours[c.train_id] = c.colour
    return colours


def train_ids() -> npt.NDArray[np.uint8]:
    """Return the (256,) table from Cityscapes label ids (gtFine) to ``trainId``s; ids that are not judged: 255."""
    table = np.full(256, IGNORE, dtype=np.uint8)
    for c in CLASSES:
        table[c.label_id] = c.train_id
    return table


def membership(group: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return a (256,) table that is true for the ``trainId``s in ``group``: ``membership(SKY)[labels]`` is a mask."""
    table = np.zeros(256, dtype=np.bool_)
    table[list(group)] = True
    return table
