"""Which frames of a video are worth learning from: those between which the camera moves, in unbroken sequences."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

import numpy as np
import numpy.typing as npt

from semdepth.runtime import InputError

Picture = npt.NDArray[np.uint8]
Measure = Callable[[Picture, Picture], tuple[float, float]]
"""(earlier, later) → motion as a share of the longer side, and similarity in [−1, 1] (``opencv.MotionMeter``)."""

MEMORY = 15
"""So many similarities are remembered, to know what is usual in this video."""


@dataclass(frozen=True)
class MotionConfig:
    """How much motion is wanted between neighbouring frames, and what ends a sequence."""

    least: float = 0.01
    """A frame is kept once it has moved so far from the last kept one: the median flow as a share of the longer side.
    Neighbours in a static street of KITTI odometry (10 Hz) have a median of 0.013, in a rendered drive of 0.012."""
    most: float = 0.08
    """Above this, neighbouring frames share too little: the sequence ends between them."""
    longest_gap: float = 1.0
    """Seconds without so much motion after which the camera counts as standing: the sequence ends there."""
    cut_similarity: float = 0.7
    """Neighbours less alike than this after alignment may be a cut."""
    cut_drop: float = 0.2
    """…and are one if they are also so much less alike than is usual in this video."""

    def __post_init__(self) -> None:
        if not 0 < self.least < self.most < 1:
            raise InputError(
                f"motion {self.least:g}: must lie between 0 and {self.most:g} (a share of the longer side)"
            )
        if not self.longest_gap > 0:
            raise InputError(f"longest_gap {self.longest_gap:g}: must be above 0 seconds")


class Verdict(Enum):
    """What becomes of a frame."""

    FIRST = "kept, the first of a sequence"
    NEXT = "kept, the next of its sequence"
    CLOSE = "too close to the frame before"
    STATIC = "the camera stood still"


@dataclass
class FrameSelector:
    """Judges frames one by one, holding two small pictures of the past."""

    measure: Measure
    config: MotionConfig = field(default_factory=MotionConfig)
    cuts: int = 0
    """Scene changes so far."""
    standing: int = 0
    """Stretches so far in which the camera stood."""
    jumps: int = 0
    """Breaks so far because the camera moved too fast."""
    motions: list[float] = field(default_factory=list)
    """Motion between neighbouring kept frames."""
    _kept: Picture | None = None
    _kept_at: float = 0.0
    _before: Picture | None = None
    _rests: bool = False
    _usual: deque[float] = field(default_factory=lambda: deque(maxlen=MEMORY))

    def judge(self, picture: Picture, seconds: float) -> Verdict:
        """Decide on the next frame.

        Args:
            picture: the frame, small and grey; all of one size.
            seconds: when it is shown; never falls.

        Returns:
            The verdict. STATIC frames are those past ``longest_gap``; the CLOSE ones before them stay CLOSE.
        """
        before, self._before = self._before, picture
        if self._kept is None or before is None:
            return self._begin(picture, seconds)
        if self._is_cut(before, picture):
            self.cuts += 1
            return self._begin(picture, seconds)
        motion, _ = self.measure(self._kept, picture)
        if motion < self.config.least:
            if seconds - self._kept_at <= self.config.longest_gap:
                return Verdict.CLOSE
            self.standing += not self._rests
            self._rests = True
            return Verdict.STATIC
        if self._rests or seconds - self._kept_at > self.config.longest_gap:
            return self._begin(picture, seconds)
        if motion > self.config.most:
            self.jumps += 1
            return self._begin(picture, seconds)
        self.motions.append(motion)
        self._kept, self._kept_at = picture, seconds
        return Verdict.NEXT

    def _begin(self, picture: Picture, seconds: float) -> Verdict:
        self._kept, self._kept_at, self._rests = picture, seconds, False
        return Verdict.FIRST

    def _is_cut(self, before: Picture, picture: Picture) -> bool:
        """Return whether two neighbours in the video show different scenes."""
        _, similarity = self.measure(before, picture)
        usual = median(self._usual) if self._usual else 1.0
        self._usual.append(similarity)  # of cuts too: one does not move the median, and where all are like one, none is
        return similarity < min(self.config.cut_similarity, usual - self.config.cut_drop)
