"""``semdepth export``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.progress import track
from torch import Tensor

from semdepth.apps.predict_inputs import find_images
from semdepth.inference.export import OPSET, Difference, export_onnx, export_torch, sized_header
from semdepth.inference.exported import files_of
from semdepth.inference.ncnn_export import export_ncnn
from semdepth.inference.ncnn_model import PRECISIONS as NCNN_PRECISIONS
from semdepth.inference.onnx_file import ExportHeader, Precision
from semdepth.inference.opening import find_weights, trained_size
from semdepth.inference.quantise import calibration_images
from semdepth.models.weights import load_depth_network
from semdepth.runtime import InputError, logger

PRECISIONS = {"onnx": ("fp32", "fp16", "int8"), "ncnn": NCNN_PRECISIONS, "torch": ("fp32",)}
SUFFIX = {"onnx": ".onnx", "ncnn": ".ncnn.param", "torch": ".pt2"}


def export(
    weights: Path, out: Path | None = None, format: Literal["onnx", "ncnn", "torch"] = "onnx",
    precision: Literal["fp32", "fp16", "int8"] = "fp32", size: str | None = None, calibrate: Path | None = None,
    images: int = 64,
) -> None:  # fmt: skip
    """Write a network for deployment: an ONNX file or an ncnn model that runs without torch, or a torch.export program.

    The file takes image (B, 3, H, W), RGB in [0, 1], any B, and gives disparity (B, 1, H, W), 1 / depth, and class logits
    (B, C, H, W) if the network has a segmentation branch. It carries the image size, depth range, classes and intrinsics of
    the weights; semdepth.load("model.onnx") and every command that takes weights read it. Before the file takes its name
    its outputs are compared with the network's: fp32 must agree within 1e-3 everywhere, else nothing is written.

    ncnn is made for phones and boards, and fast on a CPU without VNNI (docs/results/performance.md): three files,
    NAME.ncnn.param, .bin and .json, of fixed size, one image at a time, in fp32 or int8. With VNNI, an int8 ONNX file under
    OpenVINO is the fastest.

    fp16 halves the file (for GPUs and browsers; processors gain nothing). int8 needs images to find its ranges from, of
    the kind that it will see.

    Args:
        weights: A run folder (its best weights) or a .safetensors file.
        out: The file to write; none: model.onnx, model.ncnn.param or model.pt2.
        format: onnx; ncnn; or torch: a program for torch.export.load.
        precision: Of the arithmetic: fp32, fp16, int8. Inputs and outputs are float32 always.
        size: Height x width of the images, e.g. 192x640; dynamic: any multiples of the network's stride; none: as trained.
        calibrate: int8: folder of images.
        images: int8: At most so many of them, evenly spread.

    Examples:
        semdepth export RUN --out model.onnx                  # runs without torch
        semdepth export RUN --out int8.onnx --precision int8 --calibrate DRIVE/image_02/data
        semdepth export RUN --out any.onnx --size dynamic     # images of any size
        semdepth export RUN --out model.ncnn.param --format ncnn
    """
    out = out or Path(f"model{SUFFIX[format]}")
    if not out.name.endswith(SUFFIX[format]):
        raise InputError(
            f"{out}: a file of --format {format} must be called {out.name.partition('.')[0]}{SUFFIX[format]}"
        )
    if precision not in PRECISIONS[format]:
        raise InputError(
            f"--format {format} writes {' or '.join(PRECISIONS[format])}, not {precision}; use --format onnx"
        )
    if format == "ncnn" and size == "dynamic":
        raise InputError("--format ncnn writes a fixed --size, not dynamic; use --format onnx")
    if (precision == "int8") != (calibrate is not None):
        raise InputError("--precision int8 and --calibrate FOLDER belong together; give both or neither")
    if images < 1:
        raise InputError(f"images {images}: must be at least 1")
    path = find_weights(weights)
    if path.name.endswith(tuple(SUFFIX.values())):
        raise InputError(f"{path}: is an export already; give the run folder or .safetensors file that it came from")
    network, trained = load_depth_network(path)
    trained_hw = trained_size(path, network, trained)
    chosen = trained_hw if size in (None, "dynamic") else parse_size(str(size))
    header = ExportHeader(
        sized_header(trained, chosen, network.size_multiple), network.size_multiple, size == "dynamic", precision
    )
    console = Console()
    images_seen = () if calibrate is None else Calibration(calibrate, out, images, chosen)
    with console.status("exporting") if calibrate is None else nullcontext():  # calibration has a bar of its own
        if format == "torch":
            found = export_torch(network, header, out)
        else:
            found = (export_ncnn if format == "ncnn" else export_onnx)(network, header, out, images_seen)
    console.print(summary(out, header, found, format), highlight=False, soft_wrap=True)


def parse_size(text: str) -> tuple[int, int]:
    """Return (H, W) of ``HxW``.

    Raises:
        InputError: if it has another form.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)  # no ×: with that, sizes are printed the other way round
    if match is None:
        raise InputError(f"size {text!r}: give height x width, e.g. 192x640, or dynamic")
    return int(match[1]), int(match[2])


class Calibration:
    """The images of a folder."""

    def __init__(self, folder: Path, out: Path, count: int, size: tuple[int, int]) -> None:
        """Choose ``count`` images, evenly spread; ``out`` is the file to be written.

        Raises:
            InputError: if the folder is missing or holds none.
        """
        found = find_images(folder, out)
        chosen = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
        self.paths, self.size = [found[i] for i in chosen], size
        if len(self.paths) < 8:
            logger.warning("%s: only %d images to calibrate by; some tens are better", folder, len(self.paths))

    def __iter__(self) -> Iterator[Tensor]:
        """Yield (1, 3, H, W) images in [0, 1]."""
        return calibration_images(track(self.paths, "calibrating", disable=len(self.paths) < 3), self.size)


def summary(out: Path, header: ExportHeader, found: Difference, format: str) -> str:
    """Return what was written, and how far it is from the network."""
    height, width = header.weights.extra["image_size"]
    shape = f"{width}×{height} (--size {height}x{width})"
    shape = f"multiples of {header.size_multiple}, made for {width}×{height}" if header.dynamic else shape
    kind = {"onnx": f"ONNX opset {OPSET}", "ncnn": "ncnn", "torch": "torch.export"}[format]
    size = sum(file.stat().st_size for file in files_of(out))
    batch = "one image at a time" if format == "ncnn" else "any batch"
    differs = f"within {found.largest:.1e} of the network (mean {found.mean:.1e}), relative"
    precision: Precision = header.precision
    return f"{kind}, {precision}, {shape}, {batch}, {size / 1e6:.1f} MB, {differs}: {out}"
