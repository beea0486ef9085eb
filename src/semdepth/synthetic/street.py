"""What stands still beside the road: houses, walls, fences, trees, poles, signs, lights; and bridges over it."""

from __future__ import annotations

import numpy as np

from semdepth.labels import TRAIN_ID

from . import texture
from .shapes import PLAIN, Prim, Surface, Vector, ball, box, cylinder, panes, tinted, wedge
from .style import Style

_GALVANISED = Surface((0.27, 0.28, 0.29), texture.PAINT, 2.0)
_DARK_STEEL = Surface((0.06, 0.07, 0.07), texture.PAINT, 2.0)
_SIGN_COLOURS: tuple[Vector, ...] = (
    (0.02, 0.10, 0.45),
    (0.70, 0.70, 0.70),
    (0.55, 0.40, 0.02),
    (0.50, 0.02, 0.02),
    (0.02, 0.25, 0.10),
)


def _pick(rng: np.random.Generator, colours: tuple[Vector, ...]) -> Vector:
    r, g, b = np.array(colours[int(rng.integers(len(colours)))]) * rng.uniform(0.8, 1.2) * rng.uniform(0.94, 1.06, 3)
    return (float(r), float(g), float(b))


def town_house(rng: np.random.Generator, style: Style, width: float, depth: float) -> list[Prim]:
    """Return a house of several floors; its x axis runs along the street, its front looks to −z."""
    label = TRAIN_ID["building"]
    colour = _pick(rng, style.facades)
    storey = rng.uniform(2.9, 3.5)
    tall = storey * int(rng.integers(style.floors[0], style.floors[1] + 1))
    tile = texture.BRICK if rng.uniform() < style.bricks else texture.PLASTER
    glass: Vector = (0.05, 0.065, 0.085)
    pitch, share = rng.uniform(1.7, 3.2), rng.uniform(0.4, 0.72)
    count = max(int(width / pitch), 1)
    pitch = width / count
    window = panes(
        (pitch, storey, 0),
        (share, rng.uniform(0.42, 0.62), 0),
        (pitch * (1 - share) / 2, storey * 0.28, 0),
        glass,
        jitter=0.75,
    )
    shops = rng.uniform() < 0.45
    bay = width / max(int(width / 3.6), 1)
    window_shop = panes((bay, 9, 0), (0.78, 2.2 / 9, 0), (bay * 0.11, 0.35, 0), (0.07, 0.075, 0.08), jitter=0.8)
    door = panes((bay, 9, 0), (0.3, 2.1 / 9, 0), (bay * 0.35, 0.1, 0), (0.09, 0.05, 0.03), jitter=0.8)
    ground = Surface(
        _pick(rng, style.facades) if shops else colour,
        texture.PLASTER if shops else tile,
        1.0,
        x=window,
        z=window_shop if shops else door,
    )
    upper = Surface(colour, tile, 1.0, x=window, z=window)
    r, g, b = colour
    cornice = Surface((0.75 * r + 0.1, 0.75 * g + 0.1, 0.75 * b + 0.1), texture.PLASTER)
    prims = [
        box(label, ground, (width, storey, depth)),
        box(label, upper, (width, tall - storey, depth), up=storey),
        box(label, cornice, (width + 0.1, 0.3, depth + 0.3), up=storey - 0.1),
        box(
            label, Surface(_pick(rng, style.facades), texture.PLASTER), (width + 0.1, 0.35, depth + 0.5), up=tall - 0.05
        ),
    ]
    if rng.uniform() < 0.6:
        roof = Surface(_pick(rng, style.roofs), texture.BRICK, 1.2)
        prims.append(
            wedge(
                label, roof, (width + 0.2, rng.uniform(2, 3.6), depth + 0.6), (0.95, 0.95), up=tall + 0.3, along_z=True
            )
        )
    if rng.uniform() < 0.3:
        balcony = Surface(
            (0.35, 0.35, 0.35), texture.PLASTER, z=panes((0.14, 9, 0), (0.3, 1, 0), (0, 0, 0), (0.07, 0.07, 0.08))
        )
        for floor in range(1, int(tall / storey)):
            prims.append(
                box(
                    label,
                    balcony,
                    (pitch * 1.2, 1.0, 0.9),
                    x=-width / 2 + pitch * 1.1,
                    up=storey * floor,
                    z=-depth / 2 - 0.4,
                )
            )
    return prims


def cottage(rng: np.random.Generator, style: Style) -> list[Prim]:
    """Return a small house with a gable roof, about 9 × 8 m."""
    label = TRAIN_ID["building"]
    width, depth, tall = rng.uniform(7, 10.5), rng.uniform(7, 9), rng.uniform(2.9, 5.6)
    colour = _pick(rng, style.facades)
    window = panes((width / 3, 2.7, 0), (0.42, 0.42, 0), (width / 10, 0.95, 0), (0.05, 0.06, 0.08), jitter=0.6)
    walls = Surface(colour, texture.BRICK if rng.uniform() < style.bricks else texture.PLASTER, x=window, z=window)
    roof = Surface(_pick(rng, style.roofs), texture.BRICK, 1.2)
    gable = rng.uniform() < 0.5
    prims = [
        box(label, walls, (width, tall, depth)),
        wedge(label, roof, (width + 0.7, rng.uniform(2.2, 3.6), depth + 0.7), (0.98, 0.98), up=tall, along_z=not gable),
    ]
    door = Surface((0.14, 0.06, 0.03), texture.BARK)
    prims.append(box(label, door, (1.0, 2.05, 0.12), x=rng.uniform(-0.3, 0.3) * width, z=-depth / 2))
    if rng.uniform() < 0.5:
        prims.append(
            box(label, Surface((0.25, 0.1, 0.07), texture.BRICK), (0.6, 1.6, 0.6), x=width * 0.2, up=tall + 1.6)
        )
    return prims


def tree(rng: np.random.Generator, style: Style, tall: float, lowest: float) -> list[Prim]:
    """Return a tree; no leaf hangs below ``lowest`` metres."""
    label = TRAIN_ID["vegetation"]
    leaves = Surface(_pick(rng, (style.leaves,)), texture.FOLIAGE, rng.uniform(0.8, 1.2), rng.uniform(0.5, 0.9))
    bark = Surface((0.13, 0.10, 0.07), texture.BARK)
    radius = tall * rng.uniform(0.2, 0.28)
    clear = max(tall * rng.uniform(0.28, 0.38), lowest)
    crown = tall - clear
    prims = [cylinder(label, bark, rng.uniform(0.1, 0.2), clear + crown * 0.3)]
    prims.append(ball(label, leaves, (radius * 0.85, crown * 0.46, radius * 0.85), (0.0, clear + crown * 0.52, 0.0)))
    turn = rng.uniform(0, 6.28)
    for index in range(int(rng.integers(3, 6))):
        angle, reach = turn + 2.4 * index, radius * rng.uniform(0.5, 0.7)
        size = radius * rng.uniform(0.45, 0.62)
        up = clear + max(crown * rng.uniform(0.25, 0.75), size * 0.85)
        prims.append(
            ball(
                label,
                tinted(leaves, rng.uniform(0.75, 1.25)),
                (size, size * 0.85, size),
                (reach * np.cos(angle), up, reach * np.sin(angle)),
            )
        )
    return prims


def conifer(rng: np.random.Generator, style: Style, tall: float) -> list[Prim]:
    """Return a slim tree of stacked crowns."""
    label = TRAIN_ID["vegetation"]
    leaves = tinted(Surface(_pick(rng, (style.leaves,)), texture.FOLIAGE, 0.8, 0.6), 0.7)
    radius = tall * rng.uniform(0.13, 0.19)
    prims = [cylinder(label, Surface((0.1, 0.07, 0.05), texture.BARK), 0.12, tall * 0.3)]
    for index in range(4):
        size = radius * (1 - 0.22 * index)
        prims.append(ball(label, leaves, (size, tall * 0.2, size), (0.0, tall * (0.28 + 0.19 * index), 0.0)))
    return prims


def bush(rng: np.random.Generator, style: Style) -> list[Prim]:
    """Return a bush of two or three balls."""
    label = TRAIN_ID["vegetation"]
    leaves = Surface(_pick(rng, (style.leaves,)), texture.FOLIAGE, 1.0, 0.4)
    prims = []
    for _ in range(int(rng.integers(2, 4))):
        size = rng.uniform(0.4, 0.8)
        prims.append(
            ball(label, leaves, (size, size * 0.9, size), (rng.uniform(-0.6, 0.6), size * 0.6, rng.uniform(-0.4, 0.4)))
        )
    return prims


def hedge(rng: np.random.Generator, style: Style, length: float) -> list[Prim]:
    """Return a hedge along x."""
    leaves = Surface(_pick(rng, (style.leaves,)), texture.FOLIAGE, 1.0, 0.4)
    return [box(TRAIN_ID["vegetation"], leaves, (length, rng.uniform(0.9, 1.9), rng.uniform(0.5, 0.9)))]


def wall(rng: np.random.Generator, style: Style, length: float, tall: float) -> list[Prim]:
    """Return a wall along x with a coping."""
    label = TRAIN_ID["wall"]
    tile = texture.BRICK if rng.uniform() < 0.5 else texture.PLASTER
    joints = (
        panes((rng.uniform(2.0, 4.0), 9, 0), (0.02, 1, 0), (0, 0, 0), (0.1, 0.1, 0.1))
        if tile == texture.PLASTER
        else PLAIN
    )
    face = Surface(_pick(rng, ((0.35, 0.33, 0.30), (0.36, 0.22, 0.17), (0.42, 0.40, 0.37))), tile, 1.3, z=joints)
    return [
        box(label, face, (length, tall, 0.3)),
        box(label, Surface((0.4, 0.39, 0.37), texture.PLASTER), (length, 0.1, 0.4), up=tall),
    ]


def fence(rng: np.random.Generator, length: float) -> list[Prim]:
    """Return a fence along x: boards, or posts with rails that one sees through."""
    label = TRAIN_ID["fence"]
    tall = rng.uniform(0.9, 1.7)
    if rng.uniform() < 0.5:
        wood = _pick(rng, ((0.30, 0.20, 0.12), (0.55, 0.54, 0.50), (0.18, 0.16, 0.14)))
        gaps = panes((0.16, 9, 0), (0.18, 1, 0), (0, 0, 0), tuple(0.25 * c for c in wood))  # type: ignore[arg-type]
        return [box(label, Surface(wood, texture.BARK, 1.0, 0.5, z=gaps), (length, tall, 0.06))]
    steel = Surface(_pick(rng, ((0.10, 0.12, 0.10), (0.35, 0.36, 0.37))), texture.PAINT)
    prims = [box(label, steel, (length, 0.09, 0.06), up=up) for up in (0.25, tall * 0.55, tall - 0.09)]
    count = max(int(length / 2.0), 1)
    prims += [box(label, steel, (0.09, tall, 0.09), x=length * (i / count - 0.5)) for i in range(count + 1)]
    return prims


def bridge(rng: np.random.Generator, span: float) -> list[Prim]:
    """Return a bridge across the road along x: a deck with parapets on pillars, or between walls that fill its ends."""
    label = TRAIN_ID["building"]
    concrete = Surface(_pick(rng, ((0.34, 0.33, 0.31), (0.22, 0.21, 0.20), (0.45, 0.43, 0.40))), texture.PLASTER, 1.2)
    paint = _pick(rng, ((0.10, 0.12, 0.10), (0.35, 0.36, 0.37)))
    clear, thick = rng.uniform(4.6, 6.8), rng.uniform(0.5, 1.6)
    deep = rng.uniform(2.5, 4.5) if rng.uniform() < 0.5 else rng.uniform(8, 14)
    beyond = rng.uniform(8, 25)
    whole = span + 2 * beyond
    prims = [box(label, concrete, (whole, thick, deep), up=clear)]
    prims += [
        box(label, tinted(concrete, 0.9), (whole, thick + 0.4, 0.3), up=clear - 0.2, z=z) for z in (-deep / 2, deep / 2)
    ]
    rail = Surface(paint, texture.PAINT, z=panes((0.5, 9, 0), (0.6, 1, 0), (0, 0, 0), (0.5, 0.55, 0.6)))
    prims += [box(label, rail, (whole, 1.0, 0.06), up=clear + thick + 0.2, z=z) for z in (-deep / 2, deep / 2)]
    if rng.uniform() < 0.4:
        end = (span + beyond) / 2
        return prims + [box(TRAIN_ID["wall"], concrete, (beyond, clear, deep), x=x) for x in (-end, end)]
    radius = rng.uniform(0.3, 0.6)
    return prims + [
        cylinder(label, concrete, radius, clear, x=x, z=z)
        for x in (-whole / 2 + 1, -span / 2 - radius, span / 2 + radius, whole / 2 - 1)
        for z in ((0.0,) if deep < 6 else (-deep / 3, deep / 3))
    ]


def lamp_post(rng: np.random.Generator) -> list[Prim]:
    """Return a street lamp; its arm reaches to −z (over the road)."""
    label = TRAIN_ID["pole"]
    tall, reach = rng.uniform(5.5, 8.5), rng.uniform(0.8, 1.8)
    steel = _GALVANISED if rng.uniform() < 0.6 else _DARK_STEEL
    return [
        cylinder(label, steel, rng.uniform(0.07, 0.1), tall),
        cylinder(label, steel, 0.14, 0.9),
        box(label, steel, (0.07, 0.07, reach), up=tall - 0.1, z=-reach / 2),
        box(label, Surface((0.5, 0.5, 0.48), texture.PAINT), (0.22, 0.12, 0.6), up=tall - 0.12, z=-reach),
    ]


def bollard(rng: np.random.Generator) -> list[Prim]:
    """Return a short post."""
    return [cylinder(TRAIN_ID["pole"], _DARK_STEEL, 0.07, rng.uniform(0.8, 1.0))]


def utility_pole(rng: np.random.Generator) -> list[Prim]:
    """Return a wooden pole with a cross-arm."""
    label = TRAIN_ID["pole"]
    wood, tall = Surface((0.17, 0.13, 0.10), texture.BARK), rng.uniform(7, 9)
    return [cylinder(label, wood, 0.13, tall), box(label, wood, (0.12, 0.12, 1.8), up=tall - 0.7)]


def sign(rng: np.random.Generator) -> list[Prim]:
    """Return a traffic sign on its pole; it looks along −z, towards drivers who come along +z."""
    label = TRAIN_ID["traffic sign"]
    tall, size = rng.uniform(2.1, 2.7), rng.uniform(0.6, 0.85)
    colour, ink = _SIGN_COLOURS[int(rng.integers(len(_SIGN_COLOURS)))], (0.72, 0.72, 0.70)
    pole = cylinder(TRAIN_ID["pole"], _GALVANISED, 0.04, tall + size * 0.6)
    shape = rng.uniform()
    if shape < 0.4:
        ink = (0.04, 0.04, 0.04) if colour[0] > 0.6 else ink
        mark = panes((9, 9, 0), (size * 0.5 / 9, size * 0.3 / 9, 0), (size * 0.25, size * 0.35, 0), ink)
        return [pole, box(label, Surface(colour, texture.PAINT, z=mark), (size, size, 0.04), up=tall, z=-0.06)]
    if shape < 0.75:
        rim = Surface((0.5, 0.02, 0.02), texture.PAINT)
        inner = Surface((0.70, 0.70, 0.68) if rng.uniform() < 0.7 else colour, texture.PAINT)
        up = tall + size / 2
        disc = cylinder(label, rim, size / 2, 0.03, up=up, z=-0.06, axis="z")
        return [pole, disc, cylinder(label, inner, size * 0.38, 0.04, up=up, z=-0.06, axis="z", shadow=False)]
    wide = rng.uniform(1.0, 1.8)
    text = panes((wide / 2, 0.25, 0), (0.7, 0.4, 0), (wide * 0.08, 0.1, 0), ink, jitter=0.3)
    return [pole, box(label, Surface(_SIGN_COLOURS[0], texture.PAINT, z=text), (wide, 0.6, 0.05), up=tall, z=-0.06)]


def traffic_light(rng: np.random.Generator, reach: float) -> list[Prim]:
    """Return a traffic light that looks along −z; with ``reach`` > 0 a second one hangs over the road (−x)."""
    label, pole = TRAIN_ID["traffic light"], TRAIN_ID["pole"]
    lit = int(rng.integers(3))
    places = [(2.5, 0.0)] + ([(4.9, -reach)] if reach > 0 else [])
    prims = [cylinder(pole, _DARK_STEEL, 0.075, 5.6 if reach > 0 else 3.5)]
    if reach > 0:
        prims.append(box(pole, _DARK_STEEL, (reach, 0.1, 0.1), up=5.4, x=-reach / 2))
    colours: tuple[Vector, ...] = ((0.9, 0.05, 0.03), (0.9, 0.5, 0.05), (0.05, 0.8, 0.3))
    for up, x in places:
        prims.append(box(label, Surface((0.03, 0.035, 0.03), texture.PAINT), (0.34, 0.95, 0.24), x=x, up=up, z=-0.2))
        for index, colour in enumerate(colours):
            dim = 1.0 if index == lit else 0.12
            glow = Surface((dim * colour[0], dim * colour[1], dim * colour[2]), texture.PAINT)
            height = up + 0.78 - 0.3 * index
            prims.append(cylinder(label, glow, 0.11, 0.06, x=x, up=height, z=-0.32, axis="z", shadow=False))
    return prims
