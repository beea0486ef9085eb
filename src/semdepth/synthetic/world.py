"""Streets at random from a seed, made in blocks of 40 m as the drive reaches them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .block import Block
from .layout import Crossings, Layout, draw_layout
from .placement import Placed
from .route import EgoMotion, Route
from .style import Look, Style, WorldConfig, draw_look
from .variety import style_of

Array = npt.NDArray[np.float64]


def _queue(seed: int, config: WorldConfig) -> float:
    """Return where the camera's way ends: behind cars that stand in our lane, in three of four frozen worlds."""
    rng = np.random.default_rng([seed, 10])
    return float(rng.uniform(4, 45)) if config.frozen and rng.uniform() < 0.75 else math.inf


class World:
    """Everything about one drive's surroundings that does not depend on the frame."""

    def __init__(self, seed: int, config: WorldConfig) -> None:
        rng = np.random.default_rng([seed, 0])
        self.seed, self.config = seed, config
        self.style: Style = style_of(config, seed)
        chance = rng.uniform()
        is_complex = config.scene == "complex" or (config.scene == "mixed" and chance < 0.5)
        self.layout: Layout = draw_layout(self.style, rng, is_complex)
        self.look: Look = draw_look(self.style, rng, config.noise)
        self.density = self.style.density * (rng.uniform(0.8, 1.2) if is_complex else rng.uniform(0.15, 0.4))
        self.route = Route(seed, max(26.0, self.layout.edge + 8), bends=rng.uniform(0.2, 0.7))
        self.ego = EgoMotion(seed, self.route, config.min_speed, config.max_speed, end=_queue(seed, config))
        self.crossings = Crossings(seed, self.route, self.layout, share=0.75)
        self.phases: Array = rng.uniform(0, 2 * np.pi, 16)
        self._blocks: dict[int, Placed] = {}

    def paint(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Draw a vehicle's colour."""
        r, g, b = np.array(self.style.paints[int(rng.integers(len(self.style.paints)))]) * rng.uniform(0.85, 1.15)
        return (float(r), float(g), float(b))

    def block(self, index: int) -> Placed:
        """Return what stands along s in [40·index, 40·(index + 1))."""
        if index not in self._blocks:
            self._blocks[index] = Block(self, index).build()
        return self._blocks[index]
