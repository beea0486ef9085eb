"""What an exported ONNX file says about itself, read without ONNX: nothing of a foreign file is ever built or run.

The graph takes ``image`` and gives ``disparity`` and, with a segmentation branch, ``logits``; docs/deployment.md states
names, shapes and ranges. What the weights file knew stands in the model's ``metadata_props``.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semdepth.labels import CLASSES
from semdepth.models.network import NetworkConfig
from semdepth.models.weights import WeightsHeader, header_entry, parse_header
from semdepth.runtime import InputError, parse_json, require_file

Precision = Literal["fp32", "fp16", "int8"]
IMAGE, DISPARITY, LOGITS = "image", "disparity", "logits"
"""Names of the graph's input and outputs."""
MAX_BYTES = 2**31 - 1
"""protobuf's own limit; larger models need files beside them, which semdepth never writes."""
EXPORT_VERSION = 1
HEADER_KEY = "semdepth"
"""The entry of the metadata that semdepth itself reads."""
_METADATA_PROPS = 14
"""Field of ModelProto in onnx.proto; each entry has its key in field 1 and its value in field 2."""


@dataclass(frozen=True)
class ExportHeader:
    """What an exported file says about itself."""

    weights: WeightsHeader
    """Of the weights; ``extra["image_size"]`` (H, W) and ``extra["intrinsics"]`` are those of the exported graph."""
    size_multiple: int
    """What H and W of the images must be multiples of."""
    dynamic: bool
    """Whether the graph takes other sizes than ``image_size``; any number of images it always takes."""
    precision: Precision
    """Of weights and arithmetic; inputs and outputs are float32 always."""


def output_names(config: NetworkConfig) -> list[str]:
    """Return what the graph of a network gives, in order."""
    return [DISPARITY] if config.fusion == "depth-only" else [DISPARITY, LOGITS]


def metadata_of(header: ExportHeader) -> dict[str, str]:
    """Return the entries of ``metadata_props``: ``semdepth`` is for semdepth, the others for whoever deploys the file."""
    config, extra = header.weights.config, header.weights.extra
    own = {
        "export_version": EXPORT_VERSION,
        "size_multiple": header.size_multiple,
        "dynamic": header.dynamic,
        "precision": header.precision,
        "weights": header_entry(header.weights),
    }
    two_branches = config.fusion != "depth-only"
    classes = [c.name for c in CLASSES] if two_branches and config.num_classes == len(CLASSES) else None
    shown = {
        "image_size": extra["image_size"],
        "size_multiple": header.size_multiple,
        "depth_range": [config.min_depth, config.max_depth],
        "intrinsics": extra.get("intrinsics"),
        "classes": classes,
        "precision": header.precision,
        "version": header.weights.package_version,
    }
    return {HEADER_KEY: json.dumps(own)} | {key: json.dumps(value) for key, value in shown.items() if value is not None}


def read_export_header(path: Path) -> ExportHeader:
    """Return what an ONNX file that semdepth wrote says about itself.

    Raises:
        InputError: if it is missing, damaged, foreign, over 2 GB, or of a newer format.
    """
    entry = _read_metadata(path).get(HEADER_KEY)
    if entry is None:
        raise InputError(f"{path}: ONNX, but not from semdepth (no header); use a file that semdepth export wrote")
    return parse_export_header(path, entry)


def parse_export_header(path: Path, entry: str) -> ExportHeader:
    """Return what the entry ``semdepth`` of ``metadata_of`` says.

    Raises:
        InputError: naming ``path``, if the entry is damaged or of a newer format.
    """
    try:
        raw = parse_json(entry)
        if raw["export_version"] > EXPORT_VERSION:
            raise InputError(f"{path}: export format {raw['export_version']} is newer than this semdepth; upgrade it")
        if raw["precision"] not in ("fp32", "fp16", "int8") or not isinstance(raw["dynamic"], bool):
            raise ValueError("precision or dynamic")
        weights = parse_header(path, raw["weights"])
        multiple, (height, width) = raw["size_multiple"], weights.extra["image_size"]
        if not multiple > 0 or height % multiple or width % multiple or min(height, width) < 2 * multiple:
            raise ValueError(f"image size {width}×{height} of multiples of {multiple}")
        return ExportHeader(weights, multiple, raw["dynamic"], raw["precision"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: damaged semdepth header ({error}); export it again") from None


def _read_metadata(path: Path) -> dict[str, str]:
    """Return the model's ``metadata_props``, passing over the graph unread."""
    require_file(path, "ONNX model")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: ONNX model of over 2 GB; use a file that semdepth export wrote")
    found: dict[str, str] = {}
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for field, first, last in _fields(data, 0, len(data)):
                if field == _METADATA_PROPS:
                    parts = {inner: data[a:b].decode() for inner, a, b in _fields(data, first, last)}
                    found[parts[1]] = parts[2]
    except OSError as error:
        raise InputError(f"{path}: ONNX model cannot be read ({error.strerror}); copy it again") from None
    except (ValueError, KeyError, IndexError):
        raise InputError(f"{path}: is no whole ONNX model; copy it again or export it again") from None
    return found


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, first byte, byte after the last) of the protobuf message in ``data[at:end]``.

    Raises:
        ValueError: if that is no such message.
    """
    while at < end:
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            last = _varint(data, at, end)[1]
        elif kind == 2:
            length, at = _varint(data, at, end)
            last = at + length
        elif kind in (1, 5):
            last = at + (8 if kind == 1 else 4)
        else:
            raise ValueError("unknown wire type")
        if number == 0 or last > end:
            raise ValueError("field outside its message")
        yield number, at, last
        at = last


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("endless number")
