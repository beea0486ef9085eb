"""Results as tables for people (terminal, Markdown) and as files for programs (JSON, CSV)."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from semdepth.evaluation.evaluator import EvaluationResult
from semdepth.evaluation.metrics import LOWER_IS_BETTER, METRICS
from semdepth.evaluation.strata import MEASURES

HEADINGS = {
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "rmse": "RMSE",
    "rmse_log": "RMSElog",
    "delta1": "δ<1.25",
    "delta2": "δ<1.25²",
    "delta3": "δ<1.25³",
    "border_abs_rel": "border AbsRel",
    "boundary_accuracy": "border acc. px",
    "boundary_completeness": "border compl. px",
    "moving_holes": "holes on moving",
    "movable_holes": "holes on movable",
    "holed_objects": "objects holed",
    "log10": "log10",
    "rmse_log10": "RMS log10",
}
_OF_THE_IMAGE = {"border_density": "border density", "moving_objects": "moving objects"}
assert {*HEADINGS, *_OF_THE_IMAGE} == {*METRICS, *MEASURES}
_LOWER = LOWER_IS_BETTER | (set(HEADINGS) - set(METRICS))
_Rows = list[list[str]]


def comparison_rows(results: Mapping[str, EvaluationResult]) -> tuple[list[str], _Rows]:
    """Lay several results out beside each other, best values marked ``*``.

    Args:
        results: by the name to print, e.g. ``{"model": …, "mean depth map": …}``; all of one protocol.

    Returns:
        Headings (with ↓ or ↑ for the better direction), and a row of cells per result. Measures that no result has
        are left out.
    """
    quantities = [q for q in HEADINGS if any(not math.isnan(_value(r, q)) for r in results.values())]
    headings = ["", *(f"{HEADINGS[q]} {'↓' if q in _LOWER else '↑'}" for q in quantities), "scale spread"]
    best = {q: _best([_value(r, q) for r in results.values()], q in _LOWER) for q in quantities}
    rows = []
    for name, result in results.items():
        values = {q: _value(result, q) for q in quantities}
        cells = [_number(v) + ("*" if len(results) > 1 and v == best[q] else "") for q, v in values.items()]
        rows.append([name, *cells, _number(result.scale_spread)])
    return headings, rows


def transposed(headings: Sequence[str], rows: _Rows) -> tuple[list[str], _Rows]:
    """Turn a table on its side: what was a row becomes a column, for terminals that are not wide."""
    flat = [list(column) for column in zip(headings, *rows, strict=True)]
    return flat[0], flat[1:]


def interval_rows(result: EvaluationResult) -> tuple[list[str], _Rows]:
    """Lay out every quantity of one result with its 95 % interval."""
    kept = [(q, i) for q, i in result.intervals.items() if not math.isnan(i.mean)]
    names = HEADINGS | _OF_THE_IMAGE
    rows = [
        [names[q], _number(i.mean), "–" if math.isnan(i.low) else f"{_number(i.low)} – {_number(i.high)}"]
        for q, i in kept
    ]
    return ["", "mean", "95 % interval"], rows


def stratum_rows(result: EvaluationResult) -> tuple[list[str], _Rows]:
    """Lay out the strata of one result: where the errors are."""
    headings = ["stratum", "images", "pixels", "AbsRel/px", "RMSE/px", "δ<1.25/px", "AbsRel/image"]
    rows = [
        [
            name,
            str(s.images),
            str(s.pixels),
            *(_number(v) for v in (s.per_pixel.abs_rel, s.per_pixel.rmse, s.per_pixel.delta1, s.per_image.abs_rel)),
        ]
        for name, s in result.strata.items()
    ]
    return headings, rows


def hole_rows(result: EvaluationResult) -> tuple[list[str], _Rows]:
    """Lay out the holes on moving objects over all images; no row where it is not known what moves."""
    found = result.holes
    if found is None:
        return ["", ""], []
    pixels = f"{found.hole_pixels} of {found.pixels}" + (
        f" ({found.hole_pixels / found.pixels:.1%})" if found.pixels else ""
    )
    return ["holes on moving objects", ""], [
        ["pixels", pixels],
        ["objects", f"{found.holed_objects} of {found.objects}"],
    ]


def segmentation_rows(result: EvaluationResult) -> tuple[list[str], _Rows]:
    """Lay out the segmentation scores of one result; no row where nothing was compared."""
    scores = result.segmentation
    if scores is None:
        return ["", ""], []
    whole = {
        "mean IoU": scores.mean_iou,
        "pixel accuracy": scores.pixel_accuracy,
        "calibration error": scores.calibration_error,
    }
    by_class = {f"IoU {name}": share for name, share in scores.class_iou.items()}
    return ["segmentation", ""], [[name, _number(value)] for name, value in (whole | by_class).items()]


def caption(result: EvaluationResult) -> str:
    """Say in one line what the numbers rest on."""
    scaling = "median scaling" if result.median_scaling else "no scaling"
    skipped = f", {len(result.skipped)} skipped without ground truth" if result.skipped else ""
    if math.isnan(result.intervals["abs_rel"].low):
        sure = "no intervals: the images are of one group"
    elif result.grouped:
        sure = "95 % bootstrap intervals over groups of images"
    else:
        sure = "95 % bootstrap intervals over single images: too narrow where they are consecutive frames"
    return f"{result.protocol}, {scaling}, {len(result.rows)} images{skipped}; means over images; {sure}"


def terminal_table(headings: Sequence[str], rows: _Rows, title: str | None = None, note: str | None = None) -> Table:
    """Return a rich table, first column left, numbers right."""
    table = Table(title=title, caption=note)
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="right" if k else "left")
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(headings: Sequence[str], rows: _Rows) -> str:
    """Return a Markdown table, first column left, numbers right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (headings, rule, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"


def write_json(result: EvaluationResult, path: str | Path, more: Mapping[str, Any] | None = None) -> None:
    """Write the whole result, rows included, and ``more``; what is unknown (NaN) becomes null. All of the file or nothing."""
    write_text(path, json.dumps(plain(asdict(result) | dict(more or {})), indent=1, allow_nan=False) + "\n")


def write_csv(result: EvaluationResult, path: str | Path) -> None:
    """Write one line an image: name, group, pixels, ratio, metrics, measures (empty where unknown)."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["name", "group", "pixels", "ratio", *METRICS, *MEASURES])
    for row in result.rows:
        errors = asdict(row.errors)
        measures = ["" if math.isnan(row.measures[name]) else row.measures[name] for name in MEASURES]
        writer.writerow([row.name, row.group or "", row.pixels, row.ratio, *(errors[m] for m in METRICS), *measures])
    write_text(path, stream.getvalue())


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file all at once: a reader (or a crash) never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _value(result: EvaluationResult, quantity: str) -> float:
    value: float = getattr(result.mean, quantity) if quantity in METRICS else result.measures[quantity]
    return value


def _best(values: list[float], lower: bool) -> float:
    known = [value for value in values if not math.isnan(value)]
    return min(known) if lower else max(known)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def plain(value: Any) -> Any:
    """Return values as JSON can hold them: tuples as lists, NaN and infinity as None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
