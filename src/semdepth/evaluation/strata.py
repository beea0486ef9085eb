"""Where in the image the errors are: per class, near borders, on moving objects; and what makes an image hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.evaluation.borders import (
    Mask,
    border_density,
    boundary_errors,
    count_objects,
    depth_edges,
    distance_within,
    label_borders,
)
from semdepth.evaluation.holes import HOLE_RATIO, count_holes, share_of_movable_holes
from semdepth.evaluation.metrics import DepthErrors, Float64, error_sums, errors_from_sums, mean_errors
from semdepth.evaluation.protocols import Aligned, Protocol
from semdepth.labels import CLASSES, NUM_CLASSES

BORDER_REACH = 5
"""Pixels of the ground truth; ``border_abs_rel`` is the error of the judged pixels this near to a border."""
MEASURES = {
    "border_abs_rel": f"AbsRel within {BORDER_REACH} px of a semantic or depth border",
    "boundary_accuracy": "mean distance of predicted to true depth borders, px",
    "boundary_completeness": "mean distance of true to predicted depth borders, px",
    "moving_holes": f"share of moving objects' pixels predicted beyond {HOLE_RATIO:g} times their depth",
    "movable_holes": f"share of movable classes' pixels, moving or not, predicted beyond {HOLE_RATIO:g} times their depth",
    "holed_objects": "moving objects at least half of whose pixels are such a hole",
    "log10": "mean |log10 g − log10 p|, where the protocol asks for it",
    "rmse_log10": "root of the mean (log10 g − log10 p)², where the protocol asks for it",
    "border_density": "share of labelled pixels on a semantic border",
    "moving_objects": "moving objects in the image",
}
"""Per-image numbers beside the errors; NaN where an image lacks what they need. The last two describe the image."""


@dataclass(frozen=True)
class Annotations:
    """What is known of an image beside its depth; each map (H, W), at the size of the ground truth."""

    labels: npt.NDArray[Any] | None = None
    """trainIds 0–18, 255 = ignore; exact where there are exact ones, else pseudo-labels."""
    moving: npt.NDArray[Any] | None = None
    """bool: true on moving objects (separate regions are counted as objects); or integer instance ids, 0 = still."""


@dataclass(frozen=True)
class StratumErrors:
    """The errors on one kind of pixels, or on one kind of images."""

    images: int
    """images that have such pixels"""
    pixels: int
    per_image: DepthErrors
    """mean over these images of their errors; every image weighs the same"""
    per_pixel: DepthErrors
    """every pixel weighs the same: steadier where a stratum is a few pixels in most images"""


def analyse(
    aligned: Aligned, annotations: Annotations, protocol: Protocol
) -> tuple[dict[str, Float64], dict[str, float]]:
    """Look closer at one image.

    Args:
        aligned: the image's truth and prediction under ``protocol``.
        annotations: what else is known of it.
        protocol: ``dense`` says whether depth borders can be read from the truth.

    Returns:
        The (8,) error sums (``metrics.error_sums``) of each stratum that has judged pixels: ``class/<name>``,
        ``border`` (within ``BORDER_REACH`` of a semantic border or, in a dense truth, a depth border), ``inside`` (the
        rest), ``moving``, ``still``; and the image's ``MEASURES``.
    """
    edges = _true_depth_edges(aligned, protocol.max_depth) if protocol.dense else None
    border = _near_borders(annotations.labels, edges)
    sums = _stratum_sums(aligned, annotations, border)
    measures = dict.fromkeys(MEASURES, float("nan"))
    if "border" in sums:
        measures["border_abs_rel"] = errors_from_sums(sums["border"]).abs_rel
    if edges is not None:
        accuracy, completeness = boundary_errors(edges, depth_edges(aligned.prediction))
        measures |= {"boundary_accuracy": accuracy, "boundary_completeness": completeness}
    if annotations.labels is not None:
        measures["border_density"] = border_density(annotations.labels)
        measures["movable_holes"] = share_of_movable_holes(aligned, annotations.labels)
    if annotations.moving is not None:
        measures["moving_objects"] = float(_number_of_objects(annotations.moving))
        found = count_holes(aligned, annotations.moving)
        measures["moving_holes"] = found.hole_pixels / found.pixels if found.pixels else float("nan")
        measures["holed_objects"] = float(found.holed_objects)
    if protocol.log10:
        measures |= _decimal_errors(aligned)
    return sums, measures


def _true_depth_edges(aligned: Aligned, max_depth: float) -> Mask:
    """Depth borders of a dense truth; where it is not judged (0: sky; beyond the cap) it counts as the cap."""
    return depth_edges(np.where(aligned.mask, aligned.ground_truth, max_depth))


def _decimal_errors(aligned: Aligned) -> dict[str, float]:
    """Both errors that tables of Make3D call log10: Saxena's and Karsch's mean, and the root mean square that
    monodepth2's evaluation computes and its descendants compare with (RMSElog / ln 10)."""
    difference = np.log10(aligned.prediction[aligned.mask] / aligned.ground_truth[aligned.mask])
    return {"log10": float(np.abs(difference).mean()), "rmse_log10": float(np.sqrt((difference**2).mean()))}


def _near_borders(labels: npt.NDArray[Any] | None, edges: Mask | None) -> Mask | None:
    known = [borders for borders in (None if labels is None else label_borders(labels), edges) if borders is not None]
    if not known:
        return None
    return np.isfinite(distance_within(np.logical_or.reduce(known), BORDER_REACH))


def _stratum_sums(aligned: Aligned, annotations: Annotations, border: Mask | None) -> dict[str, Float64]:
    mask = aligned.mask
    truth, prediction = aligned.true, aligned.predicted
    groupings: list[tuple[npt.NDArray[np.int64], tuple[str, ...]]] = []
    if annotations.labels is not None:
        index = np.minimum(annotations.labels[mask].astype(np.int64), NUM_CLASSES)  # ignore: one past the classes
        groupings.append((index, tuple(f"class/{c.name}" for c in CLASSES)))
    if border is not None:
        groupings.append((border[mask].astype(np.int64), ("inside", "border")))
    if annotations.moving is not None:
        groupings.append(((annotations.moving[mask] > 0).astype(np.int64), ("still", "moving")))
    found = {}
    for index, names in groupings:
        sums = error_sums(truth, prediction, index, len(names) + 1)
        found.update({name: row for name, row in zip(names, sums[: len(names)], strict=True) if row[0] > 0})
    return found


def _number_of_objects(moving: npt.NDArray[Any]) -> int:
    return count_objects(moving) if moving.dtype == np.bool_ else int((np.unique(moving) > 0).sum())


def complexity_strata(density: Float64, objects: Float64) -> dict[str, npt.NDArray[np.bool_]]:
    """Sort N images by how complex their scenes are.

    Args:
        density: (N,) border densities, NaN where unknown.
        objects: (N,) numbers of moving objects, NaN where unknown.

    Returns:
        (N,) masks by name: thirds of the images by border density (``scene/few borders`` … ``scene/many borders``;
        the thirds are those of *these* images), and ``scene/0 moving``, ``scene/1-2 moving``, ``scene/3+ moving``.
        Empty strata are left out.
    """
    strata = {}
    low, high = np.nanquantile(density, [1 / 3, 2 / 3]) if np.isfinite(density).any() else (0.0, 0.0)
    if low < high:  # else the images are alike
        strata = {
            "scene/few borders": density <= low,
            "scene/some borders": (density > low) & (density <= high),
            "scene/many borders": density > high,
        }
    strata |= {
        "scene/0 moving": objects == 0,
        "scene/1-2 moving": (objects >= 1) & (objects <= 2),
        "scene/3+ moving": objects >= 3,
    }
    return {name: chosen for name, chosen in strata.items() if chosen.any()}


def summarise(sums: Float64) -> StratumErrors:
    """Average (N, 8) error sums of the N images that have pixels of a stratum, both ways."""
    per_image = mean_errors(errors_from_sums(row) for row in sums)
    return StratumErrors(len(sums), int(sums[:, 0].sum()), per_image, errors_from_sums(sums.sum(axis=0)))
