"""The report's tables, as HTML: who was trained how, errors with intervals, paired differences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from shlex import quote
from typing import Any

from semdepth.apps.report_charts import colour
from semdepth.apps.run_folder import CONFIG, RunFolder
from semdepth.evaluation.bootstrap import PairedDifference, paired_bootstrap
from semdepth.evaluation.metrics import LOWER_IS_BETTER, METRICS
from semdepth.evaluation.report import HEADINGS
from semdepth.training.ablation_summary import FinishedRun

COMPARED = ("abs_rel", "border_abs_rel", "rmse", "delta1")
"""What runs are compared in, image by image."""
_CHOSEN = (
    "name", "root", "base_url", "split", "sequences", "cameras", "frames", "labels", "ground_truth", "depth_cache",
    "intrinsics", "fov_deg",
)  # fmt: skip


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "numbers") -> str:
    """Return a table; headings and cells are HTML already."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in headings)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def run_heading(name: str, place: int) -> str:
    """Return a run's name behind its colour."""
    return f'<span class="run"><i style="background:{colour(place)}"></i>{escape(name)}</span>'


def facts_table(runs: Mapping[str, RunFolder]) -> str:
    """Lay out how each run was made."""
    columns = [facts(run) for run in runs.values()]
    rows = [[escape(key), *(escape(str(column.get(key, "–"))) for column in columns)] for key in columns[0]]
    for command, text in (("train", "trained by"), ("evaluate", "judged by")):
        commands = [f"<code>{escape(_command(run, command))}</code>" for run in runs.values()]
        rows.append([text, *commands])
    return table(["", *(run_heading(name, k) for k, name in enumerate(runs))], rows, kind="facts")


def facts(run: RunFolder) -> dict[str, Any]:
    """Return what there is to know of how a run was made, by the word for it."""
    get, header = run.setting, run.header
    height, width = header.extra.get("image_size") or ("?", "?")
    semantic = get("network.fusion") != "depth-only"
    evaluated = run.evaluation or {}
    return {
        "network": f"{get('network.encoder')}, {get('network.fusion')}, {width}×{height}",
        "learnt from": f"{get('data.name')} {get('data.root', '')}".strip()
        + (f", {get('data.labels')} labels" if semantic else ", no labels"),
        "losses": f"smoothness {get('objective.smoothness')}, segmentation {get('objective.segmentation')}, "
        f"ranking {get('objective.ranking')}"
        if semantic
        else f"smoothness {get('objective.smoothness')}",
        "steps": f"{header.extra.get('step', '?')} of {get('trainer.steps', 'the schedule')}, batch {get('trainer.batch')}",
        "seed": get("trainer.seed"),
        "weights": f"{evaluated.get('weights', run.weights.name)}, written by semdepth {header.package_version}",
    }


def _command(run: RunFolder, name: str) -> str:
    if name == "train":
        return f"semdepth train --config {quote(str(run.path / CONFIG))}"
    if run.evaluation is None:
        return "–"
    found = run.evaluation
    data, validation = found.get("data") or {}, run.config.get("validation") or {}
    chosen = {key: value for key, value in data.items() if key in _CHOSEN and value not in (None, [], "auto")}
    if all(data.get(key) == validation.get(key) for key in _CHOSEN):
        chosen = {}
    options = [f" --data.{key} '{json.dumps(value)}'" if isinstance(value, list) else f" --data.{key} {quote(str(value))}"
               for key, value in chosen.items()]  # fmt: skip
    flip = " --flip true" if found.get("flip") else ""
    return f"semdepth evaluate {quote(str(run.path))}{''.join(options)} --protocol {found.get('protocol')}{flip}"


def errors_table(runs: Mapping[str, RunFolder]) -> str:
    """Lay out every error of every run with its interval, beside the baselines; the best of a row is bold."""
    baselines = all_baselines(runs)
    rows = []
    for quantity, heading in HEADINGS.items():
        intervals = [(run.evaluation or {})["intervals"].get(quantity) or {} for run in runs.values()]
        if not any(_known(i.get("mean")) for i in intervals):
            continue
        lower = quantity in LOWER_IS_BETTER or quantity not in METRICS
        values = [i.get("mean") for i in intervals] + [b.get(quantity) for b in baselines.values()]
        known = [float(v) for v in values if v is not None and _known(v)]
        best = min(known) if lower else max(known)
        spans = [_interval(i) for i in intervals] + [""] * len(baselines)
        cells = [_cell(value, span, value == best) for value, span in zip(values, spans, strict=True)]
        rows.append([f"{escape(heading)}&nbsp;{'↓' if lower else '↑'}", *cells])
    spread = [(run.evaluation or {}).get("scale_spread") for run in runs.values()]
    spread += [b.get("scale_spread") for b in baselines.values()]
    rows.append(["spread of the scale ↓", *(_cell(value, "", False) for value in spread)])
    names = [*(run_heading(name, k) for k, name in enumerate(runs)), *(escape(name) for name in baselines)]
    return table(["", *names], rows)


def all_baselines(runs: Mapping[str, RunFolder]) -> dict[str, dict[str, Any]]:
    """Return the baselines of all runs; those that every run shares stand once, others say whose they are."""
    found: dict[str, dict[str, Any]] = {}
    for run_name, run in runs.items():
        for name, values in ((run.evaluation or {}).get("baselines") or {}).items():
            if name in found and found[name] != values:
                found[f"{name} ({run_name})"] = values
            else:
                found[name] = values
    return found


def differences_table(runs: Mapping[str, FinishedRun]) -> str:
    """Lay out how every run differs from the first, image by image, with 95 % intervals."""
    (base_name, base), *others = runs.items()
    rows = []
    for quantity in COMPARED:
        cells = [_difference(run, base, quantity) for _, run in others]
        if any(cells):
            lower = quantity in LOWER_IS_BETTER or quantity not in METRICS
            told = [_verdict(cell, lower) if cell else "–" for cell in cells]
            rows.append([f"{escape(HEADINGS[quantity])}&nbsp;{'↓' if lower else '↑'}", *told])
    names = [f"{run_heading(name, k + 1)} − {escape(base_name)}" for k, (name, _) in enumerate(others)]
    return table(["", *names], rows)


def _difference(run: FinishedRun, base: FinishedRun, quantity: str) -> PairedDifference | None:
    try:
        return paired_bootstrap(run.images[quantity], base.images[quantity], run.groups)
    except ValueError:  # no image has both
        return None


def _verdict(found: PairedDifference, lower: bool) -> str:
    d = found.difference
    if math.isnan(d.low):
        return f"{d.mean:+.4f}<small>no interval: the images are of one group</small>"
    sure = d.high < 0 or d.low > 0
    better = (d.mean < 0) == lower
    verdict = ("better" if better else "worse") if sure else "not sure"
    return f'{d.mean:+.4f}<small>{d.low:+.4f} … {d.high:+.4f}</small><em class="{verdict.replace(" ", "-")}">{verdict}</em>'


def _interval(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']:.3f} – {interval['high']:.3f}" if _known(interval.get("low")) else ""


def _cell(value: Any, span: str, best: bool) -> str:
    if not _known(value):
        return "–"
    number = f"<b>{value:.3f}</b>" if best else f"{value:.3f}"
    return number + (f"<small>{span}</small>" if span else "")


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
