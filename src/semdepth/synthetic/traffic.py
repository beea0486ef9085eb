"""What moves: the car ahead, oncoming and overtaking vehicles, trams, cyclists, people walking.

All of it is a closed form of the frame number, so any frame can be asked for alone. Vehicles of one lane share one
speed, and the car ahead does what the camera's car will do a moment later, so nothing ever runs into anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from . import vehicles
from .layout import KERB
from .route import FRAME_TIME
from .shapes import Prim, PrimTable, join_tables, raised, tabulate
from .style import WorldConfig
from .world import World

Array = npt.NDArray[np.float64]
Make = Callable[[np.random.Generator], tuple[list[Prim], float]]
Found = tuple[PrimTable, int, Array, float]
AHEAD, BACK = 240.0, 35.0
"""How far along the road the world is looked at, in metres from the camera."""


@dataclass(frozen=True)
class Stream:
    """Movers that follow each other on one track at one speed, for ever."""

    key: int
    d: float
    speed: float
    """m/s along the road, negative against the camera's direction."""
    spacing: float
    """Mean distance between places; each holds one mover, or none."""
    jitter: float
    """How far a mover may be from its place, at most, in metres."""
    share: float
    """Share of the places that are taken."""
    make: Make
    """Builds the object; returns it and its length."""


@dataclass(frozen=True)
class Movers:
    """Objects that move, over F frames."""

    prims: PrimTable
    """P prims, each in its object's frame."""
    owner: npt.NDArray[np.int64]
    """(P,) index of the object."""
    instance: npt.NDArray[np.int64]
    """(O,)."""
    s: Array
    """(F, O) metres along the road."""
    d: Array
    """(O,) metres to the right of the centre line."""
    turned: Array
    """(O,) heading against the road's: 0 or π."""
    moving: npt.NDArray[np.bool_]
    """(F, O)."""


class Traffic:
    """All movers of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._places: dict[tuple[int, int], float | None] = {}
        self._made: dict[int, tuple[PrimTable, float]] = {}
        rng = np.random.default_rng([world.seed, 6])
        layout, amount = world.layout, world.config.traffic
        busy = 1.0 if layout.complex else 0.35
        self._time = 0.0 if world.config.frozen else FRAME_TIME
        self._leaders = int(amount > 0 and rng.uniform() < (0.75 if layout.complex else 0.4)) * int(rng.integers(1, 4))
        if world.config.frozen:
            self._leaders = 0 if world.ego.end == math.inf else max(self._leaders, 1)
        self._lag = rng.uniform(9, 22)
        self._streams: list[Stream] = []
        if amount == 0:
            return

        def taken(share: float) -> float:
            return min(share * amount, 0.95)

        for lane in range(layout.lanes):
            speed, gap = -rng.uniform(6, 13), world.style.gap
            gaps = (24.0 * gap, 4.0 * gap)
            self._add(-layout.lane_centre(lane), speed, gaps, taken(0.55 * busy), self._vehicle)
            if lane != layout.ego_lane:
                gaps = (26.0 * gap, 4.0 * gap)
                self._add(layout.lane_centre(lane), rng.uniform(5, 14), gaps, taken(0.5 * busy), self._vehicle)
        if layout.median:
            self._add(-0.0, -rng.uniform(5, 9), (90.0, 20.0), taken(0.7), self._tram)
        if layout.cycle:
            beside = layout.lanes_end + layout.cycle * 0.6
            self._add(beside, rng.uniform(3, 5.5), (14.0, 4.0), taken(0.45 * busy), self._cyclist)
            self._add(-beside, -rng.uniform(3, 5.5), (14.0, 4.0), taken(0.45 * busy), self._cyclist)
        for side in (1, -1):
            for track, direction in ((0.48, 1), (0.66, -1)):
                d = side * (layout.kerb + track * layout.sidewalk)
                self._add(d, direction * rng.uniform(1.0, 1.6), (9.0, 3.5), taken(0.5 * busy), self._walker)

    def _add(self, d: float, speed: float, gaps: tuple[float, float], share: float, make: Make) -> None:
        self._streams.append(Stream(len(self._streams), d, speed, *gaps, share, make))

    def _vehicle(self, rng: np.random.Generator) -> tuple[list[Prim], float]:
        kind, paint, heavy = rng.uniform(), self.world.paint(rng), self.world.style.heavy
        if heavy and rng.uniform() < heavy:
            large = vehicles.bus if kind < 0.3 else vehicles.truck if kind < 0.6 else vehicles.tank_lorry
            made, length, _ = large(rng, paint)
            return made, length
        if kind < 0.08:
            return vehicles.motorcycle(rng, paint, ridden=True), 2.2
        if kind < 0.15:
            made, length, _ = vehicles.bus(rng, paint)
        elif kind < 0.23:
            made, length, _ = vehicles.truck(rng, paint)
        else:
            made, length, _ = vehicles.car(rng, paint)
        return made, length

    def _tram(self, rng: np.random.Generator) -> tuple[list[Prim], float]:
        made, length, _ = vehicles.bus(rng, self.world.paint(rng), name="train")
        return made, length

    def _cyclist(self, rng: np.random.Generator) -> tuple[list[Prim], float]:
        return vehicles.bicycle(rng, ridden=True), 1.8

    def _walker(self, rng: np.random.Generator) -> tuple[list[Prim], float]:
        return raised(vehicles.person(rng, rng.uniform(0.15, 0.4)), KERB), 0.6

    def _object(self, key: int, make: Make) -> tuple[PrimTable, float]:
        if key not in self._made:
            prims, length = make(np.random.default_rng([self.world.seed, 7, key]))
            self._made[key] = (tabulate(prims), length)
        return self._made[key]

    def over(self, frames: Array) -> Movers:
        """Return all movers that are near the camera in one of the frames."""
        ego, _ = self.world.ego.at(frames)
        found: list[Found] = []
        for stream in self._streams:
            found += self._of_stream(stream, frames, ego)
        found += self._ahead(frames)
        s = np.stack([f[2] for f in found], axis=1) if found else np.zeros((len(frames), 0))
        return self._gather(found, s, frames)

    def _gather(self, found: list[Found], s: Array, frames: Array) -> Movers:
        objects = len(found)
        owner = np.repeat(np.arange(objects), [len(f[0].kind) for f in found]) if found else np.zeros(0, dtype=np.int64)
        leader = np.array([f[1] >= _LEADER for f in found], dtype=bool)
        moving = np.full(s.shape, not self.world.config.frozen)
        if leader.any() and not self.world.config.frozen:
            speeds = [self.world.ego.at(frames + self._lag * (f[1] - _LEADER + 1))[1] for f in found if f[1] >= _LEADER]
            moving[:, leader] = np.stack(speeds, axis=1) > 0.05
        d = np.array([f[3] for f in found], dtype=np.float64)
        against = np.array([f[1] < 0 for f in found], dtype=bool)
        return Movers(
            prims=join_tables([f[0] for f in found]),
            owner=owner.astype(np.int64),
            instance=np.array([abs(f[1]) for f in found], dtype=np.int64),
            s=s,
            d=d,
            turned=np.where(against, np.pi, 0.0),
            moving=moving,
        )

    def _of_stream(self, stream: Stream, frames: Array, ego: Array) -> list[Found]:
        travelled = stream.speed * self._time * frames
        low, high = float((ego - BACK - travelled).min()), float((ego + AHEAD - travelled).max())
        found = []
        for place in range(int(low // stream.spacing) - 1, int(high // stream.spacing) + 2):
            start = self._place(stream, place)
            if start is None:
                continue
            key = 10_000_000 * (stream.key + 1) + place + 1_000_000
            made, length = self._object(key, stream.make)
            s = start + travelled
            found.append((made, key if stream.speed > 0 else -key, s, stream.d))
            if stream.make == self._tram:
                found.append((made, -key - 5_000_000, s - length - 0.35, stream.d))
        return found

    def _place(self, stream: Stream, place: int) -> float | None:
        """Return where the mover of a place was at frame 0; None: the place is empty."""
        if (stream.key, place) not in self._places:
            rng = np.random.default_rng([self.world.seed, 8, stream.key, place + 1_000_000])
            taken = rng.uniform() <= stream.share
            start = place * stream.spacing + rng.uniform(-stream.jitter, stream.jitter)
            self._places[stream.key, place] = float(start) if taken else None
        return self._places[stream.key, place]

    def _ahead(self, frames: Array) -> list[Found]:
        """The queue ahead: each one is where the camera's car will be a lag later, plus a gap."""
        found, gap = [], 2.0
        for index in range(self._leaders):
            made, length = self._object(_LEADER + index, self._vehicle)
            gap += length / 2 + 4.0
            if self.world.config.frozen:
                s = np.full_like(frames, self.world.ego.end + gap)
            else:
                s = self.world.ego.at(frames + self._lag * (index + 1))[0] + gap
            gap += length / 2
            found.append((made, _LEADER + index, s, self.world.layout.lane_centre(self.world.layout.ego_lane)))
        return found


_LEADER = 900_000_000


@lru_cache(maxsize=8)
def open_traffic(seed: int, config: WorldConfig) -> Traffic:
    """Return the world of a seed with its traffic; the last few are kept, with what was made of them."""
    return Traffic(World(seed, config))
