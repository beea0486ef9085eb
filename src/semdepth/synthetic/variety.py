"""A look of its own for every drive, to learn from: what is learnt on many looks carries over to pictures of yet another."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np

from .shapes import Vector
from .style import STYLES, Style, WorldConfig


def style_of(config: WorldConfig, seed: int) -> Style:
    """Return the style of the world with this seed: the named one, or with ``varied`` one drawn for this world alone."""
    style = STYLES[config.style]
    return vary(style, np.random.default_rng([seed, 9])) if config.style == "varied" else style


def vary(style: Style, rng: np.random.Generator) -> Style:
    """Return a style like ``style`` in its camera's focal length, with everything else drawn at random.

    The ranges are wide on purpose (domain randomisation, Tobin et al. 2017): no single drive need look likely, together they
    should leave no colour, light or density to hold on to, only shapes.
    """
    lane = rng.uniform(2.8, 3.6)
    sun = rng.uniform(0.5, 1.4) * np.array(_tint(rng, 0.12))
    ambient = rng.uniform(0.35, 0.7) * np.array(_tint(rng, 0.12))
    storeys = int(rng.integers(2, 5))  # a house has a ground floor and at least one above
    low = rng.uniform(0.2, 1.1)
    clouds = rng.uniform(0.0, 0.8)
    haze = rng.uniform(150.0, 900.0)
    return replace(
        style,
        camera_height=float(rng.uniform(1.35, 1.9)),
        facades=tuple(_colour(rng, (0.0, 0.45), (0.15, 0.75)) for _ in range(6)),
        roofs=tuple(_colour(rng, (0.0, 0.7), (0.08, 0.4)) for _ in range(3)),
        paints=tuple(_colour(rng, (0.0, 0.9), (0.02, 0.75)) for _ in range(8)),
        asphalt=_colour(rng, (0.0, 0.12), (0.06, 0.32)),
        paving=_colour(rng, (0.0, 0.3), (0.12, 0.5)),
        grass=_colour(rng, (0.3, 0.8), (0.08, 0.32), hue=(0.11, 0.33)),
        leaves=_colour(rng, (0.3, 0.8), (0.05, 0.26), hue=(0.09, 0.36)),
        marking=_colour(rng, (0.0, 0.15), (0.35, 0.75)),
        sun_elevation=(float(low), float(low + 0.2)),
        sun=_vector(sun),
        ambient=_vector(ambient),
        zenith=_colour(rng, (0.05, 0.7), (0.35, 0.9), hue=(0.54, 0.66)),
        horizon=_colour(rng, (0.0, 0.3), (0.6, 1.2), hue=(0.5, 0.66)),
        clouds=(float(clouds), float(clouds + 0.2)),
        haze=(float(haze), float(2 * haze)),
        density=float(rng.uniform(0.5, 1.3)),
        lane=(float(lane), float(lane + 0.3)),
        floors=(storeys, storeys + int(rng.integers(2, 7))),
        bricks=float(rng.uniform(0.0, 0.7)),
        two_lanes=(0.4, 0.6),
        heavy=float(rng.uniform(0.05, 0.5)),
        gap=float(rng.uniform(0.7, 1.2)),
        bridges=float(rng.uniform(0.0, 0.4)),
    )


def _colour(
    rng: np.random.Generator,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: tuple[float, float] = (0.0, 1.0),
) -> Vector:
    """Draw a linear RGB colour; hue in turns."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def _tint(rng: np.random.Generator, strength: float) -> tuple[float, float, float]:
    """Draw a light that is between warm and cold."""
    warmth = float(rng.uniform(-strength, strength))
    return (1.0 + warmth, 1.0, 1.0 - warmth)


def _vector(values: np.ndarray) -> Vector:
    return (float(values[0]), float(values[1]), float(values[2]))
