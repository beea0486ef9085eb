"""A video becomes a set to learn from: frames between which the camera moves, in unbroken sequences, at the training size.

What is written is the layout of ``data.folder``: ``sequence_0000/000123.jpg`` (123: the frame's number in the video)
and ``intrinsics.txt``.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth.data.frame_selection import FrameSelector, MotionConfig, Verdict
from semdepth.data.lens import Framing, Lens
from semdepth.data.opencv import MotionMeter, Straightener
from semdepth.movie import Frame, Movie, read_frames
from semdepth.runtime import InputError

SMALL_SIDE = 256
"""Longer side, in pixels, of the grey pictures that motion is measured between."""
SHORTEST = 3
"""Frames of the shortest sequence that is of use: a target between two sources."""
JPEG_QUALITY = 95
Picture = npt.NDArray[np.uint8]


@dataclass
class PreparedSet:
    """What became of a video."""

    size: tuple[int, int]
    """(H, W) of the images."""
    intrinsics: npt.NDArray[np.float64]
    """(3, 3) in their pixels."""
    read: int = 0
    """Frames read."""
    sequences: list[int] = field(default_factory=list)
    """Frames of every sequence."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Why → frames left out."""
    cuts: int = 0
    """Scene changes: sequences end there."""
    standing: int = 0
    """Stretches in which the camera stood: sequences end there."""
    jumps: int = 0
    """Places where the camera moved too fast: sequences end there."""
    motion: float = 0.0
    """Median motion between neighbouring frames, as a share of the longer side."""

    @property
    def kept(self) -> int:
        """Frames written."""
        return sum(self.sequences)

    @property
    def targets(self) -> int:
        """Frames with both neighbours: what a training step draws from."""
        return sum(length - SHORTEST + 1 for length in self.sequences)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` that becomes ``out`` if all goes well, and vanishes if not.

    Raises:
        InputError: if ``out`` is there already (and not empty), or cannot be written.
    """
    out = out.absolute()
    if not out.name or out.name == "..":
        raise InputError(f"{out}: names no new folder; give --out with a name of its own")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: is there already; give another --out, or delete it first")
        partial.mkdir(parents=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}); check the path, its permissions and the free space"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_frames(
    movie: Movie,
    folder: Path,
    lens: Lens,
    framing: Framing,
    motion: MotionConfig,
    progress: Callable[[int], None] | None = None,
) -> PreparedSet:
    """Write the frames that are worth learning from, and the intrinsics of what is written.

    One frame is in memory at a time, beside two small grey ones, whatever the video's length.

    Args:
        movie: what to read.
        folder: an empty folder.
        lens: the camera; distortion is undone.
        framing: from the upright frames to the images.
        motion: which frames are kept.
        progress: called with the number of frames read.

    Raises:
        InputError: if the video cannot be read, or no sequence of it is long enough to learn from.
        OSError: if the folder cannot be written.
    """
    straighten = Straightener(lens.intrinsics, lens.distortion, movie.size) if lens.distortion else None
    ideal = lens.intrinsics if straighten is None else straighten.intrinsics
    made = PreparedSet(framing.size, framing.intrinsics(ideal, movie.size))
    selector = FrameSelector(MotionMeter().measure, motion)
    sequence = _Sequence(folder, made)
    for frame in read_frames(movie):
        verdict = selector.judge(frame.grey(SMALL_SIDE), frame.seconds)
        if verdict is Verdict.FIRST:
            sequence.close()
        if verdict in (Verdict.FIRST, Verdict.NEXT):
            sequence.add(frame, _framed(frame.rgb(), straighten, framing))
        else:
            made.dropped[verdict.value] += 1
        made.read += 1
        if progress is not None:
            progress(made.read)
    sequence.close()
    made.cuts, made.standing, made.jumps = selector.cuts, selector.standing, selector.jumps
    made.motion = float(np.median(selector.motions)) if selector.motions else 0.0
    if not made.sequences:
        raise InputError(_nothing_left(movie, made, motion))
    fx, fy, cx, cy = made.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    (folder / "intrinsics.txt").write_text(f"{fx:.6f} {fy:.6f} {cx:.6f} {cy:.6f}\n", encoding="utf-8")
    return made


def _framed(pixels: Picture, straighten: Straightener | None, framing: Framing) -> Image.Image:
    upright = Image.fromarray(pixels if straighten is None else straighten(pixels))
    resized = upright.resize(framing.resized[::-1], Image.Resampling.LANCZOS)
    (height, width), top, left = framing.size, framing.top, framing.left
    return resized.crop((left, top, left + width, top + height))


class _Sequence:
    """Writes one unbroken sequence after the other; those too short to learn from are taken back."""

    def __init__(self, root: Path, made: PreparedSet) -> None:
        self._root, self._made = root, made
        self._length = 0

    @property
    def _folder(self) -> Path:
        return self._root / f"sequence_{len(self._made.sequences):04d}"

    def add(self, frame: Frame, image: Image.Image) -> None:
        self._folder.mkdir(exist_ok=True)
        image.save(self._folder / f"{frame.number:06d}.jpg", quality=JPEG_QUALITY, subsampling=0)
        self._length += 1

    def close(self) -> None:
        """End the sequence."""
        if self._length >= SHORTEST:
            self._made.sequences.append(self._length)
        elif self._length:
            shutil.rmtree(self._folder)
            self._made.dropped[f"in a stretch of fewer than {SHORTEST} moving frames"] += self._length
        self._length = 0


def _nothing_left(movie: Movie, made: PreparedSet, motion: MotionConfig) -> str:
    if made.read < SHORTEST:
        return f"{movie.path}: has only {made.read} frames; give a video, or a folder of consecutive images"
    if made.cuts or made.jumps:
        return (
            f"{movie.path}: no three consecutive of its {made.read} frames show one scene ({made.cuts} cuts, {made.jumps} "
            "jumps); give frames that are closer in time"
        )
    return (
        f"{movie.path}: the camera does not move in its {made.read} frames (never by {motion.least:.1%} of the longer side "
        f"within {motion.longest_gap:g} s); film while moving, or lower --motion"
    )
