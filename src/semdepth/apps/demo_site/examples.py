"""Images to click on: rendered, so that nobody's rights are touched, and kept for the next start."""

from __future__ import annotations

import os
from pathlib import Path

from rich.progress import track

from semdepth.synthetic.drive import Split, render_drive, world_seed
from semdepth.synthetic.style import WorldConfig
from semdepth.visualise import write_png

SIZE = (192, 576)
"""(H, W) of the examples."""
SCENES: dict[str, tuple[Split, int, int]] = {
    "street A": ("test", 3, 5),
    "street B": ("test", 7, 8),
    "street C": ("test", 12, 4),
    "another city": ("foreign", 2, 6),
}
"""Name → split, drive and frame of the rendered world; training never sees these splits."""
_VERSION = 1


def cache_folder() -> Path:
    """Return where rendered examples are kept: below ``XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "semdepth" / f"examples_{_VERSION}"


def render_examples(folder: Path, size: tuple[int, int] = SIZE) -> list[tuple[Path, str]]:
    """Return the examples and their names; those that are not in ``folder`` yet are rendered.

    Args:
        folder: where they are kept.
        size: (H, W).

    Raises:
        InputError: if the folder cannot be written.
    """
    height, width = size
    paths = {name: folder / f"{name.replace(' ', '_')}_{width}x{height}.png" for name in SCENES}
    missing = [name for name, path in paths.items() if not path.exists()]
    for name in track(missing, "rendering examples", disable=not missing, transient=True):
        split, number, frame = SCENES[name]
        world = WorldConfig(scene="complex", style="foreign" if split == "foreign" else "default")
        drive = render_drive(world_seed(split, number), 1, height, width, config=world, start=frame)
        write_png(paths[name], drive.images[0].permute(1, 2, 0).numpy())
    return [(path, name) for name, path in paths.items()]
