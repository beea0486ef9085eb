"""Forty metres of street: what stands on both sides of the road, drawn from the world's seed and the block's number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from . import street, vehicles
from .layout import KERB
from .placement import Placed, move
from .shapes import Prim, raised, tabulate

if TYPE_CHECKING:
    from .world import World

BLOCK = 40.0
"""Length of a block in metres."""
BRIDGE_ROOM = 8.0
"""Half the length of road that a bridge keeps free, in metres."""
_ZONES = ("town", "cottages", "park", "walled", "open")


class Block:
    """A block under construction."""

    def __init__(self, world: World, index: int) -> None:
        self.world, self.layout, self.style = world, world.layout, world.style
        self.index = index
        self.low, self.high = index * BLOCK, (index + 1) * BLOCK
        self.rng = np.random.default_rng([world.seed, 4, index + 1000])
        self.crossings = world.crossings.between(self.low - 30, self.high + 30)
        self.objects: list[tuple[list[Prim], float, float, float, float]] = []
        self.spots: list[tuple[float, float, float]] = []
        self.bridge: float | None = None
        """Where along the road a bridge crosses it."""

    def build(self) -> Placed:
        """Return everything that stands here."""
        self._bridge()
        for side in (1, -1):
            # Zones change every second block; both sides draw their own.
            zones = np.random.default_rng([self.world.seed, 5, self.index // 2 + 1000, side + 1])
            weights = (0.5, 0.2, 0.14, 0.1, 0.06) if self.layout.complex else (0.18, 0.32, 0.22, 0.1, 0.18)
            zone = _ZONES[int(zones.choice(len(_ZONES), p=weights))]
            getattr(self, f"_{zone}")(side)
            self._kerbside(side, zone)
            self._parking(side)
            self._people(side)
        self._junctions()
        return self._finish()

    # Placing. An object's heading is the road's, turned by ``turn``; houses turn their front (−z) to the road.

    def _free(self, s: float, reach: float, beyond: float) -> bool:
        clear = all(abs(s - c) > self.layout.crossing + beyond + reach for c in self.crossings)
        return clear and (self.bridge is None or abs(s - self.bridge) > BRIDGE_ROOM + reach)

    def _put(self, prims: list[Prim], s: float, d: float, turn: float, lift: bool = True) -> None:
        x, z, heading = self.world.route.place(s, d)
        self.objects.append((raised(prims, KERB) if lift else prims, x, z, heading + turn, s))

    def _put_facing(self, prims: list[Prim], s: float, d: float, width: float, depth: float) -> None:
        """Put something whose front faces the road, unless it would stand on the road (inside of a bend)."""
        turn = math.copysign(math.pi / 2, d)
        x, z, heading = self.world.route.place(s, d)
        yaw = heading + turn
        u, v = (
            a.ravel() for a in np.meshgrid(np.linspace(-width / 2, width / 2, 5), np.array([-depth / 2, 0, depth / 2]))
        )
        xs, zs = x + u * math.cos(yaw) + v * math.sin(yaw), z - u * math.sin(yaw) + v * math.cos(yaw)
        if self.world.route.distance(xs, zs, s).min() > self.layout.edge - 0.35:
            self._put(prims, s, d, turn)

    def _along(self, pitch: float, spread: float, place: Callable[[float], None]) -> None:
        """Call ``place`` at points about ``pitch`` apart."""
        s = self.low + self.rng.uniform(0, pitch)
        while s < self.high:
            place(s)
            s += pitch * self.rng.uniform(1 - spread, 1 + spread)

    # Zones.

    def _town(self, side: int) -> None:
        s = self.low
        while s < self.high - 5:
            width = min(self.rng.uniform(8, 16), self.high - s)
            depth = self.rng.uniform(8, 12)
            middle = s + width / 2
            if self._free(middle, width / 2, self.layout.sidewalk) and self.rng.uniform() < 0.93:
                house = street.town_house(self.rng, self.style, width - 0.02, depth)
                self._put_facing(
                    house, middle, side * (self.layout.edge + depth / 2 + self.rng.uniform(0, 0.4)), width, depth
                )
            s += width + (self.rng.uniform(2, 6) if self.rng.uniform() < 0.15 else 0)

    def _cottages(self, side: int) -> None:
        for middle in (self.low + 10, self.low + 30):
            back = self.layout.edge + self.rng.uniform(8.5, 12)
            if self._free(middle, 6, self.layout.sidewalk):
                self._put_facing(street.cottage(self.rng, self.style), middle, side * back, 11, 9)
            kind = self.rng.uniform()
            if kind < 0.4:
                self._border(side, middle, self._fence)
            elif kind < 0.6:
                self._border(side, middle, self._hedge)
            elif kind < 0.75:
                self._border(side, middle, self._garden_wall)
            self._trees(side, (3.0, 7.5), (middle - 8, middle + 8), 1.2)

    def _park(self, side: int) -> None:
        self._trees(side, (2.5, 22.0), (self.low, self.high), 6)
        if self.rng.uniform() < 0.6:
            for middle in (self.low + 10, self.low + 30):
                self._border(side, middle, self._fence if self.rng.uniform() < 0.5 else self._hedge)
        for _ in range(int(self.rng.poisson(2))):
            s = self.rng.uniform(self.low, self.high)
            if self._free(s, 1, self.layout.sidewalk):
                self._put(
                    street.bush(self.rng, self.style), s, side * (self.layout.edge + self.rng.uniform(1.2, 8)), 0.0
                )

    def _walled(self, side: int) -> None:
        tall = self.rng.uniform(1.6, 3.2)
        for middle in (self.low + 10, self.low + 30):
            self._border(side, middle, lambda length: street.wall(self.rng, self.style, length, tall))
        self._trees(side, (3.5, 14.0), (self.low, self.high), 3)

    def _open(self, side: int) -> None:
        self._trees(side, (6.0, 30.0), (self.low, self.high), 1.5)
        if self.rng.uniform() < 0.5:
            for middle in (self.low + 10, self.low + 30):
                self._border(side, middle, self._fence)

        def pole(s: float) -> None:
            if self._free(s, 1, self.layout.sidewalk):
                self._put(street.utility_pole(self.rng), s, side * (self.layout.edge + 1.5), 0.0)

        self._along(32, 0.1, pole)

    def _fence(self, length: float) -> list[Prim]:
        return street.fence(self.rng, length)

    def _hedge(self, length: float) -> list[Prim]:
        return street.hedge(self.rng, self.style, length)

    def _garden_wall(self, length: float) -> list[Prim]:
        return street.wall(self.rng, self.style, length, self.rng.uniform(0.7, 1.3))

    def _border(self, side: int, middle: float, maker: Callable[[float], list[Prim]]) -> None:
        """Put a fence, hedge or wall of up to 20 m along the sidewalk; in bends it is made of short pieces."""
        bent = any(a.curvature != 0 for a in self.world.route.nearby(middle - 10, middle + 10))
        pieces = 5 if bent else 1
        length = 20 / pieces
        for index in range(pieces):
            s = middle - 10 + (index + 0.5) * length
            if self._free(s, length / 2, self.layout.sidewalk):
                # On the outside of a bend the pieces must be longer to close up.
                curvature = self.world.route.curvature(s)
                stretch = 1 - side * (self.layout.edge + 0.6) * curvature
                self._put_facing(maker(length * max(stretch, 0.3)), s, side * (self.layout.edge + 0.5), length, 0.5)

    def _trees(self, side: int, beyond: tuple[float, float], along: tuple[float, float], count: float) -> None:
        for _ in range(int(self.rng.poisson(count))):
            s, d = self.rng.uniform(*along), self.layout.edge + self.rng.uniform(*beyond)
            if not self._free(s, 2, self.layout.sidewalk):
                continue
            tall = self.rng.uniform(5, 12)
            grown = (
                street.tree(self.rng, self.style, tall, 1.0)
                if self.rng.uniform() < 0.75
                else street.conifer(self.rng, self.style, tall)
            )
            x, z, _ = self.world.route.pose(np.array([s]), np.array([side * d]))
            if self.world.route.distance(x, z, s).min() > self.layout.edge + 1.5:
                self._put(grown, s, side * d, self.rng.uniform(0, 6))

    def _bridge(self) -> None:
        """Lead another way over the road, by draws of its own: worlds without bridges stay what they were."""
        rng = np.random.default_rng([self.world.seed, 11, self.index + 1000])
        middle = (self.low + self.high) / 2
        if rng.uniform() < self.style.bridges and self._free(middle, BRIDGE_ROOM, self.layout.sidewalk):
            self._put(street.bridge(rng, 2 * self.layout.edge + rng.uniform(0.5, 6)), middle, 0.0, 0.0, lift=False)
            self.bridge = middle

    # The strip beside the kerb, the parking strip, people.

    def _spot(self, s: float, d: float, radius: float) -> bool:
        """Return whether nothing stands within ``radius`` of (s, d) yet, and take the place."""
        if any(math.hypot(s - a, d - b) < radius + r for a, b, r in self.spots):
            return False
        self.spots.append((s, d, radius))
        return True

    def _kerbside(self, side: int, zone: str) -> None:
        rng, layout, density = self.rng, self.layout, self.world.density
        facing = math.copysign(math.pi / 2, side)
        near = side * (layout.kerb + 0.55)

        def lamp(s: float) -> None:
            if self._free(s, 0.5, 0.5) and self._spot(s, near, 0.4):
                self._put(street.lamp_post(rng), s, near, facing)

        def grow(s: float) -> None:
            if self._free(s, 2, 1) and self._spot(s, near, 0.6):
                self._put(street.tree(rng, self.style, rng.uniform(5, 8.5), 2.7), s, near, rng.uniform(0, 6))

        def post(s: float) -> None:
            if self._free(s, 0.5, 0.5) and self._spot(s, near, 0.3):
                self._put(street.bollard(rng), s, near, 0.0)

        self._along(28 if layout.complex else 38, 0.1, lamp)
        if zone in ("town", "park") and rng.uniform() < 0.25 + 0.35 * density:
            self._along(rng.uniform(9, 14), 0.2, grow)
        for _ in range(int(rng.poisson(1.3 * density + 0.15))):
            s = rng.uniform(self.low, self.high)
            if self._free(s, 0.5, 0.5) and self._spot(s, near, 0.5):
                self._put(street.sign(rng), s, near, 0.0 if side > 0 else math.pi)
        if zone == "town" and rng.uniform() < 0.3 * density:
            self._along(2.2, 0.05, post)
        if rng.uniform() < 0.5 * density:
            self._cycle_stand(side)

    def _cycle_stand(self, side: int) -> None:
        s = self.rng.uniform(self.low, self.high - 4)
        for index in range(int(self.rng.integers(1, 5))):
            here, d = s + 0.75 * index, side * (self.layout.kerb + 1.15)
            if self._free(here, 1, 1) and self._spot(here, d, 0.35):
                self._put(
                    vehicles.bicycle(self.rng, ridden=False), here, d, math.pi / 2 + self.rng.uniform(-0.15, 0.15)
                )

    def _parking(self, side: int) -> None:
        layout, rng = self.layout, self.rng
        if layout.parking == 0:
            return
        share = rng.uniform(0.6, 0.95) if layout.complex else rng.uniform(0.05, 0.4)
        s = self.low
        while s < self.high - 5.5:
            kind = rng.uniform()
            if kind < 0.06 and s < self.high - 11:
                made, length, width = vehicles.truck(rng, self.world.paint(rng))
            elif kind < 0.12:
                made, length, width = vehicles.motorcycle(rng, self.world.paint(rng), ridden=False), 2.4, 0.8
            else:
                made, length, width = vehicles.car(rng, self.world.paint(rng))
            middle = s + length / 2 + rng.uniform(0.4, 1.2)
            if rng.uniform() < share and self._free(middle, length / 2, 6):
                d = layout.kerb - 0.15 - width / 2 - rng.uniform(0, 0.1)
                turned = math.pi if (side < 0) != (rng.uniform() < 0.1) else 0.0
                self._put(made, middle, side * d, turned + rng.normal(0, 0.012), lift=False)
            s = middle + length / 2 + 0.4

    def _people(self, side: int) -> None:
        rate = 2.2 if self.layout.complex else 0.25
        for _ in range(int(self.rng.poisson(rate * min(self.world.config.traffic, 3) * self.style.density))):
            s, d = self.rng.uniform(self.low, self.high), side * (self.layout.edge - self.rng.uniform(0.3, 0.55))
            for index in range(int(self.rng.integers(1, 3))):
                here = s + 0.65 * index
                if self._free(here, 0.5, 0.5) and self._spot(here, d, 0.3):
                    self._put(vehicles.person(self.rng), here, d, self.rng.uniform(0, 6.28))

    def _junctions(self) -> None:
        layout, rng = self.layout, self.rng
        for c in self.crossings:
            if not self.low <= c < self.high or rng.uniform() > (0.85 if layout.complex else 0.35):
                continue
            corner = layout.crossing + 1.0
            reach = layout.kerb - layout.lane * 0.5 if rng.uniform() < 0.6 else 0.0
            self._put(street.traffic_light(rng, reach), c - corner, layout.kerb + 0.7, 0.0)
            self._put(street.traffic_light(rng, reach), c + corner, -layout.kerb - 0.7, math.pi)

    def _finish(self) -> Placed:
        prims = [p for made, *_ in self.objects for p in made]
        counts = [len(made) for made, *_ in self.objects]
        table = tabulate(prims)
        where = np.repeat(np.array([o[1:] for o in self.objects], dtype=np.float64).reshape(-1, 4), counts, axis=0)
        number = (self.index + 1000) * 1000 + np.arange(1, len(counts) + 1)
        return Placed(move(table, where[:, 0], where[:, 1], where[:, 2]), np.repeat(number, counts), where[:, 3])
