"""Where the road runs and how the camera's car moves along it.

The road's coordinates: s metres along the centre line, d metres to its right. World axes: x right, y down, z forward,
the road's surface at y = 0. A heading h points along (sin h, cos h) in (x, z); its right is (cos h, −sin h).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FRAME_TIME = 0.1
"""Seconds between frames (KITTI's 10 Hz)."""
BRAKING = 2.0
"""Metres over which a drive that ends comes to rest."""
BEHIND = 120.0
"""Metres of road behind the start."""


class Arc(NamedTuple):
    """A piece of the centre line with one curvature."""

    start: float
    """s of its first point."""
    x: float
    z: float
    heading: float
    curvature: float
    """1/m, positive to the right."""
    length: float


def _arc_point(arc: Arc, along: Array) -> tuple[Array, Array, Array]:
    heading = arc.heading + arc.curvature * along
    if arc.curvature == 0:
        return arc.x + math.sin(arc.heading) * along, arc.z + math.cos(arc.heading) * along, heading
    x = arc.x + (math.cos(arc.heading) - np.cos(heading)) / arc.curvature
    z = arc.z + (np.sin(heading) - math.sin(arc.heading)) / arc.curvature
    return x, z, heading


class Route:
    """An endless road of straights and bends, made as far as it is asked for."""

    def __init__(self, seed: int, min_radius: float, bends: float) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self._min_radius = min_radius
        self._bends = bends
        self.arcs: list[Arc] = [Arc(-BEHIND, 0.0, -BEHIND, 0.0, 0.0, BEHIND + self._rng.uniform(15, 70))]

    def reach(self, s: float) -> None:
        """Make the road at least as far as ``s``."""
        while self.arcs[-1].start + self.arcs[-1].length < s:
            last = self.arcs[-1]
            x, z, heading = (float(v) for v in _arc_point(last, np.array(last.length)))
            start = last.start + last.length
            if last.curvature != 0 and self._rng.uniform() < 0.8:
                self.arcs.append(Arc(start, x, z, heading, 0.0, self._rng.uniform(30, 140)))
            else:
                self.arcs.append(self._bend(start, x, z, heading, last.curvature))

    def _bend(self, start: float, x: float, z: float, heading: float, before: float) -> Arc:
        sharp = self._rng.uniform() < self._bends
        radius = self._rng.uniform(self._min_radius, self._min_radius * 2) if sharp else self._rng.uniform(80, 350)
        angle = self._rng.uniform(0.5, 1.3) if sharp else self._rng.uniform(0.1, 0.5)
        # Headings stay within ±75° of the first one, so that the road never crosses itself.
        side = -math.copysign(1.0, before) if before else (1.0 if self._rng.uniform() < 0.5 else -1.0)
        if abs(heading + side * angle) > 1.3:
            side = -math.copysign(1.0, heading)
        return Arc(start, x, z, heading, side / radius, angle * radius)

    def pose(self, s: Array, d: Array) -> tuple[Array, Array, Array]:
        """Return x, z and heading of the points at (s, d)."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        if s.size == 0:
            return s.copy(), s.copy(), s.copy()
        self.reach(float(s.max()) + 1)
        starts = np.array([a.start for a in self.arcs])
        which = np.clip(np.searchsorted(starts, s, side="right") - 1, 0, None)
        x, z, heading = np.empty(s.shape), np.empty(s.shape), np.empty(s.shape)
        for index in np.unique(which):
            here = which == index
            x[here], z[here], heading[here] = _arc_point(self.arcs[index], s[here] - starts[index])
        return x + d * np.cos(heading), z - d * np.sin(heading), heading

    def place(self, s: float, d: float) -> tuple[float, float, float]:
        """Return x, z and heading of one point; `pose` for a single one, without the arrays."""
        self.reach(s + 1)
        arc = self.arcs[max(bisect_right(self.arcs, s, key=lambda a: a.start) - 1, 0)]
        along = s - arc.start
        heading = arc.heading + arc.curvature * along
        sin, cos = math.sin(heading), math.cos(heading)
        if arc.curvature == 0:
            x, z = arc.x + sin * along, arc.z + cos * along
        else:
            x = arc.x + (math.cos(arc.heading) - cos) / arc.curvature
            z = arc.z + (sin - math.sin(arc.heading)) / arc.curvature
        return x + d * cos, z - d * sin, heading

    def nearby(self, low: float, high: float) -> list[Arc]:
        """Return the arcs that touch [low, high]."""
        self.reach(high)
        return [a for a in self.arcs if a.start < high and a.start + a.length > low]

    def curvature(self, s: float) -> float:
        """Return the centre line's curvature at ``s``."""
        return next(a.curvature for a in self.nearby(s - 1e-6, s + 1e-6))

    def distance(self, x: Array, z: Array, around: float) -> Array:
        """Return the distance of points from the centre line, looking within 150 m of s = ``around``."""
        s = np.arange(max(around - 150, 2 - BEHIND), around + 150, 2.0)
        cx, cz, _ = self.pose(s, np.zeros_like(s))
        return np.asarray(np.hypot(x[:, None] - cx, z[:, None] - cz).min(axis=1))


class EgoMotion:
    """The speed of the camera's car: cruising, braking before bends, in some drives stopping."""

    def __init__(self, seed: int, route: Route, min_speed: float, max_speed: float, end: float = math.inf) -> None:
        """Plan a drive that comes to rest at s = ``end``."""
        self._rng = np.random.default_rng([seed, 2])
        self.end = end
        self._route = route
        self._range = (min_speed, max_speed)
        self._stops = self._rng.uniform() < 0.45
        self._target = self._rng.uniform(min_speed, max_speed)
        self._until = int(self._rng.integers(20, 80))
        self._halted = False
        self._speed = [min(self._target, self._bend_speed(0.0))]
        self._s = [0.0]

    def _bend_speed(self, s: float) -> float:
        """Return the speed that keeps the sideways acceleration under 2.2 m/s², now and 12 m ahead."""
        sharpest = max(abs(a.curvature) for a in self._route.nearby(s - 1, s + 12))
        return math.sqrt(2.2 / sharpest) if sharpest > 0 else math.inf

    def _next_phase(self) -> None:
        self._halted = self._stops and not self._halted and self._rng.uniform() < 0.35
        self._target = 0.0 if self._halted else self._rng.uniform(*self._range)
        self._until = len(self._s) + int(self._rng.integers(50, 75) if self._halted else self._rng.integers(30, 100))

    def _step(self) -> None:
        if len(self._s) >= self._until:
            self._next_phase()
        speed, s = self._speed[-1], self._s[-1]
        wish = min(self._target, max(self._bend_speed(s), min(self._range[0], 3.0)))
        change = min(max(wish - speed, -3.0 * FRAME_TIME), 1.8 * FRAME_TIME)
        self._s.append(s + (speed + change / 2) * FRAME_TIME)
        self._speed.append(speed + change)

    def at(self, frame: Array) -> tuple[Array, Array]:
        """Return s and speed at (fractional) frame numbers >= 0."""
        while len(self._s) < float(np.max(frame)) + 2:
            self._step()
        grid = np.arange(len(self._s))
        s, speed = np.interp(frame, grid, self._s), np.interp(frame, grid, self._speed)
        if self.end == math.inf:
            return s, speed
        # As s, far before the end; then ever slower towards it.
        left = (self.end - s) / BRAKING
        return self.end - BRAKING * np.logaddexp(0.0, left), speed / (1.0 + np.exp(-left))
