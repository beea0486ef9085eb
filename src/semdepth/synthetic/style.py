"""What kind of world: how full, how fast, which colours, which weather, which camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from semdepth.runtime import InputError

from .shapes import Vector

Scene = Literal["simple", "complex", "mixed"]
StyleName = Literal["default", "foreign", "varied"]


@dataclass(frozen=True)
class WorldConfig:
    """What the drives of a world look like."""

    scene: Scene = "mixed"
    """``simple``: few objects; ``complex``: dense parking, people, poles and traffic; ``mixed``: either, by the seed."""
    style: StyleName = "default"
    """``foreign``: another palette, density, weather and camera, to measure transfer; ``varied``: colours, light, density
    and camera height drawn anew for every drive, to learn what transfers."""
    min_speed: float = 3.0
    """Slowest cruising speed in m/s (a drive may still stop)."""
    max_speed: float = 15.0
    """Fastest cruising speed in m/s."""
    traffic: float = 1.0
    """Scales the number of moving vehicles and people; 0: nothing moves but the camera."""
    frozen: bool = False
    """Stop time for all but the camera: traffic stands where it would drive, and the camera stops behind it. View synthesis
    takes the world to stand still; here it does, and cars are learnt like houses."""
    noise: float = 1.0
    """Scales the sensor's noise; 0: none."""
    anti_alias: bool = True
    """Average several rays at edges (colour only: depth and labels always belong to the pixel's centre)."""

    def __post_init__(self) -> None:
        if self.scene not in ("simple", "complex", "mixed"):
            raise InputError(f"scene: {self.scene!r} is unknown; use simple, complex or mixed")
        if self.style not in get_args(StyleName):
            raise InputError(f"style: {self.style!r} is unknown; use {', '.join(get_args(StyleName))}")
        if not 0 < self.min_speed <= self.max_speed <= 30:
            raise InputError(f"speeds {self.min_speed}–{self.max_speed} m/s: need 0 < min_speed <= max_speed <= 30")
        if self.traffic < 0 or self.noise < 0:
            raise InputError("traffic and noise must not be negative")


DEFAULT_WORLD = WorldConfig()


@dataclass(frozen=True)
class Style:
    """One look of the world; ranges are drawn from once for every drive."""

    camera_height: float
    """Metres above the road."""
    focal: float
    """Focal length as a share of the image's width."""
    focal_vertical: float
    """Focal length as a share of the image's height."""
    facades: tuple[Vector, ...]
    roofs: tuple[Vector, ...]
    paints: tuple[Vector, ...]
    asphalt: Vector
    paving: Vector
    grass: Vector
    leaves: Vector
    marking: Vector
    sun_elevation: tuple[float, float]
    """Radians."""
    sun: Vector
    ambient: Vector
    zenith: Vector
    horizon: Vector
    clouds: tuple[float, float]
    """Share of the sky under clouds."""
    haze: tuple[float, float]
    """Distance in metres after which 63 % of the light comes from the air between."""
    density: float
    """Scales how many things stand in the street."""
    lane: tuple[float, float]
    """Lane width in metres."""
    floors: tuple[int, int]
    """Storeys of town houses."""
    bricks: float
    """Share of the town houses built of bricks."""
    two_lanes: tuple[float, float] = (0.15, 0.35)
    """Share of the roads with two lanes each way, of simple and of complex scenes."""
    heavy: float = 0.0
    """Share of the moving vehicles that are large: buses, box and tank lorries; 0: about a seventh, no tank lorry."""
    gap: float = 1.0
    """Scales the distance between vehicles that follow each other."""
    bridges: float = 0.0
    """Share of the blocks in which a bridge crosses the road."""


STYLES: dict[str, Style] = {
    "default": Style(
        camera_height=1.65,
        focal=0.58,
        focal_vertical=1.92,
        facades=(
            (0.62, 0.55, 0.42),
            (0.55, 0.30, 0.20),
            (0.66, 0.63, 0.58),
            (0.48, 0.42, 0.36),
            (0.70, 0.60, 0.38),
            (0.42, 0.20, 0.14),
            (0.52, 0.55, 0.58),
        ),
        roofs=((0.35, 0.12, 0.08), (0.16, 0.14, 0.14), (0.26, 0.13, 0.10)),
        paints=(
            (0.62, 0.62, 0.64),
            (0.03, 0.03, 0.035),
            (0.30, 0.31, 0.33),
            (0.42, 0.03, 0.03),
            (0.04, 0.09, 0.30),
            (0.70, 0.70, 0.68),
            (0.10, 0.11, 0.12),
            (0.05, 0.16, 0.12),
            (0.45, 0.38, 0.26),
        ),
        asphalt=(0.155, 0.155, 0.16),
        paving=(0.33, 0.31, 0.29),
        grass=(0.14, 0.20, 0.06),
        leaves=(0.09, 0.155, 0.045),
        marking=(0.66, 0.66, 0.63),
        sun_elevation=(0.5, 1.1),
        sun=(1.25, 1.17, 1.02),
        ambient=(0.42, 0.47, 0.56),
        zenith=(0.17, 0.33, 0.66),
        horizon=(0.66, 0.76, 0.86),
        clouds=(0.15, 0.6),
        haze=(500.0, 1200.0),
        density=1.0,
        lane=(3.2, 3.7),
        floors=(2, 6),
        bricks=0.35,
    ),
    "foreign": Style(
        camera_height=1.35,
        focal=0.68,
        focal_vertical=2.25,
        facades=(
            (0.30, 0.34, 0.38),
            (0.44, 0.46, 0.47),
            (0.22, 0.22, 0.25),
            (0.36, 0.42, 0.40),
            (0.58, 0.58, 0.60),
            (0.34, 0.25, 0.28),
        ),
        roofs=((0.10, 0.11, 0.13), (0.22, 0.24, 0.26)),
        paints=(
            (0.75, 0.75, 0.74),
            (0.55, 0.40, 0.04),
            (0.06, 0.20, 0.10),
            (0.50, 0.12, 0.02),
            (0.02, 0.02, 0.02),
            (0.20, 0.30, 0.42),
        ),
        asphalt=(0.09, 0.09, 0.10),
        paving=(0.26, 0.20, 0.18),
        grass=(0.22, 0.20, 0.09),
        leaves=(0.17, 0.12, 0.035),
        marking=(0.68, 0.55, 0.12),
        sun_elevation=(0.25, 0.45),
        sun=(0.78, 0.62, 0.42),
        ambient=(0.58, 0.60, 0.64),
        zenith=(0.48, 0.52, 0.58),
        horizon=(0.76, 0.74, 0.72),
        clouds=(0.6, 0.95),
        haze=(160.0, 320.0),
        density=0.7,
        lane=(2.9, 3.3),
        floors=(4, 10),
        bricks=0.1,
    ),
}
STYLES["varied"] = STYLES["default"]  # where it starts from, and its camera; ``variety.style_of`` draws the rest


@dataclass(frozen=True)
class Look:
    """The light of one drive."""

    sun_direction: Vector
    """Unit vector towards the sun, world axes (y down)."""
    sun: Vector
    ambient: Vector
    zenith: Vector
    horizon: Vector
    clouds: float
    haze: float
    exposure: float
    noise: float


def draw_look(style: Style, rng: np.random.Generator, noise: float) -> Look:
    """Draw the weather of a drive."""
    elevation, azimuth = rng.uniform(*style.sun_elevation), rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    clouds = rng.uniform(*style.clouds)
    strength = rng.uniform(0.75, 1.1) * (1.15 - 0.45 * clouds)
    return Look(
        sun_direction=(float(flat * np.sin(azimuth)), float(-np.sin(elevation)), float(flat * np.cos(azimuth))),
        sun=tuple(c * strength for c in style.sun),  # type: ignore[arg-type]
        ambient=style.ambient,
        zenith=style.zenith,
        horizon=style.horizon,
        clouds=float(clouds),
        haze=float(rng.uniform(*style.haze)),
        exposure=float(rng.uniform(0.85, 1.15)),
        noise=noise,
    )
