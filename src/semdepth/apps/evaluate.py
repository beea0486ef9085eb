"""``semdepth evaluate``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track

from semdepth.apps.recipes import load_experiment
from semdepth.config import Experiment
from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.video import JudgedFrames
from semdepth.evaluation import report
from semdepth.evaluation.baselines import MeanDepthMap
from semdepth.evaluation.evaluator import EvaluationResult
from semdepth.evaluation.protocols import Protocol, kitti_eigen, kitti_improved, synthetic
from semdepth.inference.predictor import find_weights
from semdepth.models.network import build_depth_network
from semdepth.models.weights import load_depth_network
from semdepth.runtime import InputError, choose_device, seed_everything
from semdepth.training.validation import judge, judge_map, protocol_for

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (synthetic, kitti_eigen, kitti_improved)}
TRAINED = "trained network"
MAPPED = 400
"""At most so many training frames go into the mean depth map, evenly spread."""


def evaluate(
    run: Path, data: DataConfig | None = None, protocol: Literal["synthetic", "kitti_eigen", "kitti_improved"] | None = None,
    baselines: bool = True, flip: bool = False, device: str = "auto", out: Path | None = None,
) -> None:  # fmt: skip
    """Judge the depth of a run against ground truth, beside honest baselines.

    The errors are means over images, with 95 % bootstrap intervals over drives. Baselines never look at the image: the
    best constant depth, the best depth map that is the same for all images (from the training frames' ground truth,
    where there is any), and the same network before training.

    Args:
        run: A run folder.
        data: Frames with ground truth; none: those the run was validated on.
        protocol: How to judge; none: synthetic on rendered drives, else kitti_eigen.
        baselines: Also judge the baselines.
        flip: Blend with the mirrored image's prediction.
        device: auto, cpu, cuda, mps.
        out: Folder for evaluation.md, .json and .csv; none: the run folder.
    """
    experiment = load_experiment(run)
    weights = find_weights(run)
    network, header = load_depth_network(weights)
    frames = open_dataset(judged_data(experiment, data, header.extra.get("image_size")))
    rules = PROTOCOLS[protocol] if protocol else protocol_for(frames)
    network.to(choose_device(device))
    results = {TRAINED: judge(network, frames, rules, flip=flip, shown=True)}
    if baselines:
        results |= judge_baselines(experiment, frames, rules, device)
    out = out or run
    write_results(results, out)
    console = Console()
    main = results[TRAINED]
    title = f"{weights} on {len(main.rows)} images"
    console.print(report.terminal_table(*report.transposed(*report.comparison_rows(results)), title=title))
    console.print(report.terminal_table(*report.interval_rows(main), note=report.caption(main)))
    console.print(
        f"All numbers, also by class and complexity: {out / 'evaluation.md'}", highlight=False, soft_wrap=True
    )


def judged_data(experiment: Experiment, data: DataConfig | None, image_size: object) -> DataConfig:
    """Return which frames to judge on: at the network's size, without sources, only those with ground truth.

    Raises:
        InputError: if neither the options nor the run name any.
    """
    chosen = data or experiment.validation
    if chosen is None:
        raise InputError(
            f"{experiment.run}: was trained without validation data; name the frames to judge on with --data.*"
        )
    height, width = (
        image_size if isinstance(image_size, list | tuple) else (experiment.data.height, experiment.data.width)
    )
    needed = chosen.name in ("kitti_raw", "synthetic")
    return replace(chosen, height=height, width=width, offsets=(), require_depth=needed or chosen.require_depth)


def judge_baselines(
    experiment: Experiment, frames: JudgedFrames, rules: Protocol, device: str
) -> dict[str, EvaluationResult]:
    """Judge what a model must beat."""
    seed_everything(experiment.trainer.seed)
    untrained = build_depth_network(experiment.network).eval().to(choose_device(device))
    results = {"untrained network": judge(untrained, frames, rules, shown=True)}
    results["best constant depth"] = judge_map(None, frames, rules)
    mean_map = mean_depth_map(experiment)
    if mean_map is not None:
        results["mean depth map"] = judge_map(mean_map, frames, rules)
    return results


def mean_depth_map(experiment: Experiment) -> MeanDepthMap | None:
    """Return the mean depth map of the training frames that have ground truth; None where none has."""
    if experiment.data.name not in ("kitti_raw", "synthetic"):
        return None
    try:
        frames = open_dataset(replace(experiment.data, offsets=(), require_depth=True, labels="none"))
    except InputError:
        return None
    mean_map = MeanDepthMap()
    for index in track(range(0, len(frames), max(len(frames) // MAPPED, 1)), "mean map"):
        mean_map.update(frames.ground_truth(index))
    return mean_map


def write_results(results: Mapping[str, EvaluationResult], out: Path) -> None:
    """Write the tables (Markdown), and the first result whole (JSON) and by image (CSV)."""
    main = next(iter(results.values()))
    sections = [
        ("Beside the baselines", report.comparison_rows(results)),
        ("With intervals", report.interval_rows(main)),
        ("Where the errors are", report.stratum_rows(main)),
        ("Segmentation", report.segmentation_rows(main)),
    ]
    tables = [f"## {title}\n\n{report.markdown_table(*rows)}" for title, rows in sections if rows[1]]
    try:
        report.write_text(out / "evaluation.md", "\n".join(["# Evaluation\n", report.caption(main) + "\n", *tables]))
        report.write_json(main, out / "evaluation.json")
        report.write_csv(main, out / "evaluation.csv")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None
