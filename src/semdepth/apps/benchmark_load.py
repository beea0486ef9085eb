"""``semdepth benchmark load``: benchmarks/loading.py of the clone, started for you."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from semdepth.apps.benchmark_record import FILE
from semdepth.apps.benchmark_turns import REFERENCES
from semdepth.runtime import InputError, require_folder

LEAST_FRAMES = 14
"""A batch of 12 triplets."""


def load(root: Path | None, rounds: int, out: Path) -> str:
    """Let the loaders take turns on a folder of consecutive frames.

    Args:
        root: the folder, e.g. KITTI's DRIVE/image_02/data.
        rounds: how often every loader has a turn.
        out: folder of performance.json.

    Returns:
        Where the numbers are; the table is printed on the way.

    Raises:
        InputError: if the clone or the frames are missing, or the measurement fails.
    """
    script = REFERENCES.parent / "loading.py"
    if not script.is_file():
        raise InputError(f"{script}: is not there; benchmarks run in a clone of the repository, pip install -e .")
    if root is None:
        raise InputError("benchmark load: name a folder of consecutive frames with --data.root")
    if rounds < 1:
        raise InputError("benchmark load: rounds must be at least 1")
    folder = require_folder(root, "folder of frames", "give e.g. DRIVE/image_02/data")
    if sum(path.is_file() for path in folder.iterdir()) < LEAST_FRAMES:
        raise InputError(f"{folder}: holds fewer than {LEAST_FRAMES} frames; give e.g. DRIVE/image_02/data")
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(script), str(folder), "--rounds", str(rounds), "--out", str(out / FILE)]
    if subprocess.run(command, check=False).returncode:
        raise InputError(f"{folder}: the loaders could not be measured; see above")
    return f"As JSON: {out / FILE}"
