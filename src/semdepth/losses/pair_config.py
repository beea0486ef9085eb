"""How point pairs are drawn, as options: numbers, distances, and the rules against wrong pairs (METHOD 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from semdepth.runtime import InputError


@dataclass(frozen=True)
class PairConfig:
    """How point pairs are drawn from a label map, and which rules against wrong pairs hold."""

    samples: int = 6500
    """Border points drawn per image (of 640 wide; in proportion for others): up to three pairs each, with ``upright`` five."""
    tolerance: float = 4.0
    """No point is closer to the border than this (px at 640 wide): labels are ragged there."""
    reach: float = 30.0
    """No point is farther from the border than this (px at 640 wide)."""
    prediction_decides: bool = True
    """Where classes say nothing (building beside vegetation), let the network's own depth give the order."""
    tau: float = 0.2
    """The network's own depth decides only where the two sides' medians differ by a ratio above 1 + tau. With 0.05, half of
    the pushes of such pairs on a trained network were wrong; with 0.2 nearly none of them push."""
    uniform_neighbourhood: bool = True
    """Rule 1: 3×3 pixels around both points carry the label of the point's side: no slivers, no ignore."""
    minimum_area: bool = True
    """Rule 2: both points lie in connected regions of at least ``least_area``."""
    least_area: float = 200.0
    """Rule 2: smallest region (square px at 640 wide)."""
    confidence: bool = True
    """Rule 3: the labels' confidence is at least ``least_confidence`` at both points, where labels bring one."""
    least_confidence: float = 0.8
    """Rule 3: least confidence, in [0, 1]."""
    agreement: bool = True
    """Rule 4: the network's most probable class is the label at both points, where probabilities are given."""
    contact: bool = True
    """Rule 5: contact is not occlusion. Ground lower in the image than a thing's point is not behind the thing."""
    standing: bool = True
    """Rule 6: what is seen stands on the ground, and the sky is above it. So no wall or tree is behind a thing where a
    thing is above it in the image (a mislabelled part of the thing, or in front of it); the sky is behind only what
    has no sky below it, and only where nothing else is above the sky. Costs the borders below bridges and tree tops."""
    upright: bool = True
    """Things stand upright: a point at the border of one is as far as another straight above or below it on the same
    thing, however far into it. Without this nothing says how far the inside of a large thing is."""
    thin: bool = True
    """A pole, sign or light too narrow for ``tolerance`` has its point on its middle line, in the border's row. There rule 1
    asks for the label above and below only, and rule 4 is not asked: a network that sees thin things a pixel or two wide
    hardly ever names them, so they would have no pairs at all."""

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"pairs.samples is {self.samples}; draw at least 1 border point per image")
        if not 0 <= self.tolerance < self.reach:
            raise InputError(f"pairs.tolerance {self.tolerance}, pairs.reach {self.reach}: need 0 <= tolerance < reach")
        if self.tau < 0:
            raise InputError(f"pairs.tau is {self.tau}; a ratio above 1 + tau needs tau >= 0")
        if self.least_area < 0:
            raise InputError(f"pairs.least_area is {self.least_area}; give an area >= 0")
        if not 0 <= self.least_confidence <= 1:
            raise InputError(f"pairs.least_confidence is {self.least_confidence}; give a number from 0 to 1")
