"""Solids that the world is made of, and the surfaces on them.

An object is a list of `Prim`s in its own frame: x right, y down, z forward, its origin on the ground. Heights are given
as ``up`` (positive upwards), because people think of them so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vector = tuple[float, float, float]
Matrix = npt.NDArray[np.float64]

BOX, WEDGE, CYLINDER, BALL = range(4)
"""Kinds of solid, each inside the cube [-1, 1]³ of its own frame: the cube; the cube with its two x-faces leaning in
towards the top; the cylinder about y with caps; the ball."""


class Pattern(NamedTuple):
    """Rectangles repeated over a face: windows, slats, lamps. ``u`` and ``v`` run from the face's corner, in metres."""

    pitch_u: float = 1.0
    filled_u: float = 0.0
    start_u: float = 0.0
    pitch_v: float = 1.0
    filled_v: float = 1.0
    start_v: float = 0.0
    jitter: float = 0.0
    """How much one rectangle's brightness differs from the next one's, in [0, 1]."""
    front: Vector = (0.0, 0.0, 0.0)
    """Colour on the face that looks along the axis."""
    back: Vector = (0.0, 0.0, 0.0)
    """Colour on the opposite face."""


PLAIN = Pattern()
PATTERN_SIZE = 13


def panes(
    pitch: Vector, filled: Vector, start: Vector, colour: Vector, *, jitter: float = 0.0, back: Vector | None = None
) -> Pattern:
    """Return a pattern from (u, v, unused) triples of pitch, filled share of the pitch and start."""
    return Pattern(pitch[0], filled[0], start[0], pitch[1], filled[1], start[1], jitter, colour, back or colour)


@dataclass(frozen=True)
class Surface:
    """What a solid looks like."""

    colour: Vector
    """Albedo, linear RGB."""
    tile: int = 1
    """Index into `texture.TILES`."""
    contrast: float = 1.0
    """How strongly the tile modulates the colour."""
    scale: float = 1.0
    """Metres per tile, relative to the tile's own size."""
    x: Pattern = PLAIN
    y: Pattern = PLAIN
    z: Pattern = PLAIN


class Prim(NamedTuple):
    """One solid of an object."""

    kind: int
    centre: Vector
    half: Vector
    rotation: Matrix | None
    """Columns are the solid's axes in the object's frame; None: the object's own axes."""
    taper: tuple[float, float]
    """WEDGE: how far the +x and the −x face lean in at the top, as a share of the half width."""
    label: int
    surface: Surface
    shadow: bool


def _rotation(pitch: float, yaw: float, roll: float) -> Matrix:
    cp, sp, cy, sy, cr, sr = (f(a) for a in (pitch, yaw, roll) for f in (math.cos, math.sin))
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


# A solid's y axis laid along the object's x (wheels) or z (discs that face the driver).
_LAID = {"x": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]), "z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}
# Wedges lean along their x axis; a car's windscreen leans along the object's z.
_TURNED = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])


def box(
    label: int,
    surface: Surface,
    size: Vector,
    *,
    x: float = 0.0,
    up: float = 0.0,
    z: float = 0.0,
    pitch: float = 0.0,
    yaw: float = 0.0,
    roll: float = 0.0,
    shadow: bool = True,
) -> Prim:
    """Return a box of ``size`` (width x, height, length z) whose bottom is ``up`` above the ground."""
    turned = _rotation(pitch, yaw, roll) if (pitch or yaw or roll) else None
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    return Prim(BOX, (x, -up - half[1], z), half, turned, (0.0, 0.0), label, surface, shadow)


def wedge(
    label: int,
    surface: Surface,
    size: Vector,
    taper: tuple[float, float],
    *,
    x: float = 0.0,
    up: float = 0.0,
    z: float = 0.0,
    along_z: bool = False,
) -> Prim:
    """Return a box whose +x and −x faces lean in by ``taper`` (1, 1: a gable roof); ``along_z``: its +z and −z faces."""
    half = (size[0] / 2, size[1] / 2, size[2] / 2)
    own = (half[2], half[1], half[0]) if along_z else half
    return Prim(WEDGE, (x, -up - half[1], z), own, _TURNED if along_z else None, taper, label, surface, True)


def cylinder(
    label: int,
    surface: Surface,
    radius: float,
    length: float,
    *,
    x: float = 0.0,
    up: float = 0.0,
    z: float = 0.0,
    axis: str = "y",
    pitch: float = 0.0,
    yaw: float = 0.0,
    roll: float = 0.0,
    shadow: bool = True,
) -> Prim:
    """Return a cylinder; ``up`` is its bottom for a standing one (axis y), else the height of its axis."""
    centre = (x, -up - length / 2, z) if axis == "y" else (x, -up, z)
    turned = _rotation(pitch, yaw, roll) if (pitch or yaw or roll) else None
    if axis != "y":
        turned = _LAID[axis] if turned is None else turned @ _LAID[axis]
    return Prim(CYLINDER, centre, (radius, length / 2, radius), turned, (0.0, 0.0), label, surface, shadow)


def ball(label: int, surface: Surface, radii: Vector, at: Vector, *, pitch: float = 0.0) -> Prim:
    """Return an ellipsoid around the point ``at`` (x, up, z)."""
    turned = _rotation(pitch, 0, 0) if pitch else None
    return Prim(BALL, (at[0], -at[1], at[2]), radii, turned, (0.0, 0.0), label, surface, True)


def rod(label: int, surface: Surface, radius: float, start: Vector, end: Vector) -> Prim:
    """Return a cylinder between two points (x, up, z): limbs, frames of bicycles."""
    ax, ay, az = end[0] - start[0], start[1] - end[1], end[2] - start[2]
    length = math.sqrt(ax * ax + ay * ay + az * az)
    ax, ay, az = ax / length, ay / length, az / length
    # Two more axes, square to the first: from z, or from x where the rod itself runs along z.
    bx, by, bz = (az, 0.0, -ax) if abs(az) < 0.9 else (ay, -ax, 0.0)
    if bx * bx + by * by + bz * bz < 1e-6:
        bx, by, bz = 1.0, 0.0, 0.0
    size = math.sqrt(bx * bx + by * by + bz * bz)
    bx, by, bz = bx / size, by / size, bz / size
    cx, cy, cz = by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax
    turned = np.array([[bx, ax, cx], [by, ay, cy], [bz, az, cz]])
    middle = ((start[0] + end[0]) / 2, -(start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    half = (radius, length / 2, radius)
    return Prim(CYLINDER, middle, half, turned, (0.0, 0.0), label, surface, False)


def raised(prims: list[Prim], by: float) -> list[Prim]:
    """Return the prims lifted by ``by`` metres (an object that stands on the kerb)."""
    return [p._replace(centre=(p.centre[0], p.centre[1] - by, p.centre[2])) for p in prims]


def tinted(surface: Surface, factor: float) -> Surface:
    """Return the surface with its colour scaled."""
    r, g, b = surface.colour
    return replace(surface, colour=(r * factor, g * factor, b * factor))


@dataclass(frozen=True)
class PrimTable:
    """P prims as arrays, ready for the ray caster; positions in the frame that the prims were given in."""

    kind: npt.NDArray[np.int64]
    centre: Matrix
    """(P, 3)."""
    inverse: Matrix
    """(P, 3, 3): maps an offset from the centre into the solid's [-1, 1]³ frame."""
    half: Matrix
    """(P, 3) half sizes in metres."""
    taper: Matrix
    """(P, 2)."""
    label: npt.NDArray[np.int64]
    shadow: npt.NDArray[np.bool_]
    look: Matrix
    """(P, 6): RGB, tile, contrast, scale."""
    patterns: Matrix
    """(P, 3, PATTERN_SIZE): one pattern for each axis of the faces."""


def tabulate(prims: list[Prim]) -> PrimTable:
    """Return the prims as arrays."""
    count = len(prims)
    identity = np.eye(3)
    half = np.array([p.half for p in prims], dtype=np.float64).reshape(count, 3)
    axes = np.array([identity if p.rotation is None else p.rotation for p in prims]).reshape(count, 3, 3)
    patterns = [[(*q[:7], *q.front, *q.back) for q in (p.surface.x, p.surface.y, p.surface.z)] for p in prims]
    look = [(*p.surface.colour, p.surface.tile, p.surface.contrast, p.surface.scale) for p in prims]
    return PrimTable(
        kind=np.array([p.kind for p in prims], dtype=np.int64),
        centre=np.array([p.centre for p in prims], dtype=np.float64).reshape(count, 3),
        inverse=axes.transpose(0, 2, 1) / half[:, :, None],
        half=half,
        taper=np.array([p.taper for p in prims], dtype=np.float64).reshape(count, 2),
        label=np.array([p.label for p in prims], dtype=np.int64),
        shadow=np.array([p.shadow for p in prims], dtype=np.bool_),
        look=np.array(look, dtype=np.float64).reshape(count, 6),
        patterns=np.array(patterns, dtype=np.float64).reshape(count, 3, PATTERN_SIZE),
    )


def join_tables(tables: list[PrimTable]) -> PrimTable:
    """Return the prims of all tables in one."""
    if not tables:
        return tabulate([])
    return PrimTable(**{f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(PrimTable)})
