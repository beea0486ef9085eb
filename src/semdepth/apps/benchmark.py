"""``semdepth benchmark``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from rich.console import Console

from semdepth.apps.benchmark_pairs import about, classifier, measure_pairs, open_exact, open_judged, write_tables
from semdepth.apps.benchmark_record import made_by
from semdepth.apps.scale import judge_scale, write_scale
from semdepth.data.catalog import DataConfig
from semdepth.evaluation.pair_quality import pair_table, rule_sets
from semdepth.geometry.ground import GroundPlaneConfig
from semdepth.inference.opening import find_weights
from semdepth.losses.pair_config import PairConfig
from semdepth.models.weights import load_depth_network
from semdepth.runtime import InputError, choose_device
from semdepth.training.validation import protocol_for

PAIRS, GROUND = PairConfig(), GroundPlaneConfig()


def benchmark(
    what: Literal["pairs", "scale", "train", "load", "infer", "evaluate", "render"], data: DataConfig,
    pairs: PairConfig = PAIRS, weights: Path | None = None, seeds: int = 2, images: int | None = None,
    out: Path = Path("benchmarks"), camera_height: float = 1.65, ground: GroundPlaneConfig = GROUND,
    device: str = "auto", calibrate: Path | None = None, rounds: int = 20, batch: int = 4,
    variant: Literal["depth-only", "full"] = "depth-only", encoder: str = "resnet18",
) -> None:  # fmt: skip
    """Measure the ranking loss's point pairs (pairs), the metric scale from the road's plane (scale), or speed (the others).

    pairs: count how often the ranking loss's point pairs are right, against ground-truth depth, rule by rule.

    Pairs are drawn from the labels alone, as before training (no network decides or agrees), once a seed; given weights,
    a last row adds the rule that the network must agree with the labels. A pair is right where the depths differ by more
    than 1 % the right way; ties count as wrong. Rendered drives judge every pair, the sky being far; lidar judges a point
    by its nearest return within 2 pixels under the same label, once with all returns and once without those that the
    camera cannot have seen. Writes pairs.md and pairs.json.

    scale: fit the road's plane to the ground-truth depth times a factor drawn for every image and, with weights, to the
    depth of that network; compare the scale that the camera's height gives with the true one. Writes scale.md and
    scale.json.

    infer: let the forms of a network take turns, each a forward pass at a time: torch as trained (the reference), torch as
    semdepth.load makes it ready, ONNX in fp32 and in int8, ncnn. Without weights: a random ResNet-18 at 640×192. Puts the
    medians into performance.json.

    train, load, evaluate: ours beside a reference, the plain way of the field's research code (benchmarks/reference, in a
    clone), taking turns, with the same numbers as the result; render: frames a second of the rendered world. They write
    performance.json, too. train: a step at --data.height × --data.width, with --batch, --variant and --encoder. load: a
    folder of consecutive frames, --data.root. evaluate: --images predictions against lidar, the scans of --data.root or
    made ones. Set OMP_NUM_THREADS to the cores that they shall have.

    Args:
        what: What to measure: pairs, scale, train, load, infer, evaluate, render.
        data: Frames with labels (noisy or exact) and ground truth: kitti_raw, also rendered in its layout, or synthetic.
        pairs: pairs: how pairs are drawn; the rules are switched on one by one.
        weights: A run folder or .safetensors. pairs: with a segmentation branch, which must agree with the labels
            (rule 4); scale: whose depth is judged too.
        seeds: pairs: how often every image is drawn from; the counts are pooled.
        images: At most so many images, evenly spread; none: all. evaluate: none: 697, as in the Eigen split. render: frames.
        out: Folder for the tables.
        camera_height: scale: metres of the camera above the road (1.65 in KITTI and on rendered drives).
        ground: scale: how the plane is found.
        device: scale, infer, train, render: where it runs: auto, cpu, cuda, mps.
        calibrate: infer: folder of images for the ranges of int8; none: made-up ones, good for its speed alone.
        rounds: infer, train, load, evaluate, render: how often everybody has a turn.
        batch: infer: images one after the other, and in one pass, beside a single one. train: triplets in a step.
        variant: train: full: measure the full method (segmentation, SSFA, ranking), too.
        encoder: train: of the depth and pose networks.

    Examples:
        semdepth benchmark pairs --data.root DIR                                     # are the point pairs right
        semdepth benchmark scale --data.root DIR --weights RUN --camera-height 1.65  # how right metres are
        semdepth benchmark train --batch 4 --rounds 7 --variant full                 # seconds a training step
        semdepth benchmark infer --device cpu                                        # torch, ONNX, ncnn
    """
    size, console = (data.height, data.width), Console()
    speeds: dict[str, Callable[[], str]] = {
        "infer": lambda: _speed("infer").infer(weights, calibrate, rounds, batch, device, out),
        "train": lambda: _speed("train").train(size, batch, variant, rounds, device, out, encoder),
        "load": lambda: _speed("load").load(data.root, rounds, out),
        "evaluate": lambda: _speed("evaluate").evaluate(data.root, images or 697, rounds, out),
        "render": lambda: _speed("render").render(size, images or 12, rounds, device, out),
    }
    if what in speeds:
        console.print(speeds[what](), highlight=False, soft_wrap=True)
        return
    if seeds < 1 or (images is not None and images < 1):
        raise InputError("benchmark: seeds and images must be at least 1")
    frames = open_judged(data)
    count = min(images or len(frames), len(frames))
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int).tolist()
    if what == "scale":
        facts = about(data, count) | {"camera height": f"{camera_height} m"} | made_by()
        network = None if weights is None else load_depth_network(find_weights(weights))[0].to(choose_device(device))
        rules = protocol_for(frames, data)
        write_scale(judge_scale(frames, chosen, camera_height, ground, network, rules), out, facts)
        return
    classify = None if weights is None else classifier(weights)
    sets = rule_sets(pairs, agreement=classify is not None)
    tables = measure_pairs(frames, open_exact(frames, data), chosen, sets, seeds, classify)
    write_tables(tables, out, data, count, seeds)
    for truth, rows in tables.items():
        console.print(f"\n{truth}, {count} images, {seeds} seeds:\n{pair_table(rows)}", highlight=False, soft_wrap=True)
    console.print(f"\nBy class, and as JSON: {out / 'pairs.md'}", highlight=False, soft_wrap=True)


def _speed(what: str) -> ModuleType:
    """Return the module that measures a speed; what it needs is imported only then."""
    return import_module(f"semdepth.apps.benchmark_{what}")
