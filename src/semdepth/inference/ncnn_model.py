"""A network that ncnn runs, which is made for phones, boards and PCs and convolves by Winograd's method.

Three files: ``NAME.ncnn.param`` (the graph), ``NAME.ncnn.bin`` (the weights), both ncnn's own, and ``NAME.ncnn.json``, which says
what the metadata of an ONNX file says, and what the other two must hash to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semdepth.inference.exported import ExportedNetwork, Maps, files_of
from semdepth.inference.files import digest_of
from semdepth.inference.onnx_file import HEADER_KEY, ExportHeader, parse_export_header
from semdepth.runtime import InputError, parse_json, require_file

INPUT, OUTPUTS = "in0", ("out0", "out1")
"""What the converter calls image, disparity and logits."""
PRECISIONS = ("fp32", "int8")
MAX_HEADER_BYTES = 2**20


class NcnnNetwork(ExportedNetwork):
    """A depth network that ncnn runs on the CPU, in float32 or 8 bits, with as many threads as torch has."""

    engine, form = "ncnn", "ncnn"

    def __init__(self, path: Path) -> None:
        """Open ``NAME.ncnn.param`` and the two files beside it.

        Raises:
            InputError: if one of them is missing, damaged, foreign or of a newer format.
            ModuleNotFoundError: if ncnn is not installed (the extra ``ncnn``).
        """
        super().__init__(path, read_ncnn_header(path))
        self.net = open_net(path)
        self.outputs = OUTPUTS[: 1 if self.config.fusion == "depth-only" else 2]
        if set(self.net.output_names()) != set(self.outputs) or list(self.net.input_names()) != [INPUT]:
            raise InputError(f"{path}: its graph does not fit its own description; export it again")

    def run(self, images: Maps) -> list[Maps]:
        """Run image by image: ncnn knows no batch."""
        found: list[list[Maps]] = [self._run_one(image) for image in images]
        return [np.stack(maps) for maps in zip(*found, strict=True)]

    def _run_one(self, image: Maps) -> list[Maps]:
        import ncnn

        with self.net.create_extractor() as extractor:
            extractor.input(INPUT, ncnn.Mat(image).clone())
            results = [extractor.extract(name) for name in self.outputs]
            if any(code for code, _ in results):
                raise RuntimeError("a layer fails")
            maps = [np.array(value, dtype=np.float32) for _, value in results]
        if any(values.shape[1:] != image.shape[1:] for values in maps):
            raise RuntimeError("maps of another size than the image")
        return maps


def open_net(param: Path, keep_blobs: bool = False) -> Any:
    """Return the ``ncnn.Net`` of a graph and the weights beside it; what is not in 8 bits it works out in float32.

    Args:
        param: ``NAME.ncnn.param``.
        keep_blobs: let every blob of a pass be looked at, not only the outputs.

    Raises:
        InputError: if ncnn does not take the files.
        ModuleNotFoundError: if ncnn is not installed (the extra ``ncnn``).
    """
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = torch.get_num_threads()
    net.opt.lightmode = not keep_blobs
    for reduced in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, reduced, False)
    if net.load_param(str(param)) or net.load_model(str(files_of(param)[1])):
        raise InputError(f"{param}: ncnn cannot load it; export it again")
    return net


def read_ncnn_header(param: Path) -> ExportHeader:
    """Return what ``NAME.ncnn.json`` says, once both other files are what it says they are.

    Raises:
        InputError: if a file is missing, damaged, foreign or of a newer format.
    """
    _, weights, description = files_of(param)
    for file in (param, weights, description):
        require_file(file, "file of an ncnn model")
    try:
        if description.stat().st_size > MAX_HEADER_BYTES:
            raise ValueError("too large")
        facts = parse_json(description.read_text(encoding="utf-8"))
        hashes, entry = facts["sha256"], facts[HEADER_KEY]
        wanted = {file: hashes[file.suffix[1:]] for file in (param, weights)}
        text = json.dumps(entry)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{description}: is no description by semdepth export; export the network again") from None
    for file, expected in wanted.items():
        if digest_of([file]) != expected:
            raise InputError(f"{file}: is damaged, or of another export than {description.name}; export it again")
    header = parse_export_header(description, text)
    if header.dynamic or header.precision not in PRECISIONS:
        raise InputError(f"{description}: says what no ncnn model of semdepth is; export the network again")
    return header
