"""The cross-section of a drive's road, and where other streets cross it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .route import Route
from .style import Style

CROSSING_PITCH = 130.0
"""One place for a crossing street every so many metres."""
KERB = 0.12
"""Height of the kerb in metres."""


@dataclass(frozen=True)
class Layout:
    """Distances from the road's centre line, in metres; both sides alike."""

    lane: float
    lanes: int
    """Lanes each way."""
    median: float
    """Width of the tramway between the two directions; 0: none."""
    cycle: float
    """Width of the cycle strip at the right of the lanes; 0: none."""
    parking: float
    """Width of the parking strip; 0: none."""
    sidewalk: float
    crossing: float
    """Half width of the streets that cross."""
    ego_lane: int
    """0 is the lane next to the centre line."""
    complex: bool

    @property
    def lanes_end(self) -> float:
        """Where the lanes end."""
        return self.median / 2 + self.lanes * self.lane

    @property
    def kerb(self) -> float:
        """Half width of the road."""
        return self.lanes_end + self.cycle + self.parking

    @property
    def edge(self) -> float:
        """Where the sidewalk ends."""
        return self.kerb + self.sidewalk

    def lane_centre(self, index: int) -> float:
        """Return the distance of a lane's middle from the centre line."""
        return self.median / 2 + (index + 0.5) * self.lane


def draw_layout(style: Style, rng: np.random.Generator, is_complex: bool) -> Layout:
    """Draw a road's cross-section."""
    lanes = 2 if rng.uniform() < style.two_lanes[is_complex] else 1
    tram = rng.uniform() < (0.3 if is_complex else 0.06)
    return Layout(
        lane=float(rng.uniform(*style.lane)),
        lanes=lanes,
        median=3.4 if tram else 0.0,
        cycle=1.6 if rng.uniform() < (0.65 if is_complex else 0.3) else 0.0,
        parking=2.2 if rng.uniform() < (0.85 if is_complex else 0.35) else 0.0,
        sidewalk=float(rng.uniform(2.8, 4.2)),
        crossing=float(rng.uniform(3.2, 4.8)),
        ego_lane=int(rng.integers(lanes)),
        complex=is_complex,
    )


class Crossings:
    """Streets that cross the road at right angles, only where it is straight."""

    def __init__(self, seed: int, route: Route, layout: Layout, share: float) -> None:
        self._seed, self._route, self._layout, self._share = seed, route, layout, share
        self._known: dict[int, float | None] = {}

    def _at(self, index: int) -> float | None:
        if index not in self._known:
            rng = np.random.default_rng([self._seed, 3, index + 1000])
            s = (index + rng.uniform(0.3, 0.7)) * CROSSING_PITCH
            room = self._layout.crossing + self._layout.sidewalk + 4
            straight = all(a.curvature == 0 for a in self._route.nearby(s - room, s + room))
            self._known[index] = float(s) if straight and rng.uniform() < self._share else None
        return self._known[index]

    def between(self, low: float, high: float) -> list[float]:
        """Return the crossing streets' s in [low, high], ascending."""
        first, last = int(low // CROSSING_PITCH), int(high // CROSSING_PITCH)
        found = (self._at(i) for i in range(first, last + 1))
        return [s for s in found if s is not None and low <= s <= high]
