"""From an uploaded video to depth beside it, a few small frames in memory, however long or large it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.apps.demo_site.results import shrink
from semdepth.apps.demo_site.store import Store, plain_stem
from semdepth.inference.predictor import Predictor
from semdepth.inference.video import predict_frames, write_video
from semdepth.movie import Frame, Movie, open_movie, read_frames, stored_length
from semdepth.runtime import InputError, require_file
from semdepth.visualise import write_png


@dataclass(frozen=True)
class VideoResult:
    """What the page shows of a video."""

    movie: Path
    """Frames beside their depth, mp4."""
    still: Path
    """The first frame, a PNG: everything else on the page is about it."""
    summary: str
    """Markdown."""


@dataclass(frozen=True)
class _Small:
    """A frame that gives its picture scaled down."""

    frame: Frame
    side: int

    @property
    def number(self) -> int:
        return self.frame.number

    @property
    def seconds(self) -> float:
        return self.frame.seconds

    def grey(self, long_side: int) -> npt.NDArray[np.uint8]:
        return self.frame.grey(long_side)

    def rgb(self) -> npt.NDArray[np.uint8]:
        picture = shrink(self.frame.rgb(), self.side)
        height, width = (n - n % 2 for n in picture.shape[:2])  # encoders take even sizes only
        return np.ascontiguousarray(picture[:height, :width])


def show_video(predictor: Predictor, store: Store, path: Path) -> VideoResult:
    """Predict a video and write it beside its depth.

    Args:
        predictor: without a camera.
        store: where files go.
        path: of the video.

    Raises:
        InputError: if it is no video, too large, too long, or cannot be decoded.
    """
    limits = store.limits
    require_container(path)
    movie = open_movie(path)
    height, width = movie.size
    if height * width > limits.video_pixels or min(height, width) < 16:
        raise InputError(
            f"{path}: frames of {width}×{height} pixels; give a video of 16×16 to {limits.video_pixels / 1e6:.0f} megapixels"
        )
    frame_count, seconds = stored_length(movie)
    _require_short(path, seconds, frame_count, store)
    folder, stem = store.new_result(), plain_stem(path.name)
    still, out = folder / f"{stem}.png", folder / f"{stem}_depth.mp4"
    frames = _short_frames(movie, store, still)
    report = write_video(out, predict_frames(predictor, frames, batch=2, stabilise=True), movie.fps)
    summary = (
        f"**Video** of {report.frames} frames, {report.seconds:.1f} s, in {report.took:.1f} s · depth up to scale, "
        "steadied over time · below: its first frame"
    )
    return VideoResult(out, still, summary)


def require_container(path: Path) -> None:
    """Refuse a file that does not begin like a video: FFmpeg would follow playlists to other files.

    Raises:
        InputError: unless it is MP4 or MOV, Matroska or WebM, or AVI.
    """
    with require_file(path, "video").open("rb") as stream:
        head = stream.read(12)
    mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    if not (mp4 or head[:4] == b"\x1a\x45\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")):
        raise InputError(f"{path}: is no MP4, MOV, MKV, WebM or AVI video, whatever its name says; convert it to MP4")


def _short_frames(movie: Movie, store: Store, still: Path) -> Iterator[Frame]:
    """Yield small frames while the video is within its limits, whatever its header said; keep the first as a picture."""
    for frame in read_frames(movie):
        _require_short(movie.path, frame.seconds, frame.number, store)
        small = _Small(frame, store.limits.video_side)
        if frame.number == 0:
            write_png(still, shrink(frame.rgb(), store.limits.side))
        yield small


def _require_short(path: Path, seconds: float, frames: int, store: Store) -> None:
    limits = store.limits
    if seconds > limits.video_seconds or frames > limits.video_frames:
        raise InputError(
            f"{path}: is over {limits.video_seconds:g} s or {limits.video_frames} frames; cut it, or use semdepth predict"
        )
