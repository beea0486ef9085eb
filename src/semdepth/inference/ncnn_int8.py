"""An ncnn model in 8 bits, in the form that ncnn's own tools write; those are not on the package index.

ncnn quantises symmetrically: weights per output channel, a convolution's input as a whole. A convolution with the parameter
``8=1`` has its weights in 8 bits and, behind its bias, what weights and input were multiplied by. All else stays in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from semdepth.inference.exported import files_of
from semdepth.inference.ncnn_model import INPUT, open_net
from semdepth.inference.quantise import FLOAT_SCOPES
from semdepth.runtime import InputError

FLOAT32, INT8 = bytes(4), (0x000D4B38).to_bytes(4, "little")
"""What stands before a layer's weights and says how they are stored."""
ALWAYS_THERE = ("disparity_heads.0", "class_heads.0", "fusions")
"""Those of ``FLOAT_SCOPES`` that every graph has; a coarser head may be left out."""
LEVELS, LEVELS_OF_WINOGRAD = 127, 31
"""The largest whole number that a value becomes. By Winograd's method the sums of larger weights can overflow: ncnn's own
tools give those 6 bits, too."""


@dataclass(frozen=True)
class Layer:
    """A line of the graph, and its piece of the weights."""

    kind: str
    name: str
    inputs: list[str]
    line: str
    parameters: dict[int, str]
    stored: bytes

    @property
    def kernel(self) -> bytes:
        """A convolution's weights, float32."""
        return self.stored[4 : 4 + 4 * int(self.parameters[6])]

    @property
    def is_winograd(self) -> bool:
        """Whether ncnn convolves by Winograd's method: 3×3, dilation and stride 1."""
        return [int(self.parameters.get(key, 1)) for key in (1, 2, 3)] == [3, 1, 1]


def quantise(param: Path, network: nn.Module, images: Iterable[Tensor]) -> None:
    """Put a model's convolutions into 8 bits, in place; those of ``FLOAT_SCOPES`` and grouped ones stay in float32.

    Args:
        param: the graph, as the converter wrote it, with its weights, in float32, beside it.
        network: what the model was made from.
        images: (1, 3, H, W) in [0, 1] of the model's size, from which the ranges of what convolutions see are taken.

    Raises:
        InputError: if the model has layers whose weights cannot be told apart, cannot run, or there are no images.
    """
    weights = files_of(param)[1]
    layers = read_layers(param, weights)
    kept = {
        name: module.weight.detach().numpy().tobytes()
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and name.startswith(FLOAT_SCOPES)
    }
    convolutions = [layer for layer in layers if layer.kind == "Convolution"]
    chosen = [layer for layer in convolutions if layer.kernel not in kept.values()]
    found = {layer.kernel for layer in convolutions}
    if any(kernel not in found for name, kernel in kept.items() if name.startswith(ALWAYS_THERE)):
        raise InputError("the heads of this network are not found in its ncnn model; use --format onnx for int8")
    largest = _largest_inputs(param, [layer.inputs[0] for layer in chosen], images)
    ranges = {layer.name: largest[layer.inputs[0]] for layer in chosen}
    lines = [f"{layer.line} 8=1" if layer.name in ranges else layer.line for layer in layers]
    head = param.read_text(encoding="utf-8").splitlines()[:2]
    param.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    weights.write_bytes(b"".join(_in_8_bits(x, ranges[x.name]) if x.name in ranges else x.stored for x in layers))


def read_layers(param: Path, weights: Path) -> list[Layer]:
    """Return a model's layers in order, each with what it has in the file of weights.

    Raises:
        InputError: if a layer has weights that this does not know the size of.
    """
    stored, at, layers = weights.read_bytes(), 0, []
    for line in param.read_text(encoding="utf-8").splitlines()[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        blobs = int(inputs) + int(outputs)
        pairs = (pair.split("=", 1) for pair in rest[blobs:])
        parameters = {int(key): value for key, value in pairs}
        size = _stored_bytes(kind, parameters)
        layers.append(Layer(kind, name, rest[: int(inputs)], line, parameters, stored[at : at + size]))
        at += size
    if at != len(stored) or any(x.kind == "Convolution" and x.stored[:4] != FLOAT32 for x in layers):
        raise InputError("this network has layers that cannot be put into 8 bits for ncnn; use --format onnx")
    return layers


def _stored_bytes(kind: str, parameters: dict[int, str]) -> int:
    """Return how many bytes a layer has in the file of weights (ncnn's wiki, "operation-param-weight-table")."""

    def number(key: int) -> int:
        return int(parameters.get(key, 0))

    if kind in ("Convolution", "ConvolutionDepthWise"):
        return 4 + 4 * number(6) + 4 * number(0) * number(5)
    if kind == "InnerProduct":
        return 4 + 4 * number(2) + 4 * number(0) * number(1)
    if kind in ("LayerNorm", "InstanceNorm"):
        return 8 * number(0) * int(parameters.get(2, 1))
    if kind == "MemoryData":
        return 4 * number(0) * max(1, number(1)) * max(1, number(11)) * max(1, number(2))
    return 0


def _in_8_bits(layer: Layer, largest_input: float) -> bytes:
    """Return what a quantised convolution has in the file of weights."""
    values: npt.NDArray[np.float32] = np.frombuffer(layer.kernel, dtype="<f4").reshape(int(layer.parameters[0]), -1)
    levels = LEVELS_OF_WINOGRAD if layer.is_winograd else LEVELS
    scales = levels / np.abs(values).max(axis=1, keepdims=True).clip(1e-9)
    small: bytes = np.rint(values * scales).astype(np.int8).tobytes()
    padding = bytes(-len(small) % 4)
    bias = layer.stored[4 + 4 * values.size :]
    multipliers = np.array([*scales[:, 0], LEVELS / max(largest_input, 1e-9)], dtype="<f4")
    return b"".join((INT8, small, padding, bias, multipliers.tobytes()))


def _largest_inputs(param: Path, blobs: list[str], images: Iterable[Tensor]) -> dict[str, float]:
    import ncnn

    net = open_net(param, keep_blobs=True)
    largest = dict.fromkeys(blobs, 0.0)
    image = None
    for image in images:
        pixels = np.ascontiguousarray(image[0].numpy())  # a Mat neither knows strides nor keeps what it was made of
        with net.create_extractor() as extractor:
            extractor.input(INPUT, ncnn.Mat(pixels).clone())
            for blob in blobs:
                code, values = extractor.extract(blob)
                if code:
                    raise InputError(f"ncnn cannot run this network up to {blob}; use --format onnx for int8")
                largest[blob] = max(largest[blob], float(np.abs(np.array(values)).max()))
    if image is None:
        raise InputError("no images to take the ranges of 8 bits from; give some")
    return largest
