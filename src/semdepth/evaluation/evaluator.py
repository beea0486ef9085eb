"""Collect the verdicts on all images, then say how good the whole is, and how sure that is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt

from semdepth.evaluation.bootstrap import Interval, PairedDifference, bootstrap_intervals, paired_bootstrap
from semdepth.evaluation.holes import HoleCount, total
from semdepth.evaluation.metrics import (
    METRICS,
    Array,
    DepthErrors,
    Float64,
    as_array,
    calibration_sums,
    class_iou,
    confusion_matrix,
    expected_calibration_error,
    mean_errors,
    mean_iou,
)
from semdepth.evaluation.protocols import Protocol
from semdepth.evaluation.strata import MEASURES, StratumErrors, complexity_strata, summarise
from semdepth.evaluation.verdict import ImageRow, Verdict, judge_image
from semdepth.labels import CLASSES, NUM_CLASSES
from semdepth.runtime import InputError


@dataclass(frozen=True)
class SegmentationScores:
    """The segmentation branch against the given labels, over all pixels of all images."""

    mean_iou: float
    """in [0, 1], over the classes that occur in the labels"""
    class_iou: dict[str, float]
    """by class; classes that occur neither in the labels nor in the prediction are left out"""
    pixel_accuracy: float
    calibration_error: float
    """expected calibration error of the confidence, 15 bins, in [0, 1]; NaN where no confidence was given"""


@dataclass(frozen=True)
class EvaluationResult:
    """What one model is worth under one protocol."""

    protocol: str
    median_scaling: bool
    rows: tuple[ImageRow, ...]
    skipped: tuple[str, ...]
    """images in which no pixel could be judged"""
    mean: DepthErrors
    """mean over images of the images' errors: the published protocol"""
    measures: dict[str, float]
    """means of ``strata.MEASURES`` over the images that have them; NaN where none has"""
    intervals: dict[str, Interval]
    """95 % bootstrap intervals of every metric and measure"""
    grouped: bool
    """the intervals come from drawing groups of images (else single images, too narrow for consecutive frames)"""
    scale_median: float
    """median over images of the ratio between truth and prediction"""
    scale_spread: float
    """standard deviation of ratio / median ratio: 0 for a model of one steady scale"""
    strata: dict[str, StratumErrors]
    segmentation: SegmentationScores | None
    holes: HoleCount | None = None
    """holes on moving objects over all images; None where it is not known what moves"""


class DepthEvaluator:
    """Collects the verdicts on the images of one model under one protocol.

    Args:
        protocol: masks, scales and caps.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """

    def __init__(self, protocol: Protocol, seed: int = 0, resamples: int = 2000) -> None:
        self.protocol, self._seed, self._resamples = protocol, seed, resamples
        self._rows: list[ImageRow] = []
        self._skipped: list[str] = []
        self._sums: list[Float64] = []
        self._strata: dict[str, list[Float64]] = defaultdict(list)
        self._holes: list[HoleCount] = []
        self._confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
        self._calibration = np.zeros((15, 3))

    def update(
        self,
        name: str,
        ground_truth: Array,
        *,
        depth: Array | None = None,
        disparity: Array | None = None,
        group: str | None = None,
        labels: Array | None = None,
        moving: Array | None = None,
    ) -> ImageRow | None:
        """Judge one image.

        Args:
            name: of the image, unique.
            ground_truth: (H, W) metres, 0 = unknown.
            depth: (H, W) prediction, metres or up to scale; exactly one of ``depth`` and ``disparity``.
            disparity: (h, w) prediction at any size, 1/m or up to scale; resized bilinearly, then inverted.
            group: images of one group are drawn together by the bootstrap; of all images or of none.
            labels: (H, W) trainIds, 255 = ignore: errors per class and near borders.
            moving: (H, W) bool or instance ids (0 = still): errors on moving objects.

        Returns:
            The row; None where no pixel can be judged (kept in ``EvaluationResult.skipped``).

        Raises:
            InputError: if the maps do not fit or the prediction is no depth; the line names the image.
        """
        verdict = judge_image(
            self.protocol,
            name,
            ground_truth,
            depth=depth,
            disparity=disparity,
            group=group,
            labels=labels,
            moving=moving,
        )
        self.add(verdict)
        return verdict.row

    def add(self, verdict: Verdict) -> None:
        """Add the verdict on an image (``judge_image``), in the images' order."""
        if verdict.row is None or verdict.sums is None:
            self._skipped.append(verdict.name)
            return
        self._rows.append(verdict.row)
        self._sums.append(verdict.sums)
        if verdict.holes is not None:
            self._holes.append(verdict.holes)
        for stratum, stratum_row in verdict.strata.items():
            self._strata[stratum].append(stratum_row)

    def update_segmentation(self, labels: Array, predicted: Array, confidence: Array | None = None) -> None:
        """Compare predicted classes with labels.

        Args:
            labels: (H, W) trainIds, 255 = ignore.
            predicted: (H, W) trainIds.
            confidence: (H, W) probability of the predicted class, in [0, 1].

        Raises:
            ValueError: if the shapes differ or the confidence is no probability.
        """
        true, guess = as_array(labels), as_array(predicted)
        self._confusion += confusion_matrix(true, guess, NUM_CLASSES)
        if confidence is not None:
            kept = true < NUM_CLASSES
            self._calibration += calibration_sums(as_array(confidence)[kept], true[kept] == guess[kept])

    def result(self) -> EvaluationResult:
        """Summarise all images so far.

        Raises:
            InputError: if no image could be judged, or only some have a group.
        """
        if not self._rows:
            raise InputError(f"no image could be judged ({len(self._skipped)} without ground truth); check the data")
        with_group = [row.group for row in self._rows if row.group is not None]
        if with_group and len(with_group) < len(self._rows):
            raise InputError(f"only {len(with_group)} of {len(self._rows)} images have a group; give all or none")
        table = _table(self._rows)
        names = (*METRICS, *MEASURES)
        found = bootstrap_intervals(table, with_group or None, resamples=self._resamples, seed=self._seed)
        intervals = dict(zip(names, found, strict=True))
        ratios = np.array([row.ratio for row in self._rows])
        return EvaluationResult(
            protocol=self.protocol.name,
            median_scaling=self.protocol.median_scaling,
            rows=tuple(self._rows),
            skipped=tuple(self._skipped),
            mean=mean_errors(row.errors for row in self._rows),
            measures={name: intervals[name].mean for name in MEASURES},
            intervals=intervals,
            grouped=bool(with_group),
            scale_median=float(np.median(ratios)),
            scale_spread=float(np.std(ratios / np.median(ratios))),
            strata=self._summarise_strata(),
            segmentation=_segmentation(self._confusion, self._calibration),
            holes=total(self._holes) if self._holes else None,
        )

    def _summarise_strata(self) -> dict[str, StratumErrors]:
        strata = {name: summarise(np.stack(sums)) for name, sums in sorted(self._strata.items())}
        density = np.array([row.measures["border_density"] for row in self._rows])
        objects = np.array([row.measures["moving_objects"] for row in self._rows])
        all_sums = np.stack(self._sums)
        for name, chosen in complexity_strata(density, objects).items():
            strata[name] = summarise(all_sums[chosen])
        return strata


def compare(a: EvaluationResult, b: EvaluationResult, quantity: str = "abs_rel", seed: int = 0) -> PairedDifference:
    """Bootstrap the difference a − b of a metric or measure on the images that both results hold.

    Raises:
        InputError: if the results share no image, or come from different protocols.
    """
    if (a.protocol, a.median_scaling) != (b.protocol, b.median_scaling):
        raise InputError(f"results of different protocols ({a.protocol}, {b.protocol}) cannot be compared")
    rows_b = {row.name: row for row in b.rows}
    rows_a = [row for row in a.rows if row.name in rows_b]
    if not rows_a:
        raise InputError("the two results share no image; judge both on the same list")
    column = (*METRICS, *MEASURES).index(quantity)
    values_a, values_b = (_table(rows)[:, column] for rows in (rows_a, [rows_b[row.name] for row in rows_a]))
    groups = [row.group for row in rows_a if row.group is not None]
    return paired_bootstrap(values_a, values_b, groups if len(groups) == len(rows_a) else None, seed=seed)


def _table(rows: list[ImageRow]) -> Float64:
    return np.array([[*astuple(row.errors), *(row.measures[name] for name in MEASURES)] for row in rows])


def _segmentation(confusion: npt.NDArray[np.int64], calibration: Float64) -> SegmentationScores | None:
    total = confusion.sum()
    if total == 0:
        return None
    shares = zip(CLASSES, class_iou(confusion).tolist(), strict=True)
    by_class = {c.name: share for c, share in shares if np.isfinite(share)}
    accuracy = float(np.trace(confusion) / total)
    return SegmentationScores(mean_iou(confusion), by_class, accuracy, expected_calibration_error(calibration))
