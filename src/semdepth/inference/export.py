"""The one door out: a trained network as an ONNX file or a torch.export program, checked against the network itself.

In the graph are the normalisation of the image and the way from the sigmoid output to disparity; resizing is not, for every
language's image library does that better than a graph. docs/deployment.md states inputs and outputs.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semdepth.geometry.camera import disparity_to_depth, resize_intrinsics
from semdepth.hub import first_line
from semdepth.inference.files import whole_file
from semdepth.inference.onnx_file import IMAGE, ExportHeader, metadata_of, output_names
from semdepth.inference.onnx_session import OnnxNetwork
from semdepth.models.network import DepthNetwork
from semdepth.models.weights import WeightsHeader
from semdepth.runtime import InputError

OPSET = 18
LARGEST_SIDE = 512
"""In multiples of the network's coarsest stride: what a graph of dynamic size takes at most."""
LIMITS = {"fp32": 1e-3, "fp16": 1e-2, "int8": 0.25}
"""What an export may differ by (``Difference.largest`` for fp32, ``.mean`` for the others); beyond it something is broken.
What the lesser precisions cost in accuracy is another question, which only ground truth answers."""


class ImageToDisparity(nn.Module):
    """The exported graph: image (B, 3, H, W) in [0, 1] → disparity (B, 1, H, W), and logits (B, C, H, W) if there are."""

    def __init__(self, network: DepthNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the finest scale's disparity, 1 / depth, and class logits."""
        output = self.network(image)
        config = self.network.config
        disparity, _ = disparity_to_depth(output.disparity[0], config.min_depth, config.max_depth)
        return (disparity,) if output.logits is None else (disparity, output.logits[0])


@dataclass(frozen=True)
class Difference:
    """How far an export is from its network, over all the images of the check."""

    largest: float
    """The largest relative difference: of disparity pixel by pixel, of logits against the largest logit of the image."""
    mean: float
    """The mean relative difference of disparity."""


def sized_header(header: WeightsHeader, size: tuple[int, int], multiple: int) -> WeightsHeader:
    """Return the header with the image size, and the intrinsics where it has any, of an export for ``size`` (H, W).

    Raises:
        InputError: if the network takes no images of that size.
    """
    height, width = size
    if height % multiple or width % multiple or min(size) < 2 * multiple:
        raise InputError(
            f"size {height}x{width}: the network takes multiples of {multiple} from {2 * multiple} up (height x width)"
        )
    extra = dict(header.extra)
    if extra.get("intrinsics") is not None:
        trained = torch.tensor(extra["intrinsics"], dtype=torch.float64)
        extra["intrinsics"] = resize_intrinsics(trained, _size_of(header), size).tolist()
    return replace(header, extra=extra | {"image_size": list(size)})


def export_onnx(
    network: DepthNetwork,
    header: ExportHeader,
    out: Path,
    calibration: Iterable[Tensor] = (),
) -> Difference:
    """Write an ONNX file, whole or not at all, that agrees with the network.

    Args:
        network: in eval mode, on the CPU.
        header: of the file; its image size, ``dynamic`` and ``precision`` say what is written.
        out: the file; an existing one is replaced.
        calibration: int8: (1, 3, H, W) images of the header's size in [0, 1].

    Returns:
        How far the file's outputs are from the network's.

    Raises:
        InputError: if the network cannot be exported, the two differ too much, or the file cannot be written.
        ModuleNotFoundError: if onnx, onnxscript or onnxruntime is not installed (the extra ``onnx``).
    """
    from semdepth.inference.quantise import float_nodes, strip, to_fp16, to_int8

    size = _size_of(header.weights)
    model = make_graph(network, size, header.dynamic)
    kept = float_nodes(model)
    strip(model)
    samples = check_images(size, network.size_multiple, header.dynamic)
    with whole_file(out) as temporary:
        _write(model, replace(header, precision="fp32"), temporary)
        found = require_close(network, OnnxNetwork(temporary, "cpu"), samples, "fp32")
        if header.precision == "fp16":
            model = to_fp16(model, kept)
        elif header.precision == "int8":
            samples = []
            model = to_int8(temporary, kept, keeping(calibration, samples))
        if header.precision != "fp32":
            _write(model, header, temporary)
            found = require_close(network, OnnxNetwork(temporary, "cpu"), samples, header.precision)
    return found


def export_torch(network: DepthNetwork, header: ExportHeader, out: Path) -> Difference:
    """Write a ``torch.export`` program, whole or not at all, that agrees with the network.

    Args and errors are those of ``export_onnx``. What the header says lies in the archive as ``semdepth.json``.
    """
    size = _size_of(header.weights)
    program = _program(network, size, header.dynamic)
    with whole_file(out) as temporary:
        torch.export.save(program, temporary, extra_files={"semdepth.json": json.dumps(metadata_of(header))})
        module = torch.export.load(temporary).module()
        return require_close(network, module, check_images(size, network.size_multiple, header.dynamic), "fp32")


def make_graph(network: DepthNetwork, size: tuple[int, int], dynamic: bool) -> Any:
    """Return the network as an ``onnx.ModelProto`` of opset 18, parameters inside.

    Raises:
        InputError: if torch cannot export it.
    """
    import onnxscript  # noqa: F401 - torch's exporter needs it, and says so less clearly

    program, outputs = _program(network, size, dynamic), output_names(network.config)
    with _quiet():
        try:
            exported = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, input_names=[IMAGE], output_names=outputs, verbose=False
            )
        except Exception as error:  # the exporter's own exceptions are many
            raise InputError(f"this network cannot be exported to ONNX ({first_line(error)})") from None
    assert exported is not None
    return exported.model_proto


def check_images(size: tuple[int, int], multiple: int, dynamic: bool) -> list[Tensor]:
    """Return the images of the check: blobs and noise, one and three at once, and of other sizes if those are taken."""
    sizes = [size, size]
    if dynamic:
        sizes += [(2 * multiple, 3 * multiple), (size[0] + multiple, size[1] + 2 * multiple)]
    generator = torch.Generator().manual_seed(0)
    images = []
    for batch, (height, width) in zip((1, 3, 1, 2), sizes, strict=False):
        coarse = torch.rand(batch, 3, height // 16, width // 16, generator=generator)
        blobs = F.interpolate(coarse, (height, width), mode="bilinear")
        images.append((0.8 * blobs + 0.2 * torch.rand(blobs.shape, generator=generator)).clamp(0, 1))
    return images


@torch.inference_mode()
def measure_difference(network: DepthNetwork, other: nn.Module, images: Iterable[Tensor]) -> Difference:
    """Compare what an export gives with what its network gives.

    Args:
        network: the original.
        other: ``OnnxNetwork``, or a module that gives what ``ImageToDisparity`` gives.
        images: each (B, 3, H, W) in [0, 1].
    """
    largest, means = 0.0, []
    for image in images:
        expected = ImageToDisparity(network)(image)
        found = ImageToDisparity(other)(image) if isinstance(other, DepthNetwork) else other(image)
        relative = (found[0] - expected[0]).abs() / expected[0]
        means.append(float(relative.mean()))
        largest = max(largest, float(relative.max()))
        for ours, theirs in zip(found[1:], expected[1:], strict=True):
            largest = max(largest, float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6)))
    return Difference(largest, sum(means) / len(means))


def require_close(network: DepthNetwork, other: nn.Module, images: Iterable[Tensor], precision: str) -> Difference:
    """Return how far an export is from its network; see ``measure_difference``.

    Raises:
        InputError: if that is more than ``LIMITS`` allow for its precision.
    """
    found = measure_difference(network, other, images)
    differs = found.largest if precision == "fp32" else found.mean
    if not differs <= LIMITS[precision]:  # also NaN
        raise InputError(
            f"the {precision} export differs from its network by {differs:.2g} (relative; at most {LIMITS[precision]:g} "
            "is allowed) and was not kept; try another --precision, --size or version of torch"
        )
    return found


def _size_of(header: WeightsHeader) -> tuple[int, int]:
    height, width = header.extra["image_size"]
    return int(height), int(width)


def keeping(images: Iterable[Tensor], kept: list[Tensor], count: int = 4) -> Iterator[Tensor]:
    """Pass the images on, the first ``count`` of them also into ``kept``."""
    for image in images:
        if len(kept) < count:
            kept.append(image)
        yield image


def _program(network: DepthNetwork, size: tuple[int, int], dynamic: bool) -> torch.export.ExportedProgram:
    multiple = network.size_multiple
    dimensions: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=4096)}
    if dynamic:
        for axis, name in ((2, "height"), (3, "width")):
            dimensions[axis] = multiple * torch.export.Dim(f"{name}_{multiple}", min=2, max=LARGEST_SIDE)
    # An example of size 2 or above in every free dimension: torch takes 0 and 1 for constants.
    example = torch.rand(2, 3, *(max(n, 3 * multiple) for n in size)) if dynamic else torch.rand(2, 3, *size)
    with _quiet():
        try:
            return torch.export.export(ImageToDisparity(network).eval(), (example,), dynamic_shapes=({**dimensions},))
        except Exception as error:  # torch's own exceptions are many
            raise InputError(f"this network cannot be exported ({first_line(error)}); try a fixed --size") from None


def _write(model: Any, header: ExportHeader, path: Path) -> None:
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata_of(header))
    onnx.save_model(model, str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' chatter from the user; their errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
