"""What the colours mean, as HTML; and what the pointer reads, as text. All pure functions."""

from __future__ import annotations

import base64
import html
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from semdepth.labels import CLASSES
from semdepth.runtime import InputError
from semdepth.structures import Prediction
from semdepth.visualise import colourise_disparity, colourise_uncertainty

_GRID = 320
_STEPS = (1, 2, 5)


def unit(prediction: Prediction) -> str:
    """Return what stands behind a depth: metres, or that they are none."""
    return "" if prediction.scale is None else " m"


def depth_bar(prediction: Prediction) -> str:
    """Return the scale bar of a depth picture: its colours from far to near, with round depths in their places."""
    brightest = float(np.percentile(prediction.disparity, 95))
    ticks = [
        f'<span style="left:{100 * share:.1f}%">{depth:g}{unit(prediction)}</span>'
        for depth, share in depth_ticks(brightest, float(prediction.depth.max()))
    ]
    colours = colourise_disparity(np.linspace(1e-6, 1, 17)[None], (0.0, 1.0))[0]
    title = "depth in metres" if prediction.scale is not None else "depth, up to scale"
    return _bar(colours, "".join(ticks), f"far &nbsp;·&nbsp; {title} &nbsp;·&nbsp; near")


def depth_ticks(brightest: float, farthest: float, apart: float = 0.13) -> list[tuple[float, float]]:
    """Return round depths and where they stand on a bar that is linear in disparity, 0 at its left end.

    Args:
        brightest: disparity at the bar's right end.
        farthest: depth beyond which there is nothing to mark.
        apart: least distance of two marks, as a share of the bar.

    Returns:
        (depth, place in [0, 1]), far first.
    """
    nearest = 1 / brightest
    decades = range(math.floor(math.log10(nearest)), math.ceil(math.log10(max(farthest, nearest))) + 1)
    rounds = [step * 10.0**k for k in decades for step in _STEPS]
    marks: list[tuple[float, float]] = []
    for depth in sorted((d for d in rounds if nearest <= d <= farthest), reverse=True):
        place = nearest / depth
        if 0.03 <= place <= 0.97 and (not marks or place - marks[-1][1] >= apart):
            marks.append((depth, place))
    return marks


def uncertainty_bar() -> str:
    """Return the scale bar of an uncertainty picture."""
    colours = colourise_uncertainty(np.linspace(0, 1, 17)[None])[0]
    return _bar(colours, "", "sure &nbsp;·&nbsp; entropy of the class probabilities &nbsp;·&nbsp; unsure")


def class_legend(labels: npt.NDArray[np.uint8]) -> str:
    """Return the classes of (H, W) trainIds with their colours and shares, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=256)[: len(CLASSES)]
    items = []
    for k in np.argsort(-counts, kind="stable"):
        share = counts[k] / labels.size
        if share < 0.001:
            break
        percent = f"{100 * share:.0f}" if share >= 0.01 else "&lt; 1"
        red, green, blue = CLASSES[k].colour
        swatch = f'<i style="background:rgb({red},{green},{blue})"></i>'
        items.append(f"<span>{swatch}{html.escape(CLASSES[k].name)} {percent} %</span>")
    return f'<div class="sd-legend">{"".join(items)}</div>'


def summary(prediction: Prediction, note: str, size: tuple[int, int], seconds: float) -> str:
    """Return the line above a result, in Markdown.

    Args:
        prediction: of the image that is shown.
        note: why depth is not in metres, or how it came to be.
        size: (H, W) of the upload.
        seconds: that the prediction took.
    """
    height, width = prediction.depth.shape
    near, far = (float(x) for x in np.percentile(prediction.depth, (5, 95)))
    scaled = "" if size == (height, width) else f" (scaled down from {size[1]} × {size[0]})"
    kind = f"**Depth in metres**, mostly {near:.1f} to {far:.0f} m" if prediction.scale else "**Depth up to scale**"
    return f"{kind} · {note} · {width} × {height} pixels{scaled} · {seconds:.2f} s"


def probe_text(prediction: Prediction, x: int, y: int, camera: npt.NDArray[np.floating]) -> str:
    """Return what is known of a pixel, in Markdown.

    Args:
        prediction: of the image.
        x: column of the pixel; outside the image, the nearest one counts.
        y: row of the pixel.
        camera: (3, 3) intrinsics in pixels of the image.
    """
    height, width = prediction.depth.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    z = float(prediction.depth[y, x])
    side, down = z * (x - camera[0, 2]) / camera[0, 0], z * (y - camera[1, 2]) / camera[1, 1]
    where = f"{abs(side):.3g} {'right' if side >= 0 else 'left'}, {abs(down):.3g} {'below' if down >= 0 else 'above'}"
    depth = f"**{z:.3g} m**" if prediction.scale is not None else f"**{z:.3g}** (up to scale)"
    parts = [f"Depth at ({x}, {y}): {depth}", f"{where} the optical axis"]
    if prediction.labels is not None and prediction.uncertainty is not None:
        label = int(prediction.labels[y, x])
        name = CLASSES[label].name if label < len(CLASSES) else "no class"
        parts.append(f"{name}, uncertainty {float(prediction.uncertainty[y, x]):.2f}")
    return " · ".join(parts)


def depth_grid(prediction: Prediction) -> str:
    """Return a hidden element with depth on a coarse grid, from which the page reads what is under the pointer.

    Values are 16-bit steps of log(depth) between the least and the greatest depth.
    """
    height, width = prediction.depth.shape
    step = max(1, math.ceil(max(height, width) / _GRID))
    depth = prediction.depth[step // 2 :: step, step // 2 :: step].astype(np.float64)
    low, high = math.log(depth.min()), math.log(depth.max())
    steps = np.round((np.log(depth) - low) / max(high - low, 1e-9) * 65535).astype("<u2")
    values = base64.b64encode(steps.tobytes()).decode()
    kind = "m" if prediction.scale is not None else "up to scale"
    return (
        f'<div id="sd-grid" data-rows="{depth.shape[0]}" data-columns="{depth.shape[1]}" data-low="{low:.6g}" '
        f'data-high="{high:.6g}" data-unit="{kind}" data-values="{values}"></div>'
    )


def complaint(error: InputError, path: Path) -> str:
    """Return an error for the visitor: with the name of the upload, not with where the server keeps it."""
    text = str(error).replace(str(path), path.name)
    return " ".join(text.split())


def _bar(colours: npt.NDArray[np.uint8], ticks: str, title: str) -> str:
    stops = ",".join(f"rgb({r},{g},{b})" for r, g, b in colours.tolist())
    return (
        f'<div class="sd-bar"><div style="background:linear-gradient(90deg,{stops})"></div>'
        f"<div>{ticks}</div><p>{title}</p></div>"
    )
