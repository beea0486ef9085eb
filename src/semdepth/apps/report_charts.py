"""Charts of the report: inline SVG that takes the page's own colours, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""By run; told apart by all common kinds of colour vision (Okabe and Ito 2008), on white and on black."""
_TEXT, _GRID = "#123456", "#654321"  # stand in for the page's colours until the SVG is written

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""By run: x and y."""


def lines(series: Series, title: str, x_label: str, places: Mapping[str, int]) -> str:
    """Draw curves over one another.

    Args:
        series: by run.
        title: what y is.
        x_label: what x is.
        places: by run, its place among all runs, which decides its colour.
    """
    figure, axes = _axes(title)
    for name, (x, y) in series.items():
        marker = "o" if len(x) < 3 else None
        axes.plot(x, y, color=colour(places[name]), linewidth=1.6, marker=marker, markersize=4)
    axes.set_xlabel(x_label)
    axes.grid(alpha=1)
    return _svg(figure, title)


def bars(values: Mapping[str, Mapping[str, float]], title: str, places: Mapping[str, int]) -> str:
    """Draw horizontal bars: one group a category, one bar a run.

    Args:
        values: by run, then by category (in the order to show); what a run lacks has no bar.
        title: what the bars' length is.
        places: as for ``lines``.
    """
    names = list(dict.fromkeys(category for of_run in values.values() for category in of_run))
    figure, axes = _axes(title, height=0.7 + len(names) * (0.12 + 0.13 * len(values)))
    thick = 0.8 / len(values)
    for k, (run, of_run) in enumerate(values.items()):
        at = [names.index(category) + (k - (len(values) - 1) / 2) * thick for category in of_run]
        axes.barh(at, list(of_run.values()), thick, color=colour(places[run]))
        for y, value in zip(at, of_run.values(), strict=True):
            axes.text(value, y, f" {value:.3f}", va="center", fontsize=7 if len(values) > 1 else 8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.14)
    axes.grid(axis="x")
    return _svg(figure, title)


def reliability_diagram(bins: Mapping[str, Sequence[tuple[float, float, float]]], places: Mapping[str, int]) -> str:
    """Draw accuracy over confidence, one line a run; a point's size is its bin's share of the pixels."""
    title = "share that is right, by confidence"
    figure, axes = _axes(title, height=3.0)
    axes.plot([0, 1], [0, 1], color=_GRID, linestyle="--", linewidth=1)
    for name, points in bins.items():
        sure, right, share = np.array(points).T
        axes.plot(sure, right, color=colour(places[name]), linewidth=1.2)
        axes.scatter(sure, right, s=8 + 160 * share, color=colour(places[name]))
    axes.set_xlim(0, 1.03)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("confidence of the predicted class")
    axes.grid()
    return _svg(figure, title)


def sparsification_chart(curves: Mapping[str, Any], places: Mapping[str, int]) -> str:
    """Draw the error left over the share taken away: by uncertainty (solid), by the true error (dotted).

    Args:
        curves: by run, ``evaluation.uncertainty.Sparsification``.
        places: as for ``lines``.
    """
    title = "AbsRel of the pixels that are left"
    figure, axes = _axes(title, height=3.0)
    for name, found in curves.items():
        shade = colour(places[name])
        axes.plot(found.removed, found.by_uncertainty, color=shade, linewidth=1.8)
        axes.plot(found.removed, found.by_error, color=shade, linewidth=1.2, linestyle=":")
        axes.axhline(found.by_error[0], color=shade, linewidth=0.8, linestyle="--", alpha=0.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share taken away, the least sure first")
    axes.grid()
    return _svg(figure, title)


def colour(place: int) -> str:
    """Return the colour of the run at ``place`` among all runs."""
    return COLOURS[place % len(COLOURS)]


def _axes(title: str, height: float = 2.4) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set_title(title, fontsize=10, loc="left", color=_TEXT)
    axes.tick_params(labelsize=9)
    return figure, axes


def _svg(figure: Any, title: str) -> str:
    """Write a figure as an SVG element whose text and lines take the page's colours."""
    import matplotlib as mpl

    axes = figure.axes[0]
    for text in [axes.xaxis.label, axes.yaxis.label, *axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]:
        text.set_color(_TEXT)
    axes.xaxis.label.set_fontsize(9)
    for spine in axes.spines.values():
        spine.set_color(_GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(color=_GRID, labelcolor=_TEXT)
    for line in [*axes.get_xgridlines(), *axes.get_ygridlines()]:
        line.set_color(_GRID)
        line.set_linewidth(0.6)
    axes.set_axisbelow(True)
    stream = io.StringIO()
    # The salt makes the names inside the SVG the same every time, and others than those of the page's other charts.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    drawn = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)  # the same names in every chart, which nothing refers to
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    return drawn.replace(_TEXT, "currentColor").replace(_GRID, "var(--line)")
