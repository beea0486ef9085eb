"""``semdepth evaluate``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

from rich.console import Console
from rich.progress import track

from semdepth.apps.recipes import RUN_CONFIG, load_experiment, to_plain
from semdepth.config import Experiment
from semdepth.data.catalog import MAY_LACK_DEPTH, DataConfig, Frames, open_dataset
from semdepth.data.leaks import describe, drives_learnt_from, drives_of, shared_drives
from semdepth.data.video import JudgedFrames
from semdepth.evaluation import report
from semdepth.evaluation.baselines import MeanDepthMap
from semdepth.evaluation.evaluator import EvaluationResult
from semdepth.evaluation.protocols import Protocol, cityscapes, kitti_eigen, kitti_improved, make3d, synthetic
from semdepth.hub import hub_address
from semdepth.inference.exported import ExportedNetwork
from semdepth.inference.opening import find_weights, open_network, trained_size
from semdepth.models.encoder import encoder_from_settings
from semdepth.models.folding import Arithmetic
from semdepth.models.network import DepthNetwork, assemble
from semdepth.models.weights import WeightsHeader
from semdepth.runtime import InputError, choose_device, counted, logger, seed_everything
from semdepth.training.validation import judge, judge_map, protocol_for

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (synthetic, kitti_eigen, kitti_improved, cityscapes, make3d)}
TRAINED = "trained network"
MAPPED = 400
"""At most so many training frames go into the mean depth map, evenly spread."""


def evaluate(
    run: Path, data: DataConfig | None = None,
    protocol: Literal["synthetic", "kitti_eigen", "kitti_improved", "cityscapes", "make3d"] | None = None,
    baselines: bool = True, flip: bool = False, guide: Literal["own", "noisy", "exact"] = "own", device: str = "auto",
    precision: Arithmetic = "fp32", out: Path | None = None,
) -> None:  # fmt: skip
    """Judge the depth of a run against ground truth, beside honest baselines.

    The errors are means over images, with 95 % bootstrap intervals over drives. Baselines never look at the image: the
    best constant depth, the best depth map that is the same for all images (from the training frames' ground truth,
    where there is any), and an untrained network: the same architecture with random parameters from the run's seed,
    whatever weights the run itself started from. The verdict on the run is written before the baselines are judged.

    Args:
        run: A run folder (its best weights), or one of its files: RUN/weights.safetensors for the last, RUN/model.onnx for
            an export that was written there; with --data also weights without a run, of semdepth convert or from the hub.
        data: Frames with ground truth; none: those the run was validated on.
        protocol: How to judge; none: cityscapes and make3d on theirs, synthetic on rendered drives, else kitti_eigen.
        baselines: Also judge the baselines.
        flip: Blend with the mirrored image's prediction as Godard 2017: ramps at the borders, the mean between.
        guide: What guides SSFA: own: the classes that the network predicts; noisy or exact: those labels of the frames, as
            predict --labels does. What is judged so is not the run's own verdict: needs --out.
        device: auto, cpu, cuda, mps.
        precision: Of the run's network; bf16 says what predict --precision bf16 costs.
        out: Folder for evaluation.md, .json and .csv; none: the run folder.

    Examples:
        semdepth evaluate runs/demo                                                           # as it was validated
        semdepth evaluate RUN --data.root DIR --data.split test_files.txt --data.labels none  # KITTI
        semdepth evaluate RUN --data.name make3d --data.root DIR                              # what it never saw
        semdepth evaluate RUN/model.onnx --baselines false --out DIR                          # an exported network
    """
    weights = find_weights(run)
    folder = run if run.is_dir() else weights.parent
    if out is None and hub_address(run):
        raise InputError(f"{run}: lies in the hub's cache; say where the tables go with --out")
    if guide != "own" and out is None:
        raise InputError(
            "guide: under other labels it is not the run's own verdict; say where the tables go with --out"
        )
    network, header = open_network(weights, device, precision)
    if (folder / RUN_CONFIG).exists():
        experiment = load_experiment(folder)
    elif data is not None:  # weights without their run: what they learnt from is not known
        experiment = Experiment(network=header.config)
    else:
        raise InputError(
            f"{folder}: holds no {RUN_CONFIG}; name a run folder, a weights file in its run folder, or the data with --data.*"
        )
    judged = judged_data(experiment, data, trained_size(weights, network, header))
    frames = open_dataset(judged)
    warn_of_leak(experiment, frames)
    rules = PROTOCOLS[protocol] if protocol else protocol_for(frames, judged)
    network.to(choose_device(device))
    out = require_writable(out or folder)
    facts = facts_of(weights, judged, flip, computed_in(network, precision)) | (
        {} if guide == "own" else {"guide": guide}
    )
    guides = None if guide == "own" else open_dataset(replace(judged, labels=guide))
    results = {TRAINED: judge(network, frames, rules, flip=flip, shown=True, guides=guides)}
    write_results(results, out, facts)
    if baselines:
        results |= judge_baselines(experiment, header, frames, rules, device)
        write_results(results, out, facts)
    console = Console()
    main = results[TRAINED]
    title = f"{weights} on {counted(len(main.rows), 'image')}"
    console.print(report.terminal_table(*report.transposed(*report.comparison_rows(results)), title=title))
    console.print(report.terminal_table(*report.interval_rows(main), note=report.caption(main)))
    console.print(
        f"All numbers, also by class and complexity: {out / 'evaluation.md'}", highlight=False, soft_wrap=True
    )


def judged_data(experiment: Experiment, data: DataConfig | None, image_size: tuple[int, int]) -> DataConfig:
    """Return which frames to judge on: at the network's size, without sources, only those with ground truth.

    Raises:
        InputError: if neither the options nor the run name any.
    """
    chosen = data or experiment.validation
    if chosen is None:
        raise InputError(
            f"{experiment.run}: was trained without validation data; name the frames to judge on with --data.*"
        )
    height, width = image_size
    needed = chosen.name in MAY_LACK_DEPTH
    return replace(chosen, height=height, width=width, offsets=(), require_depth=needed or chosen.require_depth)


def computed_in(network: DepthNetwork, precision: Arithmetic) -> str:
    """Return what a network computes in: of an export in 8 bits or half precision also what the rest does, if not fp32."""
    own = network.header.precision if isinstance(network, ExportedNetwork) else "fp32"
    return precision if own == "fp32" else own if precision == "fp32" else f"{own}, {precision}"


def facts_of(weights: Path, data: DataConfig, flip: bool, precision: str = "fp32") -> dict[str, Any]:
    """Return what a verdict's file says of what was judged: the weights' name, how it was done, the data's options."""
    return {"weights": weights.name, "flip": flip, "precision": precision, "data": to_plain(data)}


def warn_of_leak(experiment: Experiment, frames: Frames) -> None:
    """Say so if the run has learnt from drives that it is judged on now."""
    learnt, judged = drives_learnt_from(experiment.data), drives_of(frames)
    if shared := shared_drives(learnt, judged):
        logger.warning("These numbers are better than they should be: %s", describe(shared, learnt, judged))


def require_writable(out: Path) -> Path:
    """Return ``out`` when files can be written there: to find that out after an hour of judging is too late.

    Raises:
        InputError: if not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None


def judge_baselines(
    experiment: Experiment, header: WeightsHeader, frames: JudgedFrames, rules: Protocol, device: str
) -> dict[str, EvaluationResult]:
    """Judge what a model must beat."""
    untrained = untrained_network(header, experiment.trainer.seed).eval().to(choose_device(device))
    results = {"untrained network": judge(untrained, frames, rules, shown=True)}
    results["best constant depth"] = judge_map(None, frames, rules)
    try:
        results["mean depth map"] = judge_map(mean_depth_map(experiment), frames, rules)
    except InputError as error:
        logger.warning("No mean depth map among the baselines: %s", error)
    return results


def untrained_network(header: WeightsHeader, seed: int) -> DepthNetwork:
    """Return the architecture that a weights file describes, with random parameters; no hub is asked for it."""
    seed_everything(seed)
    return assemble(replace(header.config, pretrained=False), encoder_from_settings(header.encoder))


def mean_depth_map(experiment: Experiment) -> MeanDepthMap:
    """Return the mean depth map of the training frames that have ground truth.

    Raises:
        InputError: if none has, or their files cannot be used.
    """
    if experiment.data.name not in MAY_LACK_DEPTH:
        raise InputError(f"the run's data.name {experiment.data.name} has no ground truth")
    frames = open_dataset(replace(experiment.data, offsets=(), require_depth=True, labels="none"))
    mean_map, known = MeanDepthMap(), False
    for index in track(range(0, len(frames), max(len(frames) // MAPPED, 1)), "mean map"):
        truth = frames.ground_truth(index)
        known |= bool((truth > 0).any())
        mean_map.update(truth)
    if not known:
        raise InputError(f"{experiment.data.root}: no ground truth of the training frames holds a depth")
    return mean_map


def write_results(results: Mapping[str, EvaluationResult], out: Path, facts: Mapping[str, Any]) -> None:
    """Write the tables (Markdown), and the first result whole (JSON, also the others' means) and by image (CSV).

    Args:
        results: by name; the first is the run's own.
        out: the folder that receives the files.
        facts: what was judged on what, for the JSON (``weights``, the file's name; ``flip``; ``precision``; ``data``).

    Raises:
        InputError: if the folder cannot be written.
    """
    main = next(iter(results.values()))
    sections = [
        ("Beside the baselines" if len(results) > 1 else "Errors", report.comparison_rows(results)),
        ("With intervals", report.interval_rows(main)),
        ("Where the errors are", report.stratum_rows(main)),
        ("Infinite-depth holes", report.hole_rows(main)),
        ("Segmentation", report.segmentation_rows(main)),
    ]
    tables = [f"## {title}\n\n{report.markdown_table(*rows)}" for title, rows in sections if rows[1]]
    others = {name: means(result) for name, result in results.items() if result is not main}
    guided = f", guided by the frames' {facts['guide']} labels" if "guide" in facts else ""
    head = [
        "# Evaluation\n",
        f"Weights: {facts['weights']}, computed in {facts['precision']}{guided}\n",
        report.caption(main) + "\n",
    ]
    try:
        report.write_text(out / "evaluation.md", "\n".join([*head, *tables]))
        report.write_csv(main, out / "evaluation.csv")
        report.write_json(main, out / "evaluation.json", dict(facts) | ({"baselines": others} if others else {}))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None


def means(result: EvaluationResult) -> dict[str, float | None]:
    """Return what a result comes down to; None: unknown."""
    values = asdict(result.mean) | result.measures | {"scale_spread": result.scale_spread}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
