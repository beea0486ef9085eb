"""The report's pictures: a judged frame as a row of small images, inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth import visualise
from semdepth.apps.report_tables import run_heading
from semdepth.images import read_image
from semdepth.runtime import InputError
from semdepth.training.closer_look import Look

WIDEST, WIDEST_PANEL = 640, 1600
"""Pixels; larger pictures are made smaller."""
PANEL = "image, disparity, the first source warped to it, photometric error, where it counts"
"""What a training panel has side by side."""
WORST = 0.5
"""AbsRel that is as red as it gets."""


def frame_article(name: str, looks: Mapping[str, Look], places: Mapping[str, int]) -> str:
    """Return the HTML of one frame: image and truth, then what each run predicts and how wrong it is.

    Args:
        name: of the frame.
        looks: by run, at least one.
        places: by run, its place among all runs, which decides its colour.
    """
    first = next(iter(looks.values()))
    span = _span(first)
    given = [
        _figure(first.image, "image"),
        _figure(_sparse(visualise.colourise_depth(first.truth, span)), "true depth"),
    ]
    if len(looks) == 1:
        rows = [f'<p class="key">AbsRel {first.abs_rel:.3f}</p>', _row([*given, *_predicted(first, span)])]
    else:
        rows = [_row(given)]
    for run, look in looks.items() if len(looks) > 1 else ():
        rows.append(f'<p class="of">{run_heading(run, places[run])}: AbsRel {look.abs_rel:.3f}</p>')
        rows.append(_row(_predicted(look, span)))
    return f'<article class="frame"><h3>{escape(name)}</h3>{"".join(rows)}</article>'


def panel_figure(run: Path) -> str | None:
    """Return the HTML of the newest panel that training left in a run folder; None: there is none that can be read."""
    panels = sorted((run / "panels").glob("*.png"))
    try:
        return _figure(read_image(panels[-1]), f"{panels[-1].stem}: {PANEL}", WIDEST_PANEL) if panels else None
    except InputError:
        return None


def _row(figures: Sequence[str]) -> str:
    return f'<div class="maps">{"".join(figures)}</div>'


def _predicted(look: Look, span: tuple[float, float]) -> list[str]:
    cells = [
        _figure(visualise.colourise_depth(look.prediction, span), "predicted depth"),
        _figure(_sparse(visualise.colourise_error(look.error, WORST)), "error"),
    ]
    if look.predicted_labels is not None and look.uncertainty is not None:
        cells.append(_figure(visualise.colourise_labels(look.predicted_labels), "classes"))
        cells.append(_figure(visualise.colourise_uncertainty(look.uncertainty), "uncertainty"))
    return cells


def data_uri(picture: visualise.Picture, widest: int = WIDEST) -> str:
    """Return a picture as a PNG inside a ``data:`` address; wider ones than ``widest`` are made smaller."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.width > widest:
        image = image.resize((widest, max(1, round(image.height * widest / image.width))), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _figure(picture: visualise.Picture, caption: str, widest: int = WIDEST) -> str:
    text = escape(caption)
    return f'<figure><img src="{data_uri(picture, widest)}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _span(look: Look) -> tuple[float, float]:
    """Nearest and farthest depth of one colour scale for truth and predictions."""
    known = look.truth[np.isfinite(look.error)]
    near, far = np.percentile(known, (2, 98))
    return float(near), float(max(far, near * 1.01))


def _sparse(picture: visualise.Picture) -> npt.NDArray[np.uint8]:
    """Thicken lone points, e.g. of lidar, which would vanish in a smaller picture; dense maps stay as they are."""
    known: npt.NDArray[np.bool_] = np.asarray(picture.any(axis=2))
    if known.mean() > 0.3 or not known.any():
        return picture
    out = picture.copy()
    height, width = known.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, -1), (-1, 0), (-1, -1), (1, -1), (-1, 1)):
        into = (slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0)))
        source = (slice(max(-dy, 0), height + min(-dy, 0)), slice(max(-dx, 0), width + min(-dx, 0)))
        free = ~np.asarray(out[into].any(axis=2)) & known[source]
        out[into][free] = picture[source][free]
    return out
