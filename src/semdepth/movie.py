"""Frames of a video, a folder of images or a camera, in order, upright, one at a time; the one door to PyAV."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth.images import IMAGE_SUFFIXES, image_size, read_image
from semdepth.runtime import InputError, natural_order, require_file, require_folder

Picture = npt.NDArray[np.uint8]
REPAIR = "copy it again, or repair it: ffmpeg -i BAD -c copy GOOD"
"""What helps against a damaged video."""


class Frame(Protocol):
    """A frame that is decoded only as far as it is asked for."""

    @property
    def number(self) -> int:
        """From 0, in the order of showing."""
        ...

    @property
    def seconds(self) -> float:
        """When it is shown, from the first frame on."""
        ...

    def grey(self, long_side: int) -> Picture:
        """Return the upright frame as small (h, w) uint8 luma, its longer side ``long_side`` pixels."""
        ...

    def rgb(self) -> Picture:
        """Return the upright frame as (H, W, 3) uint8 RGB with square pixels."""
        ...


@dataclass(frozen=True)
class Movie:
    """What is known of a video, or of a folder of images, before its frames are read."""

    path: Path
    size: tuple[int, int]
    """(H, W) of the upright frames, with square pixels."""
    expected: int | None
    """About how many frames there are, where the file says so."""
    images: tuple[Path, ...] = ()
    """The images of a folder, in the order of the numbers in their names."""
    fps: float = 10.0
    """Frame rate: a folder's is told, not found."""
    aspect: float = 1.0
    """Width over height of the stored pixels."""


def open_movie(path: Path, fps: float = 10.0) -> Movie:
    """Look at a video, or at a folder of images.

    Args:
        path: the video file or the folder.
        fps: frame rate of the images in a folder; a video states its own.

    Raises:
        InputError: if there is nothing there to read frames from.
    """
    if path.is_dir():
        return _open_folder(path, fps)
    require_file(path, "video")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(f"{path}: is a single image; give a video, or a folder of consecutive images")
    with _video(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise InputError(f"{path}: has a video stream without frames; {REPAIR}")
        aspect = float(stream.sample_aspect_ratio or 1.0)
        size = _upright_size(first, aspect)
        return Movie(path, size, stream.frames or None, fps=float(stream.average_rate or fps), aspect=aspect)


def read_frames(movie: Movie, damaged: Callable[[InputError], None] | None = None) -> Iterator[Frame]:
    """Yield the frames in order, each valid until the next one is asked for: memory does not grow with the length.

    Args:
        movie: what ``open_movie`` found.
        damaged: called with what is wrong with a part of a video that cannot be decoded, and reading goes on behind it;
            also with a video that ends early. None: that is an error.

    Raises:
        InputError: if a frame cannot be decoded, or the video ends long before it says, unless ``damaged`` is given.
    """
    if movie.images:
        for number, path in enumerate(movie.images):
            yield _ImageFrame(number, number / movie.fps, path, movie.size)
        return
    number, start = 0, None
    with _video(movie.path) as (container, stream):
        for frame in _decoded(container, stream, movie.path, damaged):
            shown = float(frame.time) if frame.time is not None else number / movie.fps
            start = shown if start is None else start
            if _upright_size(frame, movie.aspect) != movie.size:
                raise InputError(f"{movie.path}: changes its size at frame {number}; cut it there into two videos")
            yield _VideoFrame(number, shown - start, frame, movie.size, movie.path)
            number += 1
    if movie.expected is not None and number < 0.9 * movie.expected:
        early = InputError(f"{movie.path}: ends after {number} of {movie.expected} frames; {REPAIR}")
        if damaged is None or not number:
            raise early
        damaged(early)


def stored_length(movie: Movie) -> tuple[int, float]:
    """Return the number of frames, and the seconds from first to last, counted without decoding (headers may say nothing).

    Raises:
        InputError: if the video cannot be read.
    """
    if movie.images:
        return len(movie.images), (len(movie.images) - 1) / movie.fps
    with _video(movie.path) as (container, stream):
        times = [packet.pts for packet in container.demux(stream) if packet.size]
        shown = [float(time * stream.time_base) for time in times if time is not None]
    return len(times), max(shown, default=0.0) - min(shown, default=0.0)


def _decoded(container: Any, stream: Any, path: Path, damaged: Callable[[InputError], None] | None) -> Iterator[Any]:
    import av

    if damaged is None:
        yield from container.decode(stream)
        return
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.InvalidDataError as error:
            damaged(InputError(f"{path}: a frame cannot be decoded ({error.strerror}); {REPAIR}"))
            continue
        yield from frames


@dataclass(frozen=True)
class CameraFrame:
    """A frame of a camera that runs."""

    number: int
    seconds: float
    pixels: Picture

    def grey(self, long_side: int) -> Picture:
        """Return small luma, as ``Frame`` says."""
        return _small_grey(self.pixels, long_side)

    def rgb(self) -> Picture:
        """Return the frame as (H, W, 3) uint8 RGB."""
        return self.pixels


def read_camera(number: int = 0) -> Iterator[CameraFrame]:
    """Yield what a camera of this computer sees, for as long as it runs; times are those of the clock.

    Args:
        number: 0 is the first camera that the system names.

    Raises:
        InputError: if there is no such camera, or it gives no picture.
    """
    import cv2

    camera = cv2.VideoCapture(number)
    try:
        start = count = 0.0
        while True:
            seen, picture = camera.read()
            now = time.monotonic()
            if not seen:
                if count:
                    return  # unplugged: what was seen until then counts
                raise InputError(f"webcam:{number}: gives no picture; is it there, and used by no other program?")
            start = start if count else now
            yield CameraFrame(int(count), now - start, np.ascontiguousarray(picture[..., ::-1]))
            count += 1
    finally:
        camera.release()


def _open_folder(path: Path, fps: float) -> Movie:
    if not 0 < fps < math.inf:
        raise InputError(f"fps {fps:g}: must be a number above 0; give the rate at which the images were taken")
    require_folder(path, "folder of images", "give a video, or a folder of consecutive images")
    images = sorted(
        (p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and p.name[0] != "."),
        key=natural_order,
    )
    if not images:
        raise InputError(f"{path}: no images in it; give a video, or a folder of consecutive images (PNG or JPEG)")
    return Movie(path, image_size(images[0]), len(images), tuple(images), fps)


@contextmanager
def _video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open the first video stream; whatever FFmpeg finds wrong, now or while frames are read, becomes an InputError."""
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise InputError(f"{path}: holds no video stream; give a video, or a folder of consecutive images")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read as video ({reason}); {REPAIR}") from None
    except (UnicodeDecodeError, MemoryError, OverflowError, ZeroDivisionError) as error:
        raise InputError(f"{path}: cannot be read as video ({type(error).__name__} in its header); {REPAIR}") from None


def _quarter_turns(frame: Any) -> int:
    """Return by how many quarter turns, counter-clockwise, the stored picture must be turned to stand upright."""
    return int(round(frame.rotation / 90) % 4)


def _upright_size(frame: Any, aspect: float) -> tuple[int, int]:
    height, width = frame.height, round(frame.width * aspect)
    return (width, height) if _quarter_turns(frame) % 2 else (height, width)


def small_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return (h, w) of a picture of ``size`` whose longer side is brought to ``long_side``."""
    scale = long_side / max(size)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _small_grey(pixels: Picture, long_side: int) -> Picture:
    height, width = small_size((pixels.shape[0], pixels.shape[1]), long_side)
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX).convert("L"))


@dataclass(frozen=True)
class _VideoFrame:
    number: int
    seconds: float
    frame: Any
    size: tuple[int, int]
    path: Path

    def grey(self, long_side: int) -> Picture:
        return self._turned(small_size(self.size, long_side), "gray")

    def rgb(self) -> Picture:
        return self._turned(self.size, "rgb24")

    def _turned(self, size: tuple[int, int], layout: str) -> Picture:
        """Scale the stored picture so that it is of ``size`` once it stands upright."""
        turns = _quarter_turns(self.frame)
        height, width = size[::-1] if turns % 2 else size
        import av

        try:
            pixels = self.frame.reformat(width=width, height=height, format=layout, interpolation="AREA").to_ndarray()
        except av.FFmpegError as error:
            raise InputError(
                f"{self.path}: frame {self.number} cannot be converted ({error.strerror}); {REPAIR}"
            ) from None
        return np.ascontiguousarray(np.rot90(pixels, turns))


@dataclass(frozen=True)
class _ImageFrame:
    number: int
    seconds: float
    path: Path
    size: tuple[int, int]

    def grey(self, long_side: int) -> Picture:
        return _small_grey(self.rgb(), long_side)

    def rgb(self) -> Picture:
        pixels = read_image(self.path)
        if pixels.shape[:2] != self.size:
            raise InputError(
                f"{self.path}: is {pixels.shape[1]}×{pixels.shape[0]}, the first image {self.size[1]}×{self.size[0]}; "
                "put images of each size into a folder of their own"
            )
        return pixels
