"""``semdepth predict``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from semdepth import visualise
from semdepth.images import IMAGE_SUFFIXES, read_image
from semdepth.inference.predictor import load
from semdepth.runtime import InputError, logger
from semdepth.structures import Prediction

PNG_SCALE = 256.0
"""16-bit PNGs hold depth × 256, as KITTI's do."""


def predict(
    weights: Path, image: Path, out: Path = Path("predictions"), device: str = "auto", flip_average: bool = False,
    every: int = 1,
) -> None:  # fmt: skip
    """Write the depth of an image, or of every image in a folder and the folders below it.

    For each image NAME: NAME_depth.npy (float32, the image's own size), NAME_depth.png (16 bit, depth × 256),
    NAME_disparity.png (a picture: near is bright) and NAME_panel.png (image and predictions side by side). Depth is up to
    scale. Images that cannot be read are passed over and counted.

    Args:
        weights: A run folder (its best weights) or a .safetensors file.
        image: An image, or a folder of images.
        out: The folder that receives the files.
        device: auto, cpu, cuda, mps.
        flip_average: Also predict the mirrored image and average.
        every: Of a folder take every so-many-th image.
    """
    images = find_images(image)[:: max(every, 1)]
    predictor = load(weights, device)
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
        target = out / path.relative_to(image).parent if image.is_dir() else out
        write_prediction(target / path.stem, pixels, predictor.predict(pixels, flip_average=flip_average))
    if len(failed) == len(images):
        raise InputError(f"{image}: none of its {len(images)} images can be read; give PNG or JPEG files")
    passed = f", {len(failed)} passed over" if failed else ""
    Console().print(f"{len(images) - len(failed)} images{passed}: {out}", highlight=False, soft_wrap=True)


def find_images(path: Path) -> list[Path]:
    """Return the image itself, or all images in a folder and below, by name.

    Label, depth and other companion PNGs of KITTI-like trees are left out: only ``image_*`` folders count there.

    Raises:
        InputError: if there is no such image.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such image or folder; check the path")
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    views = [p for p in found if any(part.startswith("image_") for part in p.parts)]
    if not found:
        raise InputError(f"{path}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return views or found


def write_prediction(stem: Path, pixels: npt.NDArray[np.uint8], prediction: Prediction) -> None:
    """Write the files of one image, each whole or not at all.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        temporary = stem.with_name(f".{stem.name}.npy")
        np.save(temporary, prediction.depth)
        temporary.replace(stem.with_name(f"{stem.name}_depth.npy"))
        scaled = np.clip(np.round(prediction.depth * PNG_SCALE), 1, 65535).astype(np.uint16)
        visualise.write_png(stem.with_name(f"{stem.name}_depth.png"), scaled)
        cells = {"image": pixels, "disparity": visualise.colourise_disparity(prediction.disparity)}
        visualise.write_png(stem.with_name(f"{stem.name}_disparity.png"), cells["disparity"])
        if prediction.labels is not None and prediction.uncertainty is not None:
            cells["segmentation"] = visualise.colourise_labels(prediction.labels)
            cells["uncertainty"] = visualise.colourise_uncertainty(prediction.uncertainty)
        picture = visualise.panel(list(cells.values()), titles=list(cells), columns=2)
        visualise.write_png(stem.with_name(f"{stem.name}_panel.png"), picture)
    except OSError as error:
        raise InputError(f"{stem.parent}: cannot be written ({error.strerror}); give another --out") from None
