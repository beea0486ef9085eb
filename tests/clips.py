"""Clips to order: a textured wall that slides by, encoded with PyAV."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 96, 160
# tkhd matrices (16.16 fixed point, the last column 2.30) by the degrees a player turns the picture clockwise.
TURNS = {
    90: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    270: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}


def wall(positions: Sequence[float], seed: int = 0) -> list[np.ndarray]:
    """Return frames (96, 160, 3) of a smooth random texture, seen from so many pixels to the right."""
    small = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 8, 100, 3), dtype=np.uint8)
    texture = Image.fromarray(small).resize((800, HEIGHT), Image.Resampling.BICUBIC)
    shift = Image.Transform.AFFINE
    size = (WIDTH, HEIGHT)
    return [
        np.asarray(texture.transform(size, shift, (1, 0, x, 0, 1, 0), Image.Resampling.BILINEAR)) for x in positions
    ]


def write_clip(path: Path, frames: Sequence[np.ndarray], rate: int = 10, aspect: Fraction | None = None) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        container.mux(stream.encode())
    return path


def turn(path: Path, degrees: int) -> Path:
    """Write the rotation into an mp4's track header, as a phone does."""
    content = bytearray(path.read_bytes())
    header = content.find(b"tkhd")
    start = header + 8 + (32 if content[header + 4] else 20) + 16
    content[start : start + 36] = struct.pack(">9i", *TURNS[degrees])
    path.write_bytes(content)
    return path


def without_length(path: Path) -> Path:
    """Let a Matroska video say that it lasts no time (its element Duration, a double, is 0), as browsers' recordings do."""
    content = path.read_bytes()
    place = content.index(b"\x44\x89\x88") + 3
    path.write_bytes(content[:place] + bytes(8) + content[place + 8 :])
    return path
