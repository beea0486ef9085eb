"""Half-precision and 8-bit ONNX graphs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from semdepth.images import read_image
from semdepth.inference.onnx_file import IMAGE
from semdepth.runtime import InputError, logger

FLOAT_SCOPES = ("disparity_heads", "class_heads", "fusions")
"""Parts of the network whose convolutions stay in float32: what they give is what is judged, or scales features."""
_SCOPES = "pkg.torch.onnx.name_scopes"
"""Under which key torch's exporter says which module a node comes from."""


def float_nodes(model: Any) -> list[str]:
    """Return the names of the nodes that stay in float32: those of ``FLOAT_SCOPES``, and all after the sigmoid.

    Args:
        model: ``onnx.ModelProto``, as torch's exporter made it.
    """
    names = []
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "")
        if any(scope in scopes for scope in FLOAT_SCOPES) or scopes.count(",") <= 1:  # the outermost module's own
            names.append(node.name)
    return names


def strip(model: Any) -> None:
    """Take out what torch's exporter notes about its own run: stack traces with the paths of the machine it ran on."""
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer, graph):
        del part.metadata_props[:]
        part.doc_string = ""
    model.doc_string = ""


def to_fp16(model: Any, kept: list[str]) -> Any:
    """Return the graph in half precision, inputs and outputs in float32.

    Args:
        model: ``onnx.ModelProto`` in float32.
        kept: names of nodes that stay in float32.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)


def to_int8(path: Path, kept: list[str], images: Iterable[Tensor]) -> Any:
    """Return the graph of a file in static 8 bits (QDQ, weights per channel), ranges from the images.

    Weights take 7 of their 8 bits: without VNNI, products of 8 and 8 bits saturate, and one file shall give the same on
    every processor.

    Args:
        path: ONNX model in float32.
        kept: names of nodes that stay in float32.
        images: (1, 3, H, W) in [0, 1].
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice about steps that are taken here
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(written),
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
            )
            return onnx.load(str(written))
    finally:
        logging.disable(level)


def calibration_images(paths: Iterable[Path], size: tuple[int, int]) -> Iterator[Tensor]:
    """Yield (1, 3, H, W) images in [0, 1] as the predictor sees them; those that cannot be read are passed over.

    Raises:
        InputError: if none can be read.
    """
    height, width = size
    read = 0
    path = None
    for path in paths:
        try:
            pixels = Image.fromarray(read_image(path)).resize((width, height), Image.Resampling.LANCZOS)
        except InputError as error:
            logger.warning("%s", error)
            continue
        read += 1
        yield torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    if read == 0:
        raise InputError(
            f"{path.parent if path else 'calibration'}: none of its images can be read; give PNG or JPEG files"
        )


class _Reader:
    """Images in the form that ONNX Runtime's calibration asks for."""

    def __init__(self, images: Iterable[Tensor]) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {IMAGE: image.numpy()}
