"""``semdepth synthesise``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semdepth.runtime import choose_device
from semdepth.synthetic.label_noise import LabelNoiseConfig
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.writer import synthesise as write_drives


def synthesise(
    out: Path, split: Literal["train", "val", "test", "foreign"] = "train", drives: int = 8, frames: int = 20,
    height: int = 192, width: int = 640, world: WorldConfig = WorldConfig(), noise: LabelNoiseConfig = LabelNoiseConfig(),
    first: int = 0, device: str = "auto",
) -> None:  # fmt: skip
    """Render drives through random streets and write them in KITTI raw's layout, with the exact truth beside.

    Images, noisy labels and their entropy stand where a KITTI user has them; exact depth (16 bit, metres × 256), labels,
    masks of moving objects and poses stand beside. Drives that are complete are not rendered again; a folder takes more
    drives, but none with other settings (synthesise.json beside the drives keeps them).

    Args:
        out: The data set's root; give it to semdepth train as --data.root.
        split: Which worlds: train, val and test never share one; foreign has another style and camera.
        drives: How many drives.
        frames: Frames a drive, at 10 Hz.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        world: What the worlds are like.
        noise: How wrong the noisy labels are.
        first: Number of the first drive. Drive n of a split is the same world everywhere: machines can share the work.
        device: Where to render: auto, cpu, cuda.

    Examples:
        semdepth synthesise worlds/mine/train --drives 8            # to learn from
        semdepth synthesise worlds/mine/val --split val --drives 2  # streets that train never shows
        semdepth synthesise worlds/foreign --split foreign          # another style and camera
        semdepth synthesise worlds/varied --world.style varied      # every drive looks its own way
    """
    chosen = str(choose_device(device))
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("rendering", total=drives * frames)
        write_drives(
            out, split, drives, frames, height=height, width=width, config=world, noise=noise, device=chosen,
            first=first, progress=lambda drive, done: bar.update(task, completed=drive * frames + done),
        )  # fmt: skip
        bar.update(task, completed=drives * frames)
    Console().print(f"{drives} drives of {frames} frames ({split}): {out}", highlight=False, soft_wrap=True)
