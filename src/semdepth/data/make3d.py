"""Make3D (Saxena et al., PAMI 2009): 134 single images with a laser's depth, to judge on; there is no video to learn from.

::

    <root>/Test134/img-math7-p-282t0.jpg                            1704×2272, upright
    <root>/Gridlaserdata/depth_sph_corr-math7-p-282t0.mat           Position3DGrid, 55×305×4; the fourth plane is depth

[L] As in all self-supervised work since Godard et al. (2017), the central part of twice as many columns as rows is cut
from each image (rows 710–1562 of 2272) and from the grid (rows 17–38 of 55): networks of street scenes expect wide images.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.data.records import FrameRecord, GridDepth
from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.runtime import InputError, require_file, require_folder

DOWNLOAD = "give the folder that holds Test134 and Gridlaserdata (make3d.cs.cornell.edu/data.html)"
IMAGE_SIZE = (2272, 1704)
KEPT_ROWS = (0.3125, 0.6875)
"""The central 852 of 2272 rows: half as many as there are columns."""
VARIABLE = "Position3DGrid"
GRID = (55, 305, 4)
"""Rows, columns, planes of the laser grid; it covers the image."""
LENIENT = {"verify_compressed_data_integrity": False}
"""One file of the published archive has bytes after its data, which SciPy takes for damage unless told not to."""
PLAIN_GRIDS = ((GRID, "double"), (GRID, "single"))
"""Shape and class, as SciPy lists them, of a variable that is fit to be read."""
NOMINAL_FOV_DEG = 60.0
"""The camera is not given. Nothing that is judged depends on it."""


def make3d(root: str | Path) -> list[FrameRecord]:
    """Return the records of the 134 test images (or of those that are there), without sources and labels.

    Args:
        root: the folder that holds ``Test134`` and ``Gridlaserdata``.

    Returns:
        At least one record, by name, each with its laser grid. Names are ``math7/p-282t0``: images of one place resemble
        each other, and are drawn together by the bootstrap.

    Raises:
        InputError: if there are no images, or one has no laser grid.
    """
    root = require_folder(Path(root), "Make3D", DOWNLOAD)
    folder = require_folder(_place(root, "Test134", "Test134Img"), "folder of test images", DOWNLOAD)
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".jpg" and p.stem.startswith("img-"))
    if not images:
        raise InputError(f"{folder}: no img-*.jpg in it; {DOWNLOAD}")
    grids = require_folder(
        _place(root, "Gridlaserdata", "Test134Depth/Gridlaserdata"), "folder of laser grids", DOWNLOAD
    )
    return [_record(image, grids) for image in images]


def read_laser_grid(path: str | Path) -> npt.NDArray[np.float32]:
    """Read Make3D's depth from a .mat file (needs SciPy; reading executes nothing).

    Returns:
        (55, 305) float32 metres, 0 = unknown.

    Raises:
        InputError: if the file is missing, cut off, no .mat file, or holds another variable or shape.
    """
    from scipy.io import loadmat, whosmat

    path = require_file(path, "laser grid")
    again = "unpack Test134Depth.tar.gz again"
    try:
        # Looked at first: where a header contradicts the data behind it, SciPy may read beyond its memory.
        first = _first_variable(path.read_bytes())
        listed = {name: (shape, kind) for name, shape, kind in whosmat(BytesIO(first), **LENIENT)}
        found = loadmat(BytesIO(first), **LENIENT) if listed.get(VARIABLE) in PLAIN_GRIDS else {}
    except Exception as error:  # whatever SciPy's parser stumbles on, the file is no good
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: laser grid cannot be read ({reason}); {again}") from None
    if VARIABLE not in listed:
        raise InputError(f"{path}: has no variable {VARIABLE}; give the file that belongs to the image, or {again}")
    grid = found.get(VARIABLE)
    if grid is None or grid.shape != GRID or not np.issubdtype(grid.dtype, np.floating):
        shape, kind = listed[VARIABLE]
        raise InputError(f"{path}: {VARIABLE} is {'×'.join(map(str, shape))} of {kind}, not 55×305×4 numbers; {again}")
    depth = np.asarray(grid[..., 3], dtype=np.float32)
    if not np.isfinite(depth).all() or depth.min() < 0:
        raise InputError(f"{path}: {VARIABLE} holds depths that are negative or not finite; {again}")
    return depth


def _first_variable(content: bytes) -> bytes:
    """Return a version 5 .mat file without what comes behind its first variable."""
    length = int.from_bytes(content[132:136], "little" if content[126:128] == b"IM" else "big")
    return content[: 136 + length]


def _place(root: Path, *names: str) -> Path:
    """Return the first of these folders that is there, else the first."""
    return next((root / name for name in names if (root / name).is_dir()), root / names[0])


def _record(image: Path, grids: Path) -> FrameRecord:
    view = image.stem.removeprefix("img-")
    place, dash, angle = view.partition("-p-")
    return FrameRecord(
        name=f"{place}/p-{angle}" if dash else view,
        image=image,
        intrinsics=intrinsics_from_fov(NOMINAL_FOV_DEG, IMAGE_SIZE).double().numpy(),
        image_size=IMAGE_SIZE,
        rows=KEPT_ROWS,
        depth=GridDepth(require_file(grids / f"depth_sph_corr-{view}.mat", "laser grid")),
    )
