"""Vehicles, and people on foot and on two wheels. Every builder returns an object: prims around its own origin."""

from __future__ import annotations

import math

import numpy as np

from semdepth.labels import TRAIN_ID

from . import texture
from .shapes import Pattern, Prim, Surface, Vector, ball, box, cylinder, panes, rod, wedge

_BLACK: Vector = (0.02, 0.02, 0.022)
_RUBBER = Surface((0.022, 0.022, 0.024), texture.ASPHALT, 1.5)
_HUB = Surface((0.32, 0.32, 0.34), texture.PAINT, 2.0)
_STEEL = Surface((0.25, 0.26, 0.27), texture.PAINT, 2.0)
_GLASS: Vector = (0.045, 0.06, 0.075)
_HEADLAMP: Vector = (0.9, 0.9, 0.85)
_TAILLAMP: Vector = (0.55, 0.02, 0.02)


def _wheels(label: int, xs: float, zs: tuple[float, ...], radius: float, width: float = 0.22) -> list[Prim]:
    prims = []
    for z in zs:
        for side in (-1, 1):
            prims.append(cylinder(label, _RUBBER, radius, width, x=side * xs, up=radius, z=z, axis="x", shadow=False))
            prims.append(
                cylinder(label, _HUB, radius * 0.6, width + 0.03, x=side * xs, up=radius, z=z, axis="x", shadow=False)
            )
    return prims


def _lamps(width: float, height: float) -> Pattern:
    """Lamps at both corners of the nose (+z, white) and the tail (−z, red); the stripe straddles the corners."""
    lamp = 0.17 * width
    return panes(
        (width, 9, 0), (2 * lamp / width, 0.15 / 9, 0), (-lamp, 0.62 * height, 0), _HEADLAMP, jitter=0.0, back=_TAILLAMP
    )


def car(rng: np.random.Generator, paint: Vector) -> tuple[list[Prim], float, float]:
    """Return a car, its length and its width."""
    label = TRAIN_ID["car"]
    van = rng.uniform() < 0.2
    length = rng.uniform(4.6, 5.2) if van else rng.uniform(3.7, 4.8)
    width = rng.uniform(1.68, 1.88)
    belt = rng.uniform(0.92, 1.05) if van else rng.uniform(0.80, 0.95)
    top = rng.uniform(1.8, 2.0) if van else rng.uniform(1.40, 1.58)
    radius = rng.uniform(0.29, 0.34)
    doors = panes((length / 2.6, 9, 0), (0.012, 0.8, 0), (0.1, 0.0, 0), _BLACK)
    body = Surface(paint, texture.PAINT, 1.0, x=doors, z=_lamps(width, belt - 0.2))
    bumper = Surface((0.05, 0.05, 0.055), texture.ASPHALT, 1.0)
    cabin_length = length * (0.78 if van else rng.uniform(0.50, 0.64))
    back = -length / 2 + 0.04 + cabin_length / 2 if van or rng.uniform() < 0.5 else -length * rng.uniform(0.06, 0.12)
    tall = top - belt - 0.06
    # The cabin's own x runs along the car (along_z), so its z-faces are the sides.
    side_glass = panes((cabin_length / 2.0, 9, 0), (0.86, (tall - 0.06) / 9, 0), (0.12, 0.04, 0), _GLASS)
    screens = panes((9, 9, 0), ((width - 0.34) / 9, (tall - 0.05) / 9, 0), (0.06, 0.03, 0), _GLASS)
    cabin = Surface(paint, texture.PAINT, 1.0, x=screens, z=side_glass)
    nose = 0.15 if van else rng.uniform(0.35, 0.55)
    tail = 0.1 if van else rng.uniform(0.15, 0.45)
    share = cabin_length / 2
    prims = [
        box(label, body, (width, belt - 0.22, length), up=0.22),
        box(label, bumper, (width * 0.97, 0.2, length * 0.985), up=0.16),
        wedge(
            label,
            cabin,
            (width - 0.16, tall, cabin_length),
            (nose / share, tail / share),
            up=belt,
            z=back,
            along_z=True,
        ),
        box(
            label,
            Surface(paint, texture.PAINT),
            (width - 0.22, 0.06, cabin_length - nose - tail),
            up=top - 0.06,
            z=back - (nose - tail) / 2,
        ),
    ]
    return prims + _wheels(label, width / 2 - 0.1, (-length * 0.3, length * 0.31), radius), length, width


def truck(rng: np.random.Generator, paint: Vector) -> tuple[list[Prim], float, float]:
    """Return a box truck, its length and its width."""
    label = TRAIN_ID["truck"]
    length, width, top = rng.uniform(6.5, 9.0), rng.uniform(2.2, 2.45), rng.uniform(2.9, 3.6)
    cab = 1.9
    load = tuple(rng.uniform(0.25, 0.7) * np.array([1.0, rng.uniform(0.85, 1), rng.uniform(0.75, 1)]))
    screen = panes((9, 9, 0), ((width - 0.3) / 9, 0.8 / 9, 0), (0.12, 0.85, 0), _GLASS)
    windows = panes((9, 9, 0), (0.9 / 9, 0.7 / 9, 0), (0.6, 0.9, 0), _GLASS)
    stripe = panes((9, 9, 0), (0.5, 0.5 / 9, 0), (0.6, 0.6, 0), paint)
    ribs = panes((1.2, 9, 0), (0.03, 1.0, 0), (0.0, 0.0, 0), _BLACK, jitter=0.0, back=(0.2, 0.02, 0.02))
    prims = [
        box(
            label,
            Surface(paint, texture.PAINT, x=windows, z=screen),
            (width - 0.1, 2.0, cab),
            up=0.55,
            z=length / 2 - cab / 2,
        ),
        box(
            label,
            Surface((load[0], load[1], load[2]), texture.PAINT, 1.5, x=stripe, z=ribs),
            (width, top - 0.9, length - cab - 0.15),
            up=0.9,
            z=-cab / 2 - 0.07,
        ),
        box(label, Surface((0.04, 0.04, 0.045), texture.ASPHALT), (width * 0.8, 0.45, length * 0.97), up=0.5),
    ]
    return prims + _wheels(label, width / 2 - 0.16, (-length * 0.34, length * 0.33), 0.48, 0.3), length, width


def tank_lorry(rng: np.random.Generator, paint: Vector) -> tuple[list[Prim], float, float]:
    """Return a lorry with a round tank, often white or of bare metal, its length and its width."""
    label = TRAIN_ID["truck"]
    length, width, cab = rng.uniform(7.5, 10.5), rng.uniform(2.3, 2.5), 2.0
    radius, up = rng.uniform(0.95, 1.15), rng.uniform(1.85, 2.05)
    grey = rng.uniform(0.3, 0.9)
    shell = Surface((grey, grey, grey) if rng.uniform() < 0.7 else paint, texture.PAINT, rng.uniform(0.5, 2.0))
    screen = panes((9, 9, 0), ((width - 0.3) / 9, 0.8 / 9, 0), (0.12, 0.85, 0), _GLASS)
    windows = panes((9, 9, 0), (0.9 / 9, 0.7 / 9, 0), (0.6, 0.9, 0), _GLASS)
    tank, back = length - cab - 0.3, -cab / 2 - 0.1
    dark = Surface((0.04, 0.04, 0.045), texture.ASPHALT)
    prims = [
        box(
            label,
            Surface(paint, texture.PAINT, x=windows, z=screen),
            (width - 0.1, 2.1, cab),
            up=0.55,
            z=length / 2 - cab / 2,
        ),
        cylinder(label, shell, radius, tank, up=up, z=back, axis="z"),
        box(label, dark, (width * 0.7, 0.4, length * 0.97), up=0.55),
        box(label, _STEEL, (0.5, 0.06, tank * 0.8), up=up + radius - 0.01, z=back),
    ]
    prims += [
        cylinder(label, _STEEL, radius + 0.015, 0.08, up=up, z=back + tank * s, axis="z") for s in (-0.3, 0.0, 0.3)
    ]
    return prims + _wheels(label, width / 2 - 0.16, (-length * 0.36, length * 0.33), 0.48, 0.3), length, width


def bus(rng: np.random.Generator, paint: Vector, name: str = "bus") -> tuple[list[Prim], float, float]:
    """Return a bus (or, called ``train``, one car of a tram), its length and its width."""
    label = TRAIN_ID[name]
    rail = name == "train"
    length, width, top = rng.uniform(9.0, 10.5), (2.4 if rail else 2.5), (3.5 if rail else rng.uniform(2.95, 3.2))
    glass = panes((1.55, 9, 0), (0.9, 1.05 / 9, 0), (0.12, 0.95 if rail else 0.8, 0), _GLASS, jitter=0.25)
    screen = panes((9, 9, 0), ((width - 0.2) / 9, 1.3 / 9, 0), (0.1, 0.75, 0), _GLASS)
    band = panes((9, 9, 0), (1.0, 0.25, 0), (0.0, 0.0, 0), (0.55, 0.55, 0.53))
    prims = [
        box(label, Surface(paint, texture.PAINT, 1.2, x=glass, z=screen), (width, top - 0.4, length), up=0.4),
        box(label, Surface((0.5, 0.5, 0.5), texture.PAINT, x=band), (width * 0.7, 0.2, length * 0.6), up=top),
        box(label, Surface((0.05, 0.05, 0.05), texture.ASPHALT), (width * 0.94, 0.3, length * 0.97), up=0.15),
    ]
    wheels = [] if rail else _wheels(label, width / 2 - 0.15, (-length * 0.28, length * 0.33), 0.46, 0.28)
    return prims + wheels, length, width


def person(rng: np.random.Generator, stride: float | None = None) -> list[Prim]:
    """Return someone standing, or walking with the legs ``stride`` radians apart."""
    label = TRAIN_ID["person"]
    tall = rng.uniform(0.92, 1.08)
    swing = rng.uniform(0.02, 0.12) if stride is None else stride
    coat, trousers, skin, hair = _clothes(rng)
    prims = []
    for side in (-1, 1):
        foot = 0.86 * tall * math.sin(side * swing)
        prims.append(rod(label, trousers, 0.085, (side * 0.10, 0.02, foot), (side * 0.09, 0.88 * tall, 0.0)))
        hand = -0.55 * tall * math.sin(side * swing)
        prims.append(rod(label, coat, 0.055, (side * 0.27, 0.80 * tall, hand), (side * 0.22, 1.40 * tall, 0.0)))
    prims.append(ball(label, coat, (0.225, 0.36 * tall, 0.15), (0.0, 1.14 * tall, 0.0)))
    prims.append(ball(label, skin, (0.09, 0.12, 0.105), (0.0, 1.60 * tall, 0.01)))
    prims.append(ball(label, hair, (0.10, 0.10, 0.11), (0.0, 1.66 * tall, -0.02)))
    return prims


def _clothes(rng: np.random.Generator) -> tuple[Surface, Surface, Surface, Surface]:
    coat = rng.uniform(0.02, 0.5, 3) * rng.uniform(0.3, 1.0)
    trousers = np.array([0.08, 0.09, 0.14]) * rng.uniform(0.3, 2.2)
    skin = np.array([0.55, 0.36, 0.26]) * rng.uniform(0.35, 1.05)
    hair = np.array([0.10, 0.07, 0.04]) * rng.uniform(0.2, 2.0)
    surfaces = [
        Surface((float(c[0]), float(c[1]), float(c[2])), texture.BARK, 0.7) for c in (coat, trousers, skin, hair)
    ]
    return surfaces[0], surfaces[1], surfaces[2], surfaces[3]


def bicycle(rng: np.random.Generator, ridden: bool) -> list[Prim]:
    """Return a bicycle, with its rider if ``ridden``."""
    label = TRAIN_ID["bicycle"]
    frame = Surface(tuple(rng.uniform(0.03, 0.5, 3)), texture.PAINT)
    # Spoked wheels read as thin discs of mixed brightness.
    spokes = Surface((0.17, 0.17, 0.17), texture.BARK, 2.0)
    prims = [cylinder(label, _RUBBER, 0.34, 0.035, up=0.34, z=z, axis="x") for z in (-0.52, 0.52)]
    prims += [cylinder(label, spokes, 0.29, 0.045, up=0.34, z=z, axis="x", shadow=False) for z in (-0.52, 0.52)]
    crank, seat, head = (0.0, 0.32, -0.05), (0.0, 0.86, -0.2), (0.0, 0.88, 0.36)
    for start, end in (
        (crank, seat),
        (crank, head),
        (seat, head),
        ((0.0, 0.34, -0.52), seat),
        ((0.0, 0.34, 0.52), head),
    ):
        prims.append(rod(label, frame, 0.025, start, end))
    prims.append(rod(label, _STEEL, 0.02, (-0.26, 1.0, 0.34), (0.26, 1.0, 0.34)))
    prims.append(box(label, _RUBBER, (0.16, 0.07, 0.26), up=0.88, z=-0.22))
    return prims + (_rider(rng, 0.92, -0.2, 1.0, 0.3) if ridden else [])


def motorcycle(rng: np.random.Generator, paint: Vector, ridden: bool) -> list[Prim]:
    """Return a motorcycle, with its rider if ``ridden``."""
    label = TRAIN_ID["motorcycle"]
    body = Surface(paint, texture.PAINT)
    prims = [cylinder(label, _RUBBER, 0.31, 0.14, up=0.31, z=z, axis="x") for z in (-0.68, 0.70)]
    prims += [cylinder(label, _HUB, 0.18, 0.16, up=0.31, z=z, axis="x", shadow=False) for z in (-0.68, 0.70)]
    prims.append(ball(label, body, (0.19, 0.2, 0.42), (0.0, 0.82, 0.22)))
    prims.append(box(label, _STEEL, (0.3, 0.38, 0.62), up=0.25))
    prims.append(box(label, _RUBBER, (0.26, 0.14, 0.75), up=0.72, z=-0.38, pitch=-0.08))
    prims.append(
        box(label, Surface((0.4, 0.4, 0.4), texture.PAINT, z=_lamps(0.3, 0.3)), (0.3, 0.26, 0.14), up=0.82, z=0.62)
    )
    prims.append(rod(label, _STEEL, 0.04, (0.0, 0.31, 0.70), (0.0, 1.0, 0.5)))
    prims.append(rod(label, _STEEL, 0.025, (-0.36, 1.05, 0.42), (0.36, 1.05, 0.42)))
    return prims + (_rider(rng, 0.86, -0.25, 1.05, 0.38, helmet=True) if ridden else [])


def _rider(
    rng: np.random.Generator, seat: float, back: float, bar: float, front: float, helmet: bool = False
) -> list[Prim]:
    label = TRAIN_ID["rider"]
    coat, trousers, skin, hair = _clothes(rng)
    shoulder = (seat + 0.52, back + 0.2)
    prims = [ball(label, coat, (0.21, 0.34, 0.15), (0.0, seat + 0.28, back + 0.1), pitch=0.32)]
    for side in (-1, 1):
        knee = (side * 0.13, seat - 0.22 - 0.12 * side, back + 0.38)
        prims.append(rod(label, trousers, 0.085, (side * 0.1, seat, back), knee))
        prims.append(rod(label, trousers, 0.065, knee, (side * 0.13, 0.36 - 0.12 * side, back + 0.2)))
        prims.append(rod(label, coat, 0.05, (side * 0.2, shoulder[0], shoulder[1]), (side * 0.28, bar, front)))
    prims.append(ball(label, skin, (0.09, 0.12, 0.105), (0.0, seat + 0.74, back + 0.28)))
    cap = Surface(tuple(rng.uniform(0.05, 0.6, 3)), texture.PAINT) if helmet or rng.uniform() < 0.5 else hair
    prims.append(ball(label, cap, (0.12, 0.12, 0.14), (0.0, seat + 0.80, back + 0.26)))
    return prims
