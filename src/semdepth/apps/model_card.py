"""The model card of a run: what others must know before they use its weights. Written from the run's own files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import yaml

from semdepth.apps.run_folder import RunFolder, portable, read_run_folder
from semdepth.evaluation.metrics import METRICS
from semdepth.evaluation.report import HEADINGS, markdown_table
from semdepth.models.network import Fusion

PAPER = "[Learning Depth via Leveraging Semantics](https://arxiv.org/abs/2102.06685) (Li et al. 2021)"
BASELINE = "[Monodepth2](https://arxiv.org/abs/1806.01260) (Godard et al. 2019)"
_BRANCHES = {
    "depth-only": "depth only",
    "none": "depth and segmentation, two branches",
    "concat": "depth and segmentation, features exchanged",
    "ssfa": "depth and segmentation, aligned by SSFA",
}
assert set(_BRANCHES) == set(get_args(Fusion))


def model_card(run: Path, repository: str = "owner/name", license: str = "other") -> str:
    """Return the model card (README.md of a model on the hub) of a run.

    Args:
        run: its folder: weights; ``config.yaml`` and ``evaluation.json`` where they are there.
        repository: owner/name on the hub.
        license: of the weights, as the hub's identifiers have it.

    Returns:
        Markdown under a YAML head; no absolute path of this machine is in it.

    Raises:
        InputError: if the folder holds no weights, or a file in it is damaged.
    """
    found = read_run_folder(run, needs_config=False)
    head = yaml.safe_dump(front_matter(found, repository, license), sort_keys=False, allow_unicode=True)
    sections = [_use(found, repository), _numbers(found), _training(found), _limits(found), _licence(license)]
    if found.config:
        recipe = yaml.safe_dump(portable(found.config), sort_keys=False, allow_unicode=True)
        sections.append(f"<details><summary>The whole recipe</summary>\n\n```yaml\n{recipe}```\n\n</details>")
    return f"---\n{head}---\n\n# {repository.partition('/')[2]}\n\n" + "\n\n".join(sections) + "\n"


def front_matter(run: RunFolder, repository: str, license: str) -> dict[str, Any]:
    """Return what the hub reads of a card: licence, library, task, and the errors where the run was judged."""
    head: dict[str, Any] = {"license": license, "library_name": "semdepth", "pipeline_tag": "depth-estimation"}
    head["tags"] = ["monocular-depth", "self-supervised", "safetensors"]
    if run.header.config.fusion != "depth-only":
        head["tags"].append("image-segmentation")
    if run.evaluation is not None:
        values = {m: run.evaluation["mean"].get(m) for m in METRICS}
        metrics = [{"type": m, "name": HEADINGS[m], "value": round(v, 4)} for m, v in values.items() if _known(v)]
        dataset = {"type": run.evaluation["protocol"], "name": _judged_on(run)}
        task = {"type": "depth-estimation", "name": "Monocular depth estimation"}
        results = [{"task": task, "dataset": dataset, "metrics": metrics}]
        head["model-index"] = [{"name": repository.partition("/")[2], "results": results}]
    return head


def _use(run: RunFolder, repository: str) -> str:
    height, width = run.header.extra.get("image_size") or ("?", "?")
    config = run.header.config
    gives = "depth" if config.fusion == "depth-only" else "depth, segmentation and its uncertainty"
    origin = run.header.extra.get("converted_from")
    made = (
        f"Its weights were converted from files in {origin['layout']}'s layout ({origin['folder']})."
        if isinstance(origin, dict)
        else f"It was learnt from video without depth labels, after {BASELINE if config.fusion == 'depth-only' else PAPER}."
    )
    norm = f" (norm: {config.ssfa_norm})" if config.fusion == "ssfa" else ""
    return (
        f"A semdepth network: {gives} from a single image. {made}\n\n"
        f"- Encoder: {portable(config.encoder)}; branches: {_BRANCHES[config.fusion]}{norm}\n"
        f"- Input: any image, resized to {width}×{height}; the output has the image's own size\n"
        f"- Files: `weights.safetensors` (nothing is pickled; loading executes nothing); written by semdepth "
        f"{run.header.package_version}\n\n"
        "```python\nimport semdepth\n\n"
        f'prediction = semdepth.load("hf://{repository}").predict("photo.jpg")\n'
        "prediction.depth  # (H, W) float32, up to scale\n```"
    )


def _numbers(run: RunFolder) -> str:
    found = run.evaluation
    if found is None:
        return "## Errors\n\nNot judged: no ground truth was measured against. Do not take it for better than it looks."
    rows = []
    baselines: dict[str, Any] = found.get("baselines") or {}
    for quantity, heading in HEADINGS.items():
        interval = found["intervals"].get(quantity) or {}
        if not _known(interval.get("mean")):
            continue
        sure = f"{interval['low']:.3f} – {interval['high']:.3f}" if _known(interval.get("low")) else "–"
        others = [_number(values.get(quantity)) for values in baselines.values()]
        rows.append([heading, _number(interval["mean"]), sure, *others])
    table = markdown_table(["", "this model", "95 % interval", *baselines], rows)
    return f"## Errors\n\n{caption(found)}\n\nJudged on {_judged_on(run)}.\n\n{table.rstrip()}{_segmentation(found)}"


def caption(found: dict[str, Any]) -> str:
    """Say in a sentence what an evaluation's numbers rest on."""
    scaling = "median scaling of each image" if found.get("median_scaling", True) else "no scaling"
    groups = "drives" if found.get("grouped") else "single images (too narrow where they are consecutive frames)"
    blend = ", blended with the mirrored image's prediction" if found.get("flip") else ""
    skipped = f" ({len(found['skipped'])} more had no ground truth)" if found.get("skipped") else ""
    return (
        f"Protocol {found['protocol']}, {scaling}{blend}; means over {len(found['rows'])} images{skipped}, with bootstrap "
        f"intervals over {groups}."
    )


def _segmentation(found: dict[str, Any]) -> str:
    scores = found.get("segmentation") or {}
    if not _known(scores.get("mean_iou")):
        return ""
    sure = scores.get("calibration_error")
    tail = f", expected calibration error {sure:.3f}" if _known(sure) else ""
    return f"\n\nSegmentation, 19 Cityscapes classes: mean IoU {scores['mean_iou']:.3f}{tail}."


def _training(run: RunFolder) -> str:
    if not run.config:
        return "## Training\n\nNot by semdepth: see where the weights come from."
    get = run.setting
    step = run.header.extra.get("step")
    lines = {
        "data": f"{get('data.name')}, {_folder(get('data.root'))}",
        "labels": f"{get('data.labels')}" if get("network.fusion") != "depth-only" else "none used",
        "size": f"{get('data.width')}×{get('data.height')}",
        "steps": f"{step} of {get('trainer.steps', 'the whole schedule')}, batch {get('trainer.batch')}",
        "losses": f"smoothness {get('objective.smoothness')}, segmentation {get('objective.segmentation')}, "
        f"ranking {get('objective.ranking')}",
        "start": _start(run),
        "seed": get("trainer.seed"),
    }
    listed = "\n".join(f"- {name}: {value}" for name, value in lines.items())
    more = "--run runs/again --data.root DIR"
    if get("network.fusion") == "ssfa" and get("network.ssfa_norm") is None:  # written before there was a choice
        more += f" --network.ssfa_norm {run.header.config.ssfa_norm}"
    return f"## Training\n\n{listed}\n\n```sh\nsemdepth train --config config.yaml {more}\n```"


def _start(run: RunFolder) -> str:
    if weights := run.setting("trainer.initial_weights"):
        return f"from {Path(str(weights)).name}"
    return "from image weights" if run.setting("network.pretrained") else "from scratch"


def _limits(run: RunFolder) -> str:
    found = run.evaluation or {}
    lines = [
        "- Depth is up to scale, and the scale differs from image to image"
        + (f" (by {found['scale_spread']:.0%}, one standard deviation)" if _known(found.get("scale_spread")) else "")
        + ". Metres need the camera's height above the road, or another measured length.",
        f"- It knows scenes like those it learnt from ({_folder(run.setting('data.root'), 'see above')}): a forward-looking "
        "camera on a road. Other cameras, indoors, night or rain: judge it first.",
    ]
    if found.get("protocol") == "synthetic":
        lines.append("- The errors above were measured on rendered streets. They say nothing about photographs.")
    holes = (found.get("measures") or {}).get("moving_holes")
    if _known(holes):
        lines.append(f"- Moving objects can become holes of too great a depth: {holes:.1%} of their pixels did.")
    lines.append("- Not for decisions on which anybody's safety depends.")
    return "## Limits\n\n" + "\n".join(lines)


def _licence(license: str) -> str:
    named = f"`{license}`" if license != "other" else "not named by who pushed it: ask"
    data = "The terms of the data that they were learnt from hold too."
    return f"## Licence\n\nOf the weights: {named}. {data} semdepth itself is Apache-2.0."


def _judged_on(run: RunFolder) -> str:
    data = (run.evaluation or {}).get("data") or run.config.get("validation") or {}
    world = (
        "rendered streets"
        if (run.evaluation or {}).get("protocol") == "synthetic"
        else data.get("name", "unnamed data")
    )
    return f"{world} ({_folder(data.get('root'))})" if data.get("root") else str(world)


def _folder(path: Any, default: str = "no folder") -> str:
    """The path as it may be published: relative as it is, absolute cut down to its last part."""
    return str(portable(str(path))) if path else default


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.3f}" if _known(value) else "–"
