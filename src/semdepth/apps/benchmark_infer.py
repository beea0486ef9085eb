"""``semdepth benchmark infer``: how fast a network predicts, in every form in which it is shipped."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semdepth.apps.benchmark_apart import Apart
from semdepth.apps.benchmark_record import record
from semdepth.apps.benchmark_roofline import Work, measure_ceilings
from semdepth.apps.benchmark_turns import take_turns
from semdepth.apps.export import Calibration
from semdepth.inference.export import check_images, export_onnx, sized_header
from semdepth.inference.ncnn_export import export_ncnn
from semdepth.inference.onnx_file import ExportHeader, Precision
from semdepth.inference.onnx_session import OnnxNetwork
from semdepth.inference.opening import find_weights, open_network, trained_size
from semdepth.inference.openvino_model import OpenvinoNetwork
from semdepth.models.decoder import convolve_plainly
from semdepth.models.folding import Arithmetic
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import load_depth_network, save_weights
from semdepth.runtime import InputError, choose_device, computes_bfloat16

REFERENCE, LOADED = "torch as trained", "torch as loaded"
"""A network as training leaves it, and as ``semdepth.load`` makes it ready."""
BF16 = " (bf16)"
"""Ends the names of forms that compute in bfloat16, where the device does."""
OPENVINO, NCNN = "OpenVINO", "ncnn"
ENGINES = ("ONNX", OPENVINO, NCNN)
"""What runs the exported forms: ONNX Runtime and OpenVINO the same ONNX file, ncnn its own."""
SIZE = (192, 640)
WARM_UP = 2
COUNTED = "counted"
"""A single image where operators can be counted: in inference mode, torch does not show its convolutions."""


def infer(weights: Path | None, calibrate: Path | None, rounds: int, batch: int, device: str, out: Path) -> str:
    """Let the forms of a network take turns, and record their medians.

    The reference is the plain network in float32, as it was trained, in inference mode. Resizing and reading images are not
    in the measured time. With fewer cores wanted, set OMP_NUM_THREADS.

    Args:
        weights: a run folder or .safetensors file; None: ResNet-18 for 640×192, depth only, random.
        calibrate: folder of images for the 8-bit form; None: made-up images, good for its speed alone.
        rounds: how often everybody has a turn.
        batch: images one after the other in the forms ``stream of N``, and in one pass in ``batch of N``, beside the single
            image, before which others had the processor; 1: none of those.
        device: auto, cpu, cuda, mps. Elsewhere than on the CPU only torch's own forms are measured.
        out: folder of performance.json.

    Returns:
        The table, and where the numbers are.

    Raises:
        InputError: if the weights or images cannot be used, or the file cannot be written.
    """
    if rounds < 1 or batch < 1:
        raise InputError("benchmark infer: rounds and batch must be at least 1")
    place = choose_device(device)
    with tempfile.TemporaryDirectory() as folder:
        path = _random_weights(Path(folder)) if weights is None else find_weights(weights)
        files, size = export_forms(path, calibrate, place, Path(folder))
        forms = {REFERENCE: path, LOADED: path} | files
        if computes_bfloat16(place):
            forms |= {name + BF16: file for name, file in forms.items() if name.startswith((LOADED, OPENVINO))}
        times, memory, work = measure_forms(forms, batch, size, place, rounds)
    shares = {name: round(1e3 * done.bound / statistics.median(times[name]), 3) for name, done in work.items()}
    mode = f", stream of {batch}" if batch > 1 else ""  # as a video is predicted
    for key, names in contestants(place).items():
        name = min(names, key=lambda form: statistics.median(times[form + mode]))
        spread = {form: [round(min(values), 2), round(max(values), 2)] for form, values in times.items()}
        medians = {form: round(statistics.median(values), 2) for form, values in times.items()}
        written = record(
            key,
            statistics.median(times[name + mode]),
            statistics.median(times[REFERENCE + mode]),
            "ms",
            out=out,
            form=name,
            mode=mode.strip(", ") or "single image",
            all=medians,
            spread=spread,
            peak_gb=memory,
            roofline_share=shares,
            gflop={name: round(done.flops / 1e9, 2) for name, done in work.items()},
            threads=torch.get_num_threads(),
            weights="random ResNet-18, depth only" if weights is None else path.name,
            size=list(size),
        )
    return f"{table(times, memory, shares)}\n\nAs JSON: {written}"


def contestants(place: torch.device) -> dict[str, list[str]]:
    """Return the forms of which the fastest is recorded, by the key of its record."""
    if place.type != "cpu":
        return {"infer_gpu": [LOADED]} | ({"infer_gpu_bf16": [LOADED + BF16]} if computes_bfloat16(place) else {})
    found = {
        "infer_cpu": [LOADED, *(f"{engine} fp32" for engine in ENGINES)],
        "infer_cpu_int8": [f"{engine} int8" for engine in ENGINES],
    }
    if computes_bfloat16(place):
        found |= {"infer_cpu_bf16": [LOADED + BF16, f"{OPENVINO} fp32{BF16}"]}
        found["infer_cpu_int8"] += [f"{OPENVINO} int8{BF16}"]
    return found


def export_forms(
    path: Path, calibrate: Path | None, place: torch.device, folder: Path
) -> tuple[dict[str, Path], tuple[int, int]]:
    """Export the other forms (on the CPU alone: ``ENGINES``, fp32 and int8); return their files by name, and images' (H, W)."""
    network, trained = load_depth_network(path)
    size = trained_size(path, network, trained)
    files: dict[str, Path] = {}
    if place.type == "cpu":
        weights = sized_header(trained, size, network.size_multiple)
        images: Iterable[Tensor] = check_images(size, network.size_multiple, dynamic=False)[:1]
        if calibrate is not None:
            images = Calibration(calibrate, folder, 32, size)
        precisions: tuple[Precision, ...] = ("fp32", "int8")
        for precision in precisions:
            header = ExportHeader(weights, network.size_multiple, dynamic=False, precision=precision)
            graph, param = folder / f"{precision}.onnx", folder / f"{precision}.ncnn.param"
            export_onnx(network, header, graph, images)
            export_ncnn(network, header, param, images)
            files |= {f"{engine} {precision}": param if engine == NCNN else graph for engine in ENGINES}
    return files, size


def measure_forms(
    forms: dict[str, Path], batch: int, size: tuple[int, int], place: torch.device, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, Work]]:
    """Return the milliseconds an image of every form in every round, after ``WARM_UP`` rounds that do not count.

    Every form has a process of its own, and takes a pass of a single image and, with ``batch`` above 1, as many such passes one
    after the other, and one of so many images.

    Returns:
        The milliseconds; the peak memory of every form's process in GB; and what a single image takes of the forms that torch
        computes (other engines do not tell).
    """
    ceilings = measure_ceilings(place)
    with ExitStack() as stack:
        rivals = {
            name: stack.enter_context(
                Apart(prepare, name, file, batch, size, str(place), plain=name == REFERENCE, device=place)
            )
            for name, file in forms.items()
        }
        runs = {name: partial(rival.turn, "single") for name, rival in rivals.items()}
        if batch > 1:
            for mode in ("stream", "batch"):
                runs |= {f"{name}, {mode} of {batch}": partial(rival.turn, mode) for name, rival in rivals.items()}
        turns = take_turns(runs, rounds, warm_up=WARM_UP, clock=lambda run, _: run())
        memory = {name: round(rival.peak_gb(), 2) for name, rival in rivals.items()}
        work = {name: rivals[name].work(COUNTED, ceilings) for name in forms if name.startswith((REFERENCE, LOADED))}
    images = {name: 1 if name in forms else batch for name in runs}
    times = {name: [1e3 * seconds / images[name] for seconds in walls] for name, walls in turns.wall.items()}
    return times, memory, work


def prepare(name: str, file: Path, batch: int, size: tuple[int, int], place: str) -> dict[str, Callable[[], object]]:
    """Return the passes of one form, in the process that it has to itself."""
    precision: Arithmetic = "bf16" if name.endswith(BF16) else "fp32"
    if name == REFERENCE:
        network, _ = load_depth_network(file)
        convolve_plainly(network)
    elif file.suffix == ".onnx":
        network = OpenvinoNetwork(file, precision) if name.startswith(OPENVINO) else OnnxNetwork(file, "cpu")
    else:
        network, _ = open_network(file, "cpu", precision)
    network.to(place)

    def passing(images: int, times: int = 1, context: Callable[[], Any] = torch.inference_mode) -> Callable[[], object]:
        image = torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(0)).to(place)
        repeated: Callable[[], object] = context()(lambda: [network(image) for _ in range(times)])
        return repeated

    counted = passing(1, context=torch.no_grad)
    return {"single": passing(1), "stream": passing(1, batch), "batch": passing(batch), COUNTED: counted}


def table(times: dict[str, list[float]], memory: dict[str, float], shares: dict[str, float]) -> str:
    """Return the medians and spreads as Markdown; ratios are against the reference in the same mode."""
    lines = ["| form | ms an image | spread | × reference | peak GB | roofline |", "|---|---:|---:|---:|---:|---:|"]
    for name, values in times.items():
        median = statistics.median(values)
        spread = f"{min(values):.1f} – {max(values):.1f}"
        _, comma, mode = name.partition(", ")
        reference = statistics.median(times[REFERENCE + comma + mode])
        share = f"{shares[name]:.0%}" if name in shares else ""
        lines.append(
            f"| {name} | {median:.1f} | {spread} | {reference / median:.2f} | {memory.get(name, '')} | {share} |"
        )
    return "\n".join(lines)


def _random_weights(folder: Path) -> Path:
    path = folder / "random.safetensors"
    network = build_depth_network(NetworkConfig(encoder="resnet18"), seed=0)
    save_weights(path, network, extra={"image_size": list(SIZE)})
    return path
