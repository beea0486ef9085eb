"""The report's page, put together: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from semdepth.apps import report_charts as charts
from semdepth.apps.model_card import caption
from semdepth.apps.report_data import Seen
from semdepth.apps.report_pictures import WORST, frame_article, panel_figure
from semdepth.apps.report_tables import differences_table, errors_table, facts_table, run_heading
from semdepth.apps.run_folder import RunFolder
from semdepth.evaluation.metrics import expected_calibration_error
from semdepth.evaluation.uncertainty import reliability
from semdepth.training.ablation_summary import FinishedRun

Curves = Sequence[tuple[int, str, float]]
FIRST = (
    "validation/abs_rel", "validation/border_abs_rel", "validation/mean_iou", "validation/photometric",
    "validation/explained", "train/loss", "train/photometric", "train/segmentation", "train/ranking",
)  # fmt: skip
"""Curves that come first; the others follow by name."""
HIDDEN = ("train/images_per_second", "train/saturation", "train/smoothness")
"""Curves that tell nothing of a run's worth."""


@dataclass(frozen=True)
class Report:
    """All that a page is made of; every mapping has the same runs, in the same order."""

    runs: Mapping[str, RunFolder]
    finished: Mapping[str, FinishedRun]
    """Empty, as is ``seen``, where the runs were not judged."""
    curves: Mapping[str, Curves]
    seen: Mapping[str, Seen]
    worst: Sequence[str]
    """Names of frames, worst first."""
    best: Sequence[str]
    made: str
    """By what, and when."""

    @property
    def places(self) -> dict[str, int]:
        """Every run's place, which decides its colour."""
        return {name: k for k, name in enumerate(self.runs)}


def page(report: Report) -> str:
    """Return the whole page."""
    made = "How they were made" if len(report.runs) > 1 else "How it was made"
    sections = [
        ("made", made, facts_table(report.runs)),
        ("errors", "Errors", _errors(report)),
        ("curves", "Curves", _curves(report)),
    ]
    if report.finished:
        sections += [
            ("where", "Where the errors are", _where(report)),
            ("trust", "Can the uncertainty be trusted?", _trust(report)),
            ("worst", "Worst images", _frames(report, report.worst, "Largest AbsRel")),
            ("best", "Best images", _frames(report, report.best, "Smallest AbsRel")),
        ]
    else:
        sections.append(("training", "What training saw", _panels(report)))
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{escape(title)}</h2>{content}</section>' for key, title, content in sections
    )
    template = Template(files("semdepth.apps").joinpath("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(" and ".join(report.runs)), runs=_legend(report), links=links, body=body, made=escape(report.made)
    )


def _legend(report: Report) -> str:
    places = report.places if len(report.runs) > 1 else {}
    return " ".join(run_heading(name, place) for name, place in places.items())


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _panels(report: Report) -> str:
    shown = {name: panel_figure(run.path) for name, run in report.runs.items()}
    found = [
        f"<p>{_whose(report, name)}</p><div class='seen'>{figure}</div>" for name, figure in shown.items() if figure
    ]
    return "".join(found) or _note("There are no panels in the run folder.")


def _errors(report: Report) -> str:
    first = next(iter(report.runs.values()))
    if not report.finished:
        return _note(
            f"Not judged: where true depth is known, semdepth evaluate {first.path} --data.* tells how wrong it is."
        )
    told = f"<p>{escape(caption(first.evaluation or {}))} Bold: the best of a row.</p>{errors_table(report.runs)}"
    if len(report.runs) == 1:
        return told
    grouped = "drives" if (first.evaluation or {}).get("grouped") else "images"
    return (
        f"{told}<h3>Image by image</h3><p>Differences of the same images' errors to those "
        f"of the first run: what makes an image hard for all cancels out. With 95 % intervals from drawing {grouped}; what "
        f"varies between seeds is not in them.</p>{differences_table(report.finished)}"
    )


def _curves(report: Report) -> str:
    found = {name for rows in report.curves.values() for _, name, _ in rows} - set(HIDDEN)
    ordered = [name for name in FIRST if name in found] + sorted(found - set(FIRST))
    if not ordered:
        return _note("There is no curves.csv in the run folder.")
    drawn = []
    for quantity in ordered:
        series = {run: _points(rows, quantity) for run, rows in report.curves.items()}
        drawn.append(charts.lines({k: v for k, v in series.items() if v[0]}, quantity, "step", report.places))
    main, more = _charts(drawn[: len(FIRST)]), drawn[len(FIRST) :]
    return main + (f"<details><summary>{len(more)} more</summary>{_charts(more)}</details>" if more else "")


def _points(rows: Curves, quantity: str) -> tuple[list[float], list[float]]:
    points = [(step, value) for step, name, value in rows if name == quantity]
    return [step for step, _ in points], [value for _, value in points]


def _charts(drawn: Sequence[str], kind: str = "charts") -> str:
    return f'<div class="{kind}">{"".join(f"<figure>{svg}</figure>" for svg in drawn)}</div>'


def _where(report: Report) -> str:
    groups = (("class", ("class/",)), ("place", ("border", "inside", "moving", "still")), ("scene", ("scene/",)))
    drawn = []
    for what, prefixes in groups:
        values = {}
        for name, run in report.runs.items():
            strata = (run.evaluation or {})["strata"]
            chosen = {
                k.partition("/")[2] or k: v["per_pixel"]["abs_rel"] for k, v in strata.items() if k.startswith(prefixes)
            }
            values[name] = dict(sorted(chosen.items(), key=lambda item: _order(what, item)))
        if any(values.values()):
            drawn.append(charts.bars(values, f"AbsRel by {what}", report.places))
    shares = {name: _class_shares(run) for name, run in report.runs.items()}
    if any(shares.values()):
        drawn.append(charts.bars({k: v for k, v in shares.items() if v}, "IoU by class", report.places))
    if not drawn:
        return _note("The data had neither labels nor moving objects to tell places apart by.")
    return (
        "<p>Every pixel of a stratum weighs the same. Scenes are sorted by the density of semantic borders (thirds of these "
        f"images) and by the number of moving objects.</p>{_charts(drawn, 'charts tall')}"
    )


def _order(what: str, item: tuple[str, float]) -> tuple[int, float]:
    """Classes from the worst to the best; scenes from the simple to the complex."""
    simple_first = ("few borders", "some borders", "many borders", "0 moving", "1-2 moving", "3+ moving")
    return (simple_first.index(item[0]), 0.0) if what == "scene" and item[0] in simple_first else (99, -item[1])


def _class_shares(run: RunFolder) -> dict[str, float]:
    scores = (run.evaluation or {}).get("segmentation") or {}
    shares = {k: v for k, v in (scores.get("class_iou") or {}).items() if v is not None}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _trust(report: Report) -> str:
    notes = [seen.note for seen in report.seen.values() if seen.note]
    trusted = {name: seen.trust for name, seen in report.seen.items() if seen.trust.frames}
    told: list[str] = []
    drawn: list[str] = []
    bins = {name: reliability(trust.calibration) for name, trust in trusted.items() if trust.calibration.any()}
    for name in bins:
        error = expected_calibration_error(trusted[name].calibration)
        told.append(f"{_whose(report, name)}expected calibration error {error:.3f}")
    if bins:
        drawn.append(charts.reliability_diagram(bins, report.places))
    curves: dict[str, Any] = {name: trust.sparsification() for name, trust in trusted.items()}
    for name, found in curves.items():
        verdict = (
            "tells something of depth's errors"
            if found.area < found.area_of_chance
            else "tells nothing of depth's errors"
        )
        told.append(
            f"{_whose(report, name)}AUSE {found.area:.3f} (an order by chance: {found.area_of_chance:.3f}, a perfect one: 0): "
            f"the uncertainty {verdict}"
        )
    if not drawn and not curves:
        silent = all(run.header.config.fusion == "depth-only" for run in report.runs.values())
        why = "a depth-only network says nothing of its uncertainty" if silent else "it was not asked for (frames 0)"
        return _note(f"Nothing to show: {notes[0] if notes else why}.")
    drawn.append(charts.sparsification_chart(curves, report.places))
    number = max(trust.frames for trust in trusted.values())
    listed = "".join(f"<li>{line}</li>" for line in told)
    return (
        f"<p>From {number} frames, evenly spread. Left: of pixels that the segmentation is so sure of, how many are right; on "
        "the dashed line it is as sure as it is right. Right: the least sure pixels are taken away first; solid, by the "
        "segmentation's entropy; dotted, by the true error, which no order can beat; dashed, by chance.</p>"
        f"<ul>{listed}</ul>{_charts(drawn)}"
    )


def _whose(report: Report, name: str) -> str:
    return f"{run_heading(name, report.places[name])}: " if len(report.runs) > 1 else ""


def _frames(report: Report, names: Sequence[str], which: str) -> str:
    first = next(iter(report.runs))
    articles = []
    for name in names:
        looks = {run: seen.looks[name] for run, seen in report.seen.items() if name in seen.looks}
        if looks:
            articles.append(frame_article(name, looks, report.places))
    notes = "".join(_note(f"No pictures of {run}: {seen.note}") for run, seen in report.seen.items() if seen.note)
    if not articles:
        return notes or _note("None was asked for.")
    chosen = f" of {first}" if len(report.runs) > 1 else ""
    return (
        f"<p>{which}{escape(chosen)}. Depth: near is bright, one scale for truth and predictions, after the protocol's scaling. "
        f"Error: blue is right, red is an AbsRel of {WORST:g} or more, black is not judged.</p>{notes}{''.join(articles)}"
    )
