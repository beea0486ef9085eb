"""From an uploaded file to what the page shows of it. Everything is predicted through ``Predictor``."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth import visualise
from semdepth.apps.demo_site import legends
from semdepth.apps.demo_site.store import Store, plain_stem
from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.images import IMAGE_SUFFIXES, read_image
from semdepth.inference.metric import RoadCamera, in_metres, road_plane
from semdepth.inference.outputs import PNG_SCALE
from semdepth.inference.point_cloud import point_cloud, write_glb, write_ply
from semdepth.inference.predictor import Predictor
from semdepth.labels import SKY, membership
from semdepth.runtime import InputError
from semdepth.structures import Prediction

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"})
"""What counts as a video."""
FOV_DEG = 65.0
"""Horizontal field of view where nobody knows it: a phone's main camera, held upright or not, is near."""
_READ = "prediction.npz"


@dataclass(frozen=True)
class ImageResult:
    """What the page shows of an image; paths are of files that are there."""

    folder: Path
    """Where ``read_back`` finds the prediction again."""
    summary: str
    """Markdown."""
    image: Path
    """The image itself, as it was predicted."""
    disparity: Path
    """Depth in colour, near is bright."""
    depth_bar: str
    """HTML."""
    grid: str
    """HTML: depth for the pointer."""
    segmentation: Path | None
    """Classes in colour; None for a depth-only network."""
    classes: str
    """HTML legend; empty for a depth-only network."""
    uncertainty: Path | None
    """None for a depth-only network."""
    cloud: Path
    """GLB for the viewer."""
    downloads: tuple[Path, ...]
    """Depth as .npy, depth as 16-bit PNG, point cloud as PLY, point cloud as GLB."""


def is_video(path: Path) -> bool:
    """Whether an upload is a video, by its name.

    Raises:
        InputError: if it is neither an image nor a video.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        raise InputError(f"{path}: neither an image nor a video by its name; give PNG, JPEG, MP4 or the like")
    return suffix in VIDEO_SUFFIXES


def default_fov(predictor: Predictor) -> float:
    """Return the horizontal field of view, in degrees, that the weights were trained with, or else a usual one."""
    camera = predictor.intrinsics_for(predictor.image_size)
    if camera is None:
        return FOV_DEG
    return round(math.degrees(2 * math.atan(predictor.image_size[1] / 2 / float(camera[0, 0]))), 1)


def shrink(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) pixels with their longer side brought down to ``side`` if it is longer."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0))


def show_image(predictor: Predictor, store: Store, path: Path, fov_deg: float, height: float | None) -> ImageResult:
    """Predict an image and write everything that the page shows of it.

    Args:
        predictor: whose camera is not used.
        store: where files go.
        path: of the image.
        fov_deg: horizontal field of view in degrees.
        height: of the camera above the road in metres; None: depth stays up to scale.

    Raises:
        InputError: if the image cannot be used, or the camera's numbers make no sense.
    """
    if not 1 <= fov_deg <= 170:
        raise InputError(f"field of view {fov_deg:g}: give degrees between 1 and 170")
    camera = None if height is None else RoadCamera(height, fov_deg=fov_deg)
    given = read_image(path)
    pixels = shrink(given, store.limits.side)
    started = time.perf_counter()
    prediction, note = measured(predictor.predict(pixels), camera)
    seconds = time.perf_counter() - started
    intrinsics = intrinsics_from_fov(fov_deg, prediction.depth.shape).numpy()
    folder, stem = store.new_result(), plain_stem(path.name)
    _write_read_back(folder / _READ, prediction, intrinsics)
    files = _write_files(folder, stem, pixels, prediction, intrinsics, store.limits.points)
    pictures = _write_pictures(folder, stem, pixels, prediction)
    return ImageResult(
        folder=folder,
        summary=legends.summary(prediction, note, given.shape[:2], seconds),
        image=pictures["image"],
        disparity=pictures["disparity"],
        depth_bar=legends.depth_bar(prediction),
        grid=legends.depth_grid(prediction),
        segmentation=pictures.get("segmentation"),
        classes="" if prediction.labels is None else legends.class_legend(prediction.labels),
        uncertainty=pictures.get("uncertainty"),
        cloud=files[-1],
        downloads=files,
    )


def measured(prediction: Prediction, camera: RoadCamera | None) -> tuple[Prediction, str]:
    """Return the prediction, in metres where the camera is known and enough road is seen, and a word on why (not)."""
    if camera is None:
        return prediction, "give the camera's height for metres"
    if prediction.labels is None:
        return prediction, "these weights do not see what is road, so there are no metres"
    plane = road_plane(prediction, camera)
    if plane.reason:
        return prediction, f"no metres: {plane.reason}"
    return in_metres(prediction, plane.scale(camera.height)), f"by the road, camera {camera.height:g} m above it"


def read_back(folder: Path) -> tuple[Prediction, npt.NDArray[np.float64]]:
    """Return a result's prediction and its (3, 3) intrinsics.

    Raises:
        InputError: if it has been deleted meanwhile.
    """
    try:
        with np.load(folder / _READ, allow_pickle=False) as file:
            depth, scale = file["depth"], float(file["scale"])
            labels, uncertainty = (file["labels"], file["uncertainty"]) if "labels" in file else (None, None)
            read = Prediction(depth, 1 / depth, labels, uncertainty, None if math.isnan(scale) else scale)
            return read, file["intrinsics"]
    except OSError:
        raise InputError("this result has been deleted meanwhile; upload the image again") from None


def _write_read_back(path: Path, prediction: Prediction, intrinsics: npt.NDArray[np.floating]) -> None:
    scale = np.float64(math.nan if prediction.scale is None else prediction.scale)
    maps: dict[str, Any] = {"depth": prediction.depth, "intrinsics": intrinsics.astype(np.float64), "scale": scale}
    if prediction.labels is not None and prediction.uncertainty is not None:
        maps |= {"labels": prediction.labels, "uncertainty": prediction.uncertainty}
    np.savez(path, allow_pickle=False, **maps)


def _write_files(
    folder: Path, stem: str, pixels: npt.NDArray[np.uint8], prediction: Prediction,
    intrinsics: npt.NDArray[np.floating], points: int,
) -> tuple[Path, ...]:  # fmt: skip
    npy, png, ply, glb = (folder / f"{stem}_{end}" for end in ("depth.npy", "depth.png", "cloud.ply", "cloud.glb"))
    np.save(npy, prediction.depth)
    visualise.write_png(png, np.clip(np.round(prediction.depth * PNG_SCALE), 1, 65535).astype(np.uint16))
    # The sky, and what is so far that disparity hardly tells it apart, would dwarf the rest of the cloud.
    depth, farthest = prediction.depth, 12 * float(np.percentile(prediction.depth, 5))
    if prediction.labels is not None:
        depth = np.where(membership(SKY)[prediction.labels], np.float32(0), depth)
    step = max(1, math.ceil(math.sqrt(depth.size / points)))
    cloud = point_cloud(pixels, depth, intrinsics, max_depth=farthest, step=step)
    if not len(cloud):  # all sky: better a strange cloud than none
        cloud = point_cloud(pixels, prediction.depth, intrinsics, drop_edges=0, step=step)
    write_ply(ply, cloud)
    write_glb(glb, cloud)
    return npy, png, ply, glb


def _write_pictures(folder: Path, stem: str, pixels: npt.NDArray[np.uint8], prediction: Prediction) -> dict[str, Path]:
    pictures = {"image": pixels, "disparity": visualise.colourise_disparity(prediction.disparity)}
    if prediction.labels is not None and prediction.uncertainty is not None:
        pictures["segmentation"] = visualise.overlay(pixels, visualise.colourise_labels(prediction.labels), 0.65)
        pictures["uncertainty"] = visualise.colourise_uncertainty(prediction.uncertainty)
    paths = {name: folder / f"{stem}_{name}.png" for name in pictures}
    for name, picture in pictures.items():
        visualise.write_png(paths[name], picture)
    return paths
