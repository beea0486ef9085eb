"""``semdepth benchmark render``: frames a second of the rendered world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from semdepth.apps.benchmark_record import record
from semdepth.apps.benchmark_turns import take_turns
from semdepth.data.synthetic_frames import SyntheticConfig, SyntheticFrames
from semdepth.runtime import InputError, choose_device

VIDEO_RATE = 10.0
"""Frames a second of KITTI's cameras: there is no other renderer to compare with, so the ratio is against real time."""


def render(size: tuple[int, int], images: int, rounds: int, device: str, out: Path) -> str:
    """Render drives with noisy labels, a new world a round.

    Args:
        size: (H, W) of the frames.
        images: frames a drive.
        rounds: drives.
        device: auto, cpu, cuda, mps.
        out: folder of performance.json.

    Returns:
        The speed, and where the number is.

    Raises:
        InputError: if a number is below 1, or the file cannot be written.
    """
    if rounds < 1 or images < 1:
        raise InputError("benchmark render: rounds and images must be at least 1")
    place = choose_device(device)
    config = SyntheticConfig(drives=1, frames=images, device=str(place))
    drives = iter(range(rounds + 1))

    def drive() -> object:
        world = replace(config, first=next(drives))
        return SyntheticFrames(world, *size, offsets=())[0]

    turns = take_turns({"ours": drive}, rounds, device=place)
    rate = images / turns.median("ours")
    key = "render_gpu" if place.type == "cuda" else "render_cpu"
    seconds = turns.rows(images)["ours"]
    written = record(key, rate, VIDEO_RATE, "images/s", out=out, seconds_an_image=seconds, size=list(size))
    return f"{rate:.2f} frames/s at {size[1]}×{size[0]} (real time: {VIDEO_RATE:g})\n\nAs JSON: {written}"
