"""``semdepth predict``."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from semdepth import visualise
from semdepth.apps.metric_scale import MetricScale, road_camera
from semdepth.images import IMAGE_SUFFIXES, read_image
from semdepth.inference.predictor import load
from semdepth.runtime import InputError, logger, why_not_written
from semdepth.structures import Prediction

PNG_SCALE = 256.0
"""16-bit PNGs hold depth × 256, as KITTI's do."""
VIEW = re.compile(r"image_\d\d?")
"""KITTI's folders of camera images: image_02 of raw drives, image_2 of odometry."""
LABELS = "segmentation"
"""The folder of labels beside the images of a plain folder or a city."""
WRITTEN = re.compile(r"(.+)_(depth|disparity|panel)")
"""The stems of the pictures that are written here, beside NAME_depth.npy."""


def predict(
    weights: Path, image: Path, out: Path = Path("predictions"), device: str = "auto", flip: bool = False,
    every: int = 1, camera_height: float | None = None, intrinsics: tuple[float, float, float, float] | None = None,
    fov_deg: float | None = None,
) -> None:  # fmt: skip
    """Write the depth of an image, or of every image in a folder and the folders below it.

    For each image NAME: NAME_depth.npy (float32, the image's own size), NAME_depth.png (16 bit, depth × 256),
    NAME_disparity.png (a picture: near is bright) and NAME_panel.png (image and predictions side by side). Images that
    differ only in their suffix keep it: a.bmp beside a.png becomes a_bmp_depth.npy. Of a KITTI tree only the folders
    image_NN count; what was predicted before is no input. Images that cannot be read are passed over and counted.
    Example: semdepth predict RUN photos --out depth

    Depth is up to scale, unless the camera's height above the road and its intrinsics or field of view are given: then
    the road that the network sees tells the scale, filtered by the median of the last 15 images (in the order of their
    names, as of a video; images without road take the scale of those before). The panels say which it is, and so does
    metric_scale.csv, image by image. Example:
    semdepth predict RUN drive --camera_height 1.65 --fov_deg 81

    Args:
        weights: A run folder (its best weights) or a .safetensors file.
        image: An image, or a folder of images.
        out: The folder that receives the files.
        device: auto, cpu, cuda, mps.
        flip: Also predict the mirrored image: the mean of both disparities (evaluate --flip blends them as Godard 2017).
        every: Of a folder take every so-many-th image.
        camera_height: Metres of the camera above the road, for depth in metres; the weights must have learnt labels.
        intrinsics: fx, fy, cx, cy in pixels of the images, e.g. '[721.5,721.5,609.6,172.9]'.
        fov_deg: Horizontal field of view in degrees, in place of intrinsics.
    """
    if every < 1:
        raise InputError(f"every {every}: must be at least 1; 1 takes every image")
    camera = road_camera(camera_height, intrinsics, fov_deg)
    images = find_images(image, out)
    stems = output_stems(images, image, out)
    images = images[::every]
    predictor = load(weights, device)
    metric = None if camera is None else MetricScale(camera, predictor.network)
    failed = []
    for path in track(images, "predicting", disable=len(images) < 3):
        try:
            pixels = read_image(path)
        except InputError as error:
            if len(images) == 1:
                raise
            logger.warning("%s", error)
            failed.append(path)
            continue
        prediction = predictor.predict(pixels, flip=flip)
        if metric is not None:
            prediction = metric(path.name, prediction)
            metric.write(out)
        write_prediction(stems[path], pixels, prediction)
    if len(failed) == len(images):
        raise InputError(f"{image}: none of its {len(images)} images can be read; give PNG or JPEG files")
    passed = f", {len(failed)} passed over" if failed else ""
    unit = "depth up to scale" if metric is None else metric.summary()
    Console().print(f"{len(images) - len(failed)} images{passed}, {unit}: {out}", highlight=False, soft_wrap=True)


def find_images(path: Path, out: Path) -> list[Path]:
    """Return the image itself, or all images in a folder and below, by name.

    Label, depth and other companion PNGs of KITTI-like trees are left out: where there are folders ``image_NN`` below
    ``path``, only they count. So are labels in a folder ``segmentation`` below it, where `semdepth label` puts them, and
    predictions: everything in ``out``, and pictures beside their ``_depth.npy``.

    Args:
        path: an image or a folder.
        out: the folder that predictions go to, which may lie in ``path``.

    Raises:
        InputError: if there is no such image.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such image or folder; check the path")
        return [path]
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    found = [p for p in files if not _is_output(p, path, out) and LABELS not in p.relative_to(path).parts[:-1]]
    views = [p for p in found if any(VIEW.fullmatch(folder) for folder in p.relative_to(path).parts[:-1])]
    if not found:
        raise InputError(f"{path}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if views and len(views) < len(found):
        logger.info("%s: only folders image_NN are taken; %d other images are not", path, len(found) - len(views))
    return views or found


def output_stems(images: list[Path], given: Path, out: Path) -> dict[Path, Path]:
    """Return, by image, the path that the names of its files start with; no two images have the same.

    Raises:
        InputError: if two images would have the same all the same (``a.png``, ``a.bmp`` and ``a_bmp.png``).
    """
    below = {p: p.relative_to(given) if given.is_dir() else Path(p.name) for p in images}
    shared = Counter(p.with_suffix("") for p in below.values())
    stems = {
        image: out / (p.with_name(f"{p.stem}_{p.suffix[1:]}") if shared[p.with_suffix("")] > 1 else p.with_suffix(""))
        for image, p in below.items()
    }
    taken: dict[Path, Path] = {}
    for image, stem in stems.items():
        if stem in taken:
            raise InputError(
                f"{image}: its files would have the names of those of {taken[stem].name}; rename one of them"
            )
        taken[stem] = image
    return stems


def _is_output(file: Path, given: Path, out: Path) -> bool:
    root, target = given.resolve(), out.resolve()
    if target != root and target.is_relative_to(root) and (root / file.relative_to(given)).is_relative_to(target):
        return True
    written = WRITTEN.fullmatch(file.stem)
    return written is not None and file.with_name(f"{written[1]}_depth.npy").exists()


def write_prediction(stem: Path, pixels: npt.NDArray[np.uint8], prediction: Prediction) -> None:
    """Write the files of one image, each whole or not at all.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        _write_array(stem.with_name(f"{stem.name}_depth.npy"), prediction.depth)
        scaled = np.clip(np.round(prediction.depth * PNG_SCALE), 1, 65535).astype(np.uint16)
        visualise.write_png(stem.with_name(f"{stem.name}_depth.png"), scaled)
        disparity = visualise.colourise_disparity(prediction.disparity)
        visualise.write_png(stem.with_name(f"{stem.name}_disparity.png"), disparity)
        cells = {"image": pixels, f"disparity ({_unit(prediction)})": disparity}
        if prediction.labels is not None and prediction.uncertainty is not None:
            cells["segmentation"] = visualise.colourise_labels(prediction.labels)
            cells["uncertainty"] = visualise.colourise_uncertainty(prediction.uncertainty)
        picture = visualise.panel(list(cells.values()), titles=list(cells), columns=2)
        visualise.write_png(stem.with_name(f"{stem.name}_panel.png"), picture)
    except OSError as error:
        raise InputError(f"{stem.parent}: cannot be written ({why_not_written(error)}); give another --out") from None


def _unit(prediction: Prediction) -> str:
    if prediction.scale is None:
        return "depth up to scale"
    nearest, farthest = np.percentile(prediction.depth, (5, 95))
    return f"depth in metres: {nearest:.1f} to {farthest:.0f}"


def _write_array(path: Path, array: npt.NDArray[np.float32]) -> None:
    temporary = path.with_name(f".{path.name}")  # np.save adds .npy to names without it
    try:
        np.save(temporary, array)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
