"""What a frame at 640×192 takes in a shard, and what decoding it costs in processor time, by encoding.

python benchmarks/shard_encodings.py KITTI_RAW_DRIVE/image_02/data
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "raw": ("PPM", {}),
    "PNG, level 1": ("PNG", {"compress_level": 1}),
    "PNG, level 6": ("PNG", {"compress_level": 6}),
    "WebP, lossless": ("WEBP", {"lossless": True, "method": 1}),
    "JPEG 95, full colour (loses)": ("JPEG", {"quality": 95, "subsampling": 0}),
}


def main() -> None:
    """Print the table."""
    paths = sorted(Path(sys.argv[1]).iterdir())[:20]
    frames = [Image.open(path).convert("RGB").resize((640, 192), Image.Resampling.LANCZOS) for path in paths]
    print("| encoding | kB a frame | ms to decode | ms to encode |\n|---|---:|---:|---:|")
    for name, (kind, options) in ENCODINGS.items():
        streams = [io.BytesIO() for _ in frames]
        start = time.process_time()
        for frame, stream in zip(frames, streams, strict=True):
            frame.save(stream, kind, **options)
        written = time.process_time()
        for stream in streams:
            np.array(Image.open(stream))
        decode, encode = (1e3 * t / len(frames) for t in (time.process_time() - written, written - start))
        size = sum(stream.getbuffer().nbytes for stream in streams) / len(frames) / 1e3
        print(f"| {name} | {size:.0f} | {decode:.1f} | {encode:.1f} |")


if __name__ == "__main__":
    main()
