"""``semdepth benchmark infer``: how fast a network predicts, in every form in which it is shipped."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

from semdepth.apps.benchmark_record import record
from semdepth.apps.export import Calibration
from semdepth.inference.export import check_images, export_onnx, sized_header
from semdepth.inference.onnx_file import ExportHeader, Precision
from semdepth.inference.onnx_session import OnnxNetwork
from semdepth.inference.predictor import find_weights, trained_size
from semdepth.models.decoder import convolve_plainly
from semdepth.models.folding import make_fast
from semdepth.models.network import DepthNetwork, NetworkConfig, build_depth_network
from semdepth.models.weights import load_depth_network, save_weights
from semdepth.runtime import InputError, choose_device

REFERENCE, LOADED = "torch, as trained", "torch, as loaded"
"""A network as training leaves it, and as ``semdepth.load`` makes it ready."""
SIZE = (192, 640)
WARM_UP = 2


@dataclass(frozen=True)
class Contestant:
    """One form of the network."""

    run: Callable[[], object]
    """One forward pass."""
    images: int
    """That it takes."""


def infer(weights: Path | None, calibrate: Path | None, rounds: int, batch: int, device: str, out: Path) -> str:
    """Let the forms of a network take turns, and record their medians.

    The reference is the plain network in float32, as it was trained, in inference mode. Resizing and reading images are not
    in the measured time. With fewer cores wanted, set OMP_NUM_THREADS.

    Args:
        weights: a run folder or .safetensors file; None: ResNet-18 for 640×192, depth only, random.
        calibrate: folder of images for the 8-bit form; None: made-up images, good for its speed alone.
        rounds: how often everybody has a turn.
        batch: images in a pass, for the forms ``batch N`` beside the single image; 1: none of those.
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
        forms, size = build(path, calibrate, batch, place, Path(folder))
        times = take_turns(forms, rounds, place)
    names = {"infer_cpu": "ONNX fp32", "infer_cpu_int8": "ONNX int8"} if place.type == "cpu" else {"infer_gpu": LOADED}
    for key, name in names.items():
        spread = {form: [round(min(values), 2), round(max(values), 2)] for form, values in times.items()}
        medians = {form: round(statistics.median(values), 2) for form, values in times.items()}
        written = record(
            key,
            statistics.median(times[name]),
            statistics.median(times[REFERENCE]),
            "ms",
            out=out,
            all=medians,
            spread=spread,
            threads=torch.get_num_threads(),
            weights="random ResNet-18, depth only" if weights is None else path.name,
            size=list(size),
        )
    return f"{table(times, forms)}\n\nAs JSON: {written}"


def build(
    path: Path, calibrate: Path | None, batch: int, place: torch.device, folder: Path
) -> tuple[dict[str, Contestant], tuple[int, int]]:
    """Return the forms by name, and the (H, W) of their images.

    The forms: torch as trained and as loaded and, on the CPU, ONNX in fp32 and int8; each for single images and for batches.
    """
    network, trained = load_depth_network(path)
    convolve_plainly(network)
    size = trained_size(path, network, trained)
    loaded = load_depth_network(path)[0]
    make_fast(loaded)
    forms: dict[str, DepthNetwork] = {REFERENCE: network.to(place), LOADED: loaded.to(place)}
    if place.type == "cpu":
        weights = sized_header(trained, size, network.size_multiple)
        images: Iterable[Tensor] = check_images(size, network.size_multiple, dynamic=False)[:1]
        if calibrate is not None:
            images = Calibration(calibrate, folder, 32, size)
        precisions: tuple[Precision, ...] = ("fp32", "int8")
        for precision in precisions:
            header = ExportHeader(weights, network.size_multiple, dynamic=False, precision=precision)
            export_onnx(network, header, folder / f"{precision}.onnx", images)
            forms[f"ONNX {precision}"] = OnnxNetwork(folder / f"{precision}.onnx", "cpu")
    contestants = {name: _contestant(form, 1, size, place) for name, form in forms.items()}
    if batch > 1:
        contestants |= {f"{name}, batch {batch}": _contestant(form, batch, size, place) for name, form in forms.items()}
    return contestants, size


def take_turns(forms: dict[str, Contestant], rounds: int, place: torch.device) -> dict[str, list[float]]:
    """Return the milliseconds an image of every form in every round, after ``WARM_UP`` rounds that do not count."""
    times: dict[str, list[float]] = {name: [] for name in forms}
    for turn in track(range(-WARM_UP, rounds), "taking turns", disable=rounds < 3):
        for name, form in forms.items():
            _wait(place)
            start = time.perf_counter()
            form.run()
            _wait(place)
            if turn >= 0:
                times[name].append(1e3 * (time.perf_counter() - start) / form.images)
    return times


def table(times: dict[str, list[float]], forms: dict[str, Contestant]) -> str:
    """Return the medians and spreads as Markdown; ratios are against the reference's single image."""
    reference = statistics.median(times[REFERENCE])
    lines = ["| form | ms an image | spread | × reference |", "|---|---:|---:|---:|"]
    for name in forms:
        median = statistics.median(times[name])
        spread = f"{min(times[name]):.1f} – {max(times[name]):.1f}"
        lines.append(f"| {name} | {median:.1f} | {spread} | {reference / median:.2f} |")
    return "\n".join(lines)


def _contestant(network: DepthNetwork, images: int, size: tuple[int, int], place: torch.device) -> Contestant:
    image = torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(0)).to(place)

    @torch.inference_mode()
    def run() -> object:
        return network(image)

    return Contestant(run, images)


def _wait(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def _random_weights(folder: Path) -> Path:
    path = folder / "random.safetensors"
    network = build_depth_network(NetworkConfig(encoder="resnet18"), seed=0)
    save_weights(path, network, extra={"image_size": list(SIZE)})
    return path
