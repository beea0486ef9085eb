"""Other data sets' classes in terms of Cityscapes' 19: matched by name, so that any segmenter can write trainIds.

The table knows the names of Cityscapes (Cordts et al. 2016), ADE20K's 150 (Zhou et al. 2017), Mapillary Vistas 1.2 and
2.0 (Neuhold et al. 2017), COCO's things and stuff with the panoptic merges (Lin et al. 2014; Caesar et al. 2018), and a few
that circulate. Which class a name goes to follows Cityscapes' own definitions (van = car, kerb = sidewalk, crossing and
lane marking = road, soil and grass = terrain, window and door = building); what Cityscapes itself leaves void (parking,
bridge, guard rail, trailer, caravan), and what a camera on a street does not see, goes to no class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from semdepth.labels import CLASSES, IGNORE, NUM_CLASSES, TRAIN_ID
from semdepth.runtime import InputError

MIN_MATCHED = 10
"""A segmenter whose names reach fewer of the 19 classes is refused: it was not made for streets."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "road": (
        "route", "street", "bike lane", "crosswalk plain", "service lane", "road shoulder", "parking aisle", "road line",
        "roadline", "manhole", "pothole", "catch basin",
    ),
    "sidewalk": ("pavement", "curb", "curb cut", "pedestrian area", "path", "traffic island"),
    "building": (
        "house", "skyscraper", "hovel", "tower", "roof", "window", "windowpane", "window other", "door", "door stuff",
        "awning", "garage",
    ),
    "wall": ("wall brick", "wall stone", "wall concrete", "wall tile", "wall panel", "wall wood"),
    "fence": ("railing", "bannister"),
    "pole": ("utility pole", "pole group", "street light", "streetlight", "traffic sign frame"),
    "traffic light": ("traffic signal", "stoplight"),
    "traffic sign": ("stop sign", "street sign"),
    "vegetation": ("tree", "plant", "palm", "flower", "bush", "branch", "leaves", "moss"),
    "terrain": ("grass", "earth", "field", "sand", "dirt", "dirt track", "mud", "gravel", "ground other"),
    "sky": ("clouds",),
    "person": ("person group", "pedestrian", "human"),
    "rider": ("bicyclist", "motorcyclist", "cyclist"),
    "car": ("van", "auto", "automobile"),
    "truck": ("lorry",),
    "bus": ("autobus",),
    "train": ("on rails", "tram"),
    "motorcycle": ("motorbike", "minibike"),
    "bicycle": ("bike",),
}  # fmt: skip
"""Cityscapes' name → other normalised names that mean it."""
PREFIXES = {"lane marking": "road", "marking": "road", "traffic light": "traffic light", "traffic sign": "traffic sign"}
"""Families of names (Mapillary's ``Lane Marking - Stop Line``, ``Traffic Light - Cyclists``) by how they begin."""
FILLERS = frozenset({"merged", "other", "stuff"})
"""Words that only say which part of a family a class is (``tree-merged``, ``wall-other``, ``Other Rider``)."""

_TRAIN_ID = TRAIN_ID | {other: TRAIN_ID[name] for name, others in SYNONYMS.items() for other in others}


@dataclass(frozen=True)
class ClassMap:
    """Which of a segmenter's classes goes to which trainId."""

    names: tuple[str, ...]
    """The segmenter's own names, by output index."""
    train_ids: tuple[int, ...]
    """The trainId of each, 255 = none."""

    @property
    def reached(self) -> tuple[int, ...]:
        """The trainIds that some class goes to, ascending."""
        return tuple(sorted(set(self.train_ids) - {IGNORE}))

    @property
    def groups(self) -> tuple[int, ...]:
        """What a pixel can become: ``reached``, and 255 last if a class goes nowhere."""
        return self.reached + ((IGNORE,) if IGNORE in self.train_ids else ())

    def matrix(self) -> npt.NDArray[np.float32]:
        """Return (classes, groups), 1 where the class goes to the group: probabilities @ matrix sums them up."""
        return np.equal.outer(self.train_ids, self.groups).astype(np.float32)

    def by_class(self) -> dict[str, list[str]]:
        """Return Cityscapes' name → the segmenter's names that go there, empty where none does."""
        return {
            c.name: [n for n, t in zip(self.names, self.train_ids, strict=True) if t == c.train_id] for c in CLASSES
        }

    def unmatched(self) -> list[str]:
        """Return the names that go nowhere."""
        return [n for n, t in zip(self.names, self.train_ids, strict=True) if t == IGNORE]


def train_id_of(name: str) -> int:
    """Return the trainId that a class's name means, 255 if none.

    Upper case, punctuation and the spaces around are of no account. Of synonyms joined by commas (``car, auto,
    automobile``) and of a path (``object--vehicle--car``) the first, or last, part that is known counts.
    """
    parts = [_normalised(part) for part in name.split(",")]
    parts += [_normalised(part) for part in reversed(name.split("--"))] if "--" in name else []
    for part in parts:
        for words in (part, tuple(w for w in part if w not in FILLERS)):
            found = _TRAIN_ID.get(" ".join(words))
            if found is not None:
                return found
    for prefix, target in PREFIXES.items():
        if any(" ".join(part).startswith(prefix) for part in parts):
            return TRAIN_ID[target]
    return IGNORE


def match_classes(names: Mapping[int, str] | Sequence[str], source: str, are_train_ids: bool = False) -> ClassMap:
    """Match a segmenter's classes to Cityscapes' 19 by their names.

    Args:
        names: the name of every output, by index (a configuration's ``id2label``).
        source: the segmenter, for the error message.
        are_train_ids: the outputs are the 19 trainIds in their order, though their names do not say so (``LABEL_0``…).

    Raises:
        InputError: if too few of the 19 classes are reached, the indices have gaps, or ``are_train_ids`` cannot be.
    """
    found = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    if sorted(found) != list(range(len(found))):
        raise InputError(f"{source}: its id2label does not number its classes from 0 up; mend its config.json")
    listed = tuple(str(found[i]).strip() for i in range(len(found)))
    generic = all(re.fullmatch(r"LABEL_\d+", name) for name in listed)
    if are_train_ids:
        if not generic or len(listed) != NUM_CLASSES:
            what = f"has {len(listed)} outputs" if generic else f"names its classes ({listed[0]}, …)"
            raise InputError(f"{source}: {what}; --train_ids is for {NUM_CLASSES} unnamed outputs, leave it out")
        return ClassMap(listed, tuple(range(NUM_CLASSES)))
    matched = ClassMap(listed, tuple(train_id_of(name) for name in listed))
    if len(matched.reached) < MIN_MATCHED:
        mend = "name one trained on Cityscapes, Mapillary Vistas, ADE20K or COCO"
        if generic and len(listed) == NUM_CLASSES:
            mend = "if they are Cityscapes' trainIds in their order, say --train_ids=true"
        raise InputError(
            f"{source}: the names of its {len(listed)} classes ({', '.join(listed[:3])}, …) reach {len(matched.reached)} "
            f"of Cityscapes' {NUM_CLASSES}, {MIN_MATCHED} are needed; {mend}"
        )
    return matched


def _normalised(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", name.lower()))
