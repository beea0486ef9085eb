"""The files that a prediction becomes; the one door to OpenEXR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth import visualise
from semdepth.inference.files import whole_file
from semdepth.inference.point_cloud import PointCloud, point_cloud, write_glb, write_ply
from semdepth.labels import SKY, membership
from semdepth.runtime import InputError, logger
from semdepth.structures import Prediction

PNG_SCALE = 256.0
"""16-bit PNGs hold depth × 256, as KITTI's do."""
SUFFIXES = {
    "depth_npy": "depth.npy", "depth_png": "depth.png", "depth_exr": "depth.exr", "disparity": "disparity.png",
    "labels": "labels.png", "uncertainty": "uncertainty.png", "panel": "panel.png", "ply": "points.ply",
    "glb": "points.glb",
}  # fmt: skip
"""Output → what follows NAME_ in its file's name."""
DEFAULT = ("depth_npy", "depth_png", "disparity", "panel")
NEED_CAMERA = frozenset({"ply", "glb"})
Pixels = npt.NDArray[np.uint8]


def parse_outputs(text: str) -> tuple[str, ...]:
    """Return the outputs in a list with commas, e.g. ``depth_npy,ply``.

    Raises:
        InputError: if one is unknown, or there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in SUFFIXES]
    if unknown or not names:
        what = ", ".join(unknown) if unknown else "nothing"
        raise InputError(f"save {what}: choose from {', '.join(SUFFIXES)}, with commas between")
    return names


def write_prediction(
    stem: Path,
    pixels: Pixels,
    prediction: Prediction,
    outputs: tuple[str, ...] = DEFAULT,
    intrinsics: npt.NDArray[np.float64] | None = None,
    max_depth: float | None = None,
) -> None:
    """Write the files of one image, each whole or not at all.

    Args:
        stem: what their names start with; ``_depth.npy`` and the like follow.
        pixels: (H, W, 3) the image.
        prediction: of that image.
        outputs: which files, of ``SUFFIXES``.
        intrinsics: (3, 3) in pixels of the image, for point clouds.
        max_depth: farther pixels make no points.

    Raises:
        InputError: if a file cannot be written, or needs labels or intrinsics that there are none of.
    """
    cloud = None
    for output in outputs:
        path = stem.with_name(f"{stem.name}_{SUFFIXES[output]}")
        if output in NEED_CAMERA:
            if intrinsics is None:
                raise InputError(f"{path}: a point cloud needs the camera's intrinsics or field of view")
            cloud = cloud_of(pixels, prediction, intrinsics, max_depth) if cloud is None else cloud
            if not len(cloud):  # of one image among many that is no reason to stop
                logger.warning("%s: not written, no point is left; raise max_depth", path)
                continue
            (write_ply if output == "ply" else write_glb)(path, cloud)
        else:
            _WRITERS[output](path, pixels, prediction)


def cloud_of(
    pixels: Pixels, prediction: Prediction, intrinsics: npt.NDArray[np.float64], max_depth: float | None = None
) -> PointCloud:
    """Return the coloured points of an image, without the sky where the network sees which pixels it is."""
    depth = prediction.depth
    if prediction.labels is not None:
        depth = np.where(membership(SKY)[prediction.labels], np.float32(0), depth)
    return point_cloud(pixels, depth, intrinsics, max_depth=max_depth)


def write_npy(path: Path, array: npt.NDArray[np.float32]) -> None:
    """Write an array as NumPy does.

    Raises:
        InputError: if the file cannot be written.
    """
    with whole_file(path) as temporary:
        np.save(temporary, array)


def write_exr(path: Path, depth: npt.NDArray[np.float32]) -> None:
    """Write (H, W) float32 depth as an OpenEXR image with the one channel Z, as compositing programs read it.

    Raises:
        InputError: if the file cannot be written.
    """
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with whole_file(path) as temporary:
        try:
            OpenEXR.File(header, {"Z": np.ascontiguousarray(depth)}).write(str(temporary))
        except RuntimeError as error:  # what OpenEXR raises where others raise OSError
            raise OSError(None, " ".join(str(error).split())) from None


def panel_of(pixels: Pixels, prediction: Prediction) -> Pixels:
    """Return the image and its predictions side by side, under titles."""
    disparity = visualise.colourise_disparity(prediction.disparity)
    cells = {"image": pixels, f"disparity ({_unit(prediction)})": disparity}
    if prediction.labels is not None and prediction.uncertainty is not None:
        cells["segmentation"] = visualise.colourise_labels(prediction.labels)
        cells["uncertainty"] = visualise.colourise_uncertainty(prediction.uncertainty)
    return visualise.panel(list(cells.values()), titles=list(cells), columns=2)


def _unit(prediction: Prediction) -> str:
    if prediction.scale is None:
        return "depth up to scale"
    nearest, farthest = np.percentile(prediction.depth, (5, 95))
    return f"depth in metres: {nearest:.1f} to {farthest:.0f}"


def _write_depth_png(path: Path, pixels: Pixels, prediction: Prediction) -> None:
    scaled = np.clip(np.round(prediction.depth * PNG_SCALE), 1, 65535).astype(np.uint16)
    visualise.write_png(path, scaled)


def _write_labels(path: Path, pixels: Pixels, prediction: Prediction) -> None:
    if prediction.labels is None:
        raise InputError(f"{path}: these weights are depth-only and give no labels; save something else")
    visualise.write_png(path, prediction.labels)


def _write_uncertainty(path: Path, pixels: Pixels, prediction: Prediction) -> None:
    if prediction.uncertainty is None:
        raise InputError(f"{path}: these weights are depth-only and give no uncertainty; save something else")
    visualise.write_png(path, np.round(prediction.uncertainty * 65535).astype(np.uint16))


_WRITERS: dict[str, Callable[[Path, Pixels, Prediction], None]] = {
    "depth_npy": lambda path, pixels, prediction: write_npy(path, prediction.depth),
    "depth_png": _write_depth_png,
    "depth_exr": lambda path, pixels, prediction: write_exr(path, prediction.depth),
    "disparity": lambda path, pixels, prediction: visualise.write_png(
        path, visualise.colourise_disparity(prediction.disparity)
    ),
    "labels": _write_labels,
    "uncertainty": _write_uncertainty,
    "panel": lambda path, pixels, prediction: visualise.write_png(path, panel_of(pixels, prediction)),
}
