"""Finished runs of an ablation read back, put side by side and written down. Trains nothing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from semdepth.evaluation.bootstrap import bootstrap_interval, paired_bootstrap
from semdepth.evaluation.metrics import METRICS, Float64
from semdepth.evaluation.report import markdown_table
from semdepth.evaluation.strata import MEASURES
from semdepth.runtime import InputError, parse_json, require_file
from semdepth.training.ablation import BASELINE, WITHOUT

HEADINGS = {
    "abs_rel": "AbsRel ↓",
    "border_abs_rel": "border AbsRel ↓",
    "rmse": "RMSE ↓",
    "delta1": "δ<1.25 ↑",
    "moving_holes": "holes on moving ↓",
    "scale_spread": "scale spread ↓",
    "mean_iou": "mean IoU ↑",
    "calibration_error": "calibration error ↓",
}
"""What is reported of every run; the last two need a segmentation branch."""
COMPARED = ("abs_rel", "border_abs_rel")
"""What is compared with the baseline image by image."""
VARIANTS_NOTE = (
    "Mean ± standard deviation over seeds; in brackets the mean's 95 % interval from drawing drives. Scale spread: of the "
    "images' ratios of true to predicted median depth, over their median."
)


@dataclass(frozen=True)
class FinishedRun:
    """What is read back of one run's ``evaluation.json``."""

    names: tuple[str, ...]
    """N images."""
    groups: tuple[str, ...] | None
    """Their drives; None: unknown."""
    images: dict[str, Float64]
    """(N,) values of every metric and measure, NaN where unknown."""
    numbers: dict[str, float]
    """Those of ``HEADINGS``, NaN where unknown."""
    strata: dict[str, float]
    """AbsRel of every stratum, each pixel weighing the same."""


def read_run(path: Path) -> FinishedRun:
    """Read what ``evaluation.report.write_json`` wrote.

    Raises:
        InputError: if the file is missing or no such file.
    """
    try:
        found = parse_json(require_file(path, "evaluation").read_text(encoding="utf-8"))
        rows, segmentation = found["rows"], found["segmentation"] or {}
        groups = tuple(row["group"] for row in rows)
        known = found["mean"] | found["measures"] | segmentation | {"scale_spread": found["scale_spread"]}
        return FinishedRun(
            names=tuple(row["name"] for row in rows),
            groups=None if None in groups else groups,
            images={
                q: np.array([_number((row["errors"] | row["measures"]).get(q)) for row in rows])
                for q in (*METRICS, *MEASURES)
            },
            numbers={q: _number(known.get(q)) for q in HEADINGS},
            strata={name: _number(stratum["per_pixel"]["abs_rel"]) for name, stratum in found["strata"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: is no evaluation of this version; delete it and run again to judge anew") from None


Runs = Mapping[str, Mapping[int, FinishedRun]]
"""Variant → seed → run."""


def summarise(runs: Runs) -> dict[str, Any]:
    """Put the runs' numbers side by side.

    Args:
        runs: all judged on the same images; variants without a run are left out.

    Returns:
        Plain JSON: ``{variant: {"seed": […], "abs_rel": […], …, "interval": {quantity: [low, high]}, "strata":
        {name: […]}, "against depth-only": {…}}}``, one entry a seed in each list, None where unknown. ``interval`` has for
        each of ``COMPARED`` the 95 % interval of the mean over images and seeds (drives drawn). ``against depth-only``, and
        against the variants that lack a part of this one (``ablation.WITHOUT``), has for each of ``COMPARED`` the mean
        difference over images and its 95 % interval (paired bootstrap over drives; of each image the mean over the seeds
        that both have is compared), the share of the resamples below 0, the ratio of the means, and that of every seed.

    Raises:
        InputError: if the runs were judged on different images.
    """
    every = [run for seeds in runs.values() for run in seeds.values()]
    if any(run.names != every[0].names for run in every):
        raise InputError("the runs were judged on different images; delete their evaluation files and run again")
    summary: dict[str, Any] = {}
    for variant, seeds in runs.items():
        if not seeds:
            continue
        order = sorted(seeds)
        entry: dict[str, Any] = {"seed": order}
        entry |= {q: [_plain(seeds[s].numbers[q]) for s in order] for q in HEADINGS}
        entry["interval"] = {q: _own_interval(seeds, q) for q in COMPARED}
        strata = sorted({name for run in seeds.values() for name in run.strata})
        entry["strata"] = {n: [_plain(seeds[s].strata.get(n, math.nan)) for s in order] for n in strata}
        for other in dict.fromkeys((BASELINE, *_without(variant))):
            if other != variant and runs.get(other):
                entry[f"against {other}"] = {q: _against(seeds, runs[other], q) for q in COMPARED}
        summary[variant] = entry
    return summary


def _without(variant: str) -> tuple[str, ...]:
    return WITHOUT.get(variant, ())  # type: ignore[call-overload,no-any-return]


def _own_interval(seeds: Mapping[int, FinishedRun], quantity: str) -> list[float | None]:
    """Return the ends of the interval of one variant's mean; each image counts with its mean over the seeds."""
    first = next(iter(seeds.values()))
    found = bootstrap_interval(np.stack([run.images[quantity] for run in seeds.values()]).mean(axis=0), first.groups)
    return [_plain(found.low), _plain(found.high)]


def _against(
    seeds: Mapping[int, FinishedRun], baseline: Mapping[int, FinishedRun], quantity: str
) -> dict[str, Any] | None:
    both = sorted(seeds.keys() & baseline.keys())  # a lucky seed of one side must not meet the others of the other
    if not both:
        return None
    one, two = (np.stack([side[s].images[quantity] for s in both]).mean(axis=0) for side in (seeds, baseline))
    if not np.isfinite(one - two).any():
        return None
    found = paired_bootstrap(one, two, seeds[both[0]].groups)
    values = {
        "difference": found.difference.mean,
        "low": found.difference.low,
        "high": found.difference.high,
        "share_below": found.share_below,
        "ratio": float(np.nanmean(one) / np.nanmean(two)),
    }
    ratios = [float(np.nanmean(seeds[s].images[quantity]) / np.nanmean(baseline[s].images[quantity])) for s in both]
    plain = {name: _plain(value) for name, value in values.items()}
    return plain | {"ratios": [_plain(ratio) for ratio in ratios], "images": found.images, "seeds": both}


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float]:
    """Return mean and standard deviation (n − 1) of what is known; NaN where there is too little."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else math.nan
    return mean, float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def markdown(summary: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """Return the tables of a summary, below what the numbers rest on (``facts``)."""
    lines = ["# Ablation", "\n".join(f"- {key}: {value}" for key, value in facts.items())]
    lines += ["## Variants", VARIANTS_NOTE, markdown_table(*_variant_rows(summary))]
    if _is_compared(summary):
        lines.append(
            f"Against {BASELINE}, over the seeds that both have: difference of the means over images, with its 95 % interval "
            "from drawing drives (what varies between seeds is in the ± above, not in the interval), and the ratio of the means."
        )
    if parts := _part_rows(summary):
        note = "Each variant beside those that lack one part of it, as above; and the ratio of every seed."
        lines += ["## What each part adds", note, markdown_table(*parts)]
    for title, prefixes in (
        ("By class", ("class/",)),
        ("By place", ("border", "inside", "moving", "still")),
        ("By complexity of the scene", ("scene/",)),
    ):
        headings, rows = _stratum_rows(summary, prefixes)
        if rows:
            note = "AbsRel, every pixel weighing the same, mean over seeds"
            note += (
                f"; in brackets against {BASELINE}, over the seeds that both have." if _is_compared(summary) else "."
            )
            lines += [f"## {title}", note, markdown_table(headings, rows)]
    return "\n\n".join(line.rstrip() for line in lines) + "\n"


def _is_compared(summary: Mapping[str, Any]) -> bool:
    return BASELINE in summary and len(summary) > 1


def _variant_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    compared = COMPARED if _is_compared(summary) else ()
    names = [*HEADINGS.values(), *(f"{HEADINGS[q].removesuffix(' ↓')} against {BASELINE}" for q in compared)]
    rows = []
    for variant, entry in summary.items():
        cells = [_with_spread(*mean_and_spread(entry[q])) + _brackets(entry["interval"].get(q)) for q in HEADINGS]
        against = entry.get(f"against {BASELINE}", {})
        rows.append([variant, str(len(entry["seed"])), *cells, *(_difference(against.get(q)) for q in compared)])
    return ["variant", "seeds", *names], rows


def _part_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]] | None:
    rows = []
    for variant, entry in summary.items():
        for other in _without(variant):
            found = entry.get(f"against {other}", {})
            if other == BASELINE or not any(found.values()):
                continue
            ratios = [", ".join(f"{ratio:.3f}" for ratio in (found[q] or {}).get("ratios", [])) for q in COMPARED]
            cells = [f"{_difference(found[q])}: {by_seed}" for q, by_seed in zip(COMPARED, ratios, strict=True)]
            rows.append([variant, other, *cells])
    return (["variant", "against", *(HEADINGS[q].removesuffix(" ↓") for q in COMPARED)], rows) if rows else None


def _stratum_rows(summary: Mapping[str, Any], prefixes: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    names = sorted({n for entry in summary.values() for n in entry["strata"] if n.startswith(prefixes)})
    rows = []
    for name in names:
        cells = [f"{mean_and_spread(entry['strata'].get(name, []))[0]:.3f}" for entry in summary.values()]
        for k, entry in enumerate(summary.values()):
            if not math.isnan(change := _change(entry, summary.get(BASELINE), name)):
                cells[k] += f" ({change:+.0%})"
        rows.append([name.removeprefix("class/").removeprefix("scene/"), *cells])
    return ["stratum", *summary], rows


def _change(entry: Mapping[str, Any], baseline: Mapping[str, Any] | None, stratum: str) -> float:
    """Return the relative change of a stratum's AbsRel from the baseline's, over the seeds that both have; NaN: unknown."""
    if baseline is None or entry is baseline:
        return math.nan
    one, two = (dict(zip(e["seed"], e["strata"].get(stratum, []), strict=False)) for e in (entry, baseline))
    both = [seed for seed in one if one[seed] is not None and two.get(seed) is not None]
    before = sum(two[seed] for seed in both)
    return sum(one[seed] for seed in both) / before - 1 if before > 0 else math.nan


def _with_spread(mean: float, spread: float) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.4f}" + ("" if math.isnan(spread) else f" ± {spread:.4f}")


def _brackets(interval: Sequence[float | None] | None) -> str:
    return "" if interval is None or interval[0] is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"


def _difference(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "–"
    interval = "" if found["low"] is None else f" [{found['low']:+.4f}, {found['high']:+.4f}]"
    return f"{found['difference']:+.4f}{interval} (× {found['ratio']:.3f})"


def plot(summary: Mapping[str, Any], path: Path) -> None:
    """Draw AbsRel, overall and near borders, of every run (dots) and variant (bars, with their intervals) to a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.5 * len(summary) + 1.2), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, len(COMPARED), sharey=True), COMPARED, strict=True):
        for place, entry in enumerate(summary.values()):
            values = [value for value in entry[quantity] if value is not None]
            mean, (low, high) = mean_and_spread(values)[0], entry["interval"][quantity]
            axes.barh(place, mean, color="tab:blue", alpha=0.35)
            if low is not None:
                axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], color="tab:blue", capsize=3)
            axes.plot(values, [place] * len(values), "o", color="tab:blue", markersize=4)
        axes.set_yticks(range(len(summary)), list(summary))
        axes.set_xlabel(HEADINGS[quantity].removesuffix(" ↓"))
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x", alpha=0.3)
    figure.axes[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(path)
