"""From frames to a side-by-side video of depth, a few frames in memory however long it is; the encoder's one door."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth import visualise
from semdepth.inference.files import whole_file
from semdepth.inference.predictor import Predictor
from semdepth.inference.stabilise import Stabiliser
from semdepth.movie import Frame
from semdepth.runtime import InputError
from semdepth.structures import Prediction

ENCODERS = ("libx264", "libopenh264", "mpeg4")
"""Tried in this order: the first that FFmpeg has here."""
CLOCK = Fraction(1, 60_000)
"""Unit of the times in the video that is written; MPEG-4 takes none below 1/65535."""
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """A frame of a video and what is predicted of it."""

    number: int
    """From 0."""
    seconds: float
    """When it is shown."""
    pixels: Pixels
    """(H, W, 3) upright RGB."""
    prediction: Prediction


@dataclass(frozen=True)
class VideoReport:
    """What was written, and how fast."""

    frames: int
    seconds: float
    """Length of the video."""
    took: float
    """Seconds that reading, predicting and writing took."""

    @property
    def real_time(self) -> float:
        """Seconds of video a second of work: from 1 on, a camera could be followed."""
        return self.seconds / max(self.took, 1e-9)


def predict_frames(
    predictor: Predictor, frames: Iterable[Frame], *, batch: int = 8, flip: bool = False, stabilise: bool = False
) -> Iterator[Shot]:
    """Predict the frames of a video, in order; no more than ``batch`` of them are in memory.

    Args:
        predictor: without a camera of its own if ``stabilise``: metres come after.
        frames: as ``semdepth.movie.read_frames`` gives them.
        batch: how many the network sees at once.
        flip: also predict the mirrored frames, and give the mean.
        stabilise: take flicker off at the price of some accuracy (``Stabiliser``; needs the extra ``video``).

    Raises:
        InputError: if a frame cannot be decoded.
    """
    waiting: deque[tuple[int, float, Pixels]] = deque()

    def pictures() -> Iterator[Pixels]:
        for frame in frames:
            waiting.append((frame.number, frame.seconds, frame.rgb()))
            yield waiting[-1][2]

    steady = Stabiliser() if stabilise else None
    for prediction in predictor.predict_many(pictures(), batch=batch, flip=flip):
        number, seconds, pixels = waiting.popleft()
        yield Shot(number, seconds, pixels, prediction if steady is None else steady(pixels, prediction))


def write_video(path: str | Path, shots: Iterable[Shot], fps: float) -> VideoReport:
    """Write frames beside their disparity (near is bright) as mp4: H.264, without sound, at the times of the frames.

    Args:
        path: of the video; it appears there when it is complete.
        shots: in order, all of one size.
        fps: frame rate to state; the times count.

    Returns:
        How much was written and how long that took, reading and predicting included.

    Raises:
        InputError: if there is no frame, or the file cannot be written.
    """
    begun, count, last = time.perf_counter(), 0, 0.0
    colours, rest = _Colours(), iter(shots)
    first = next(rest, None)
    if first is None:
        raise InputError(f"{path}: there is no frame to write")
    with whole_file(path) as temporary, _encoder(temporary, Path(path), first.pixels.shape, fps) as show:
        for shot in chain((first,), rest):
            show(np.hstack((shot.pixels, colours(shot.prediction.disparity))), shot.seconds)
            count, last = count + 1, shot.seconds
    return VideoReport(count, last + 1 / fps, time.perf_counter() - begun)


@contextmanager
def _encoder(file: Path, name: Path, shape: tuple[int, ...], fps: float) -> Iterator[Callable[[Pixels, float], None]]:
    """Open a video of two pictures (H, W, 3) beside each other; what is given shows (H, 2·W, 3) and its time."""
    import av

    try:
        with av.open(str(file), "w", format="mp4", options={"movflags": "faststart"}) as container:
            codec = next((name for name in ENCODERS if name in av.codecs_available), None)
            if codec is None:
                raise InputError(
                    f"{name}: FFmpeg has none of {', '.join(ENCODERS)} here; install PyAV from the package index"
                )
            stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
            stream.width, stream.height, stream.pix_fmt = 2 * shape[1], shape[0] + shape[0] % 2, "yuv420p"
            stream.codec_context.time_base = CLOCK
            shown = -1

            def show(pixels: Pixels, seconds: float) -> None:
                nonlocal shown
                even = np.pad(pixels, ((0, len(pixels) % 2), (0, 0), (0, 0)), mode="edge")
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), "rgb24")
                shown = max(round(seconds / CLOCK), shown + 1)  # times must rise, whatever a damaged file says
                frame.pts, frame.time_base = shown, CLOCK
                container.mux(stream.encode(frame))

            yield show
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{name}: cannot be written as video ({reason}); choose another folder") from None


class _Colours:
    """The range of disparities that colours show, which follows the video slowly: else colours would flicker."""

    def __init__(self) -> None:
        self._brightest: float | None = None

    def __call__(self, disparity: npt.NDArray[np.float32]) -> Pixels:
        brightest = float(np.percentile(disparity, 95))
        before = self._brightest
        jumped = before is None or not 0.5 < brightest / before < 2
        self._brightest = brightest if jumped or before is None else 0.95 * before + 0.05 * brightest
        return visualise.colourise_disparity(disparity, (0.0, self._brightest))
