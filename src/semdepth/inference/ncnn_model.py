"""A network for ncnn, which runs on phones, boards and PCs and convolves by Winograd's method: written, and read back.

Three files: ``NAME.ncnn.param`` (the graph), ``NAME.ncnn.bin`` (the weights), both ncnn's own, and ``NAME.ncnn.json``, which says
what the metadata of an ONNX file says, and what the other two must hash to.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semdepth.hub import first_line
from semdepth.inference.export import Difference, check_images, make_graph, require_close
from semdepth.inference.exported import ExportedNetwork, Maps, files_of
from semdepth.inference.files import digest_of, whole_file
from semdepth.inference.onnx_file import HEADER_KEY, ExportHeader, metadata_of, parse_export_header
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError, parse_json, require_file

INPUT, OUTPUTS = "in0", ("out0", "out1")
"""What the converter calls image, disparity and logits."""
MAX_HEADER_BYTES = 2**20
CONVERSION_SECONDS = 600


class NcnnNetwork(ExportedNetwork):
    """A depth network that ncnn runs on the CPU, in float32, with as many threads as torch has."""

    engine, form = "ncnn", "ncnn"

    def __init__(self, path: Path) -> None:
        """Open ``NAME.ncnn.param`` and the two files beside it.

        Raises:
            InputError: if one of them is missing, damaged, foreign or of a newer format.
            ModuleNotFoundError: if ncnn is not installed (the extra ``ncnn``).
        """
        super().__init__(path, read_ncnn_header(path))
        import ncnn

        self.net = ncnn.Net()
        self.net.opt.num_threads = torch.get_num_threads()
        for reduced in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(self.net.opt, reduced, False)
        _, weights, _ = files_of(path)
        if self.net.load_param(str(path)) or self.net.load_model(str(weights)):
            raise InputError(f"{path}: ncnn cannot load it; export it again")
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
    if header.dynamic or header.precision != "fp32":
        raise InputError(f"{description}: says what no ncnn model of semdepth is; export the network again")
    return header


def describe(header: ExportHeader, files: Sequence[Path]) -> dict[str, Any]:
    """Return what ``NAME.ncnn.json`` holds of a graph and its weights, ``files``."""
    facts = {key: parse_json(value) for key, value in metadata_of(header).items()}
    return facts | {"sha256": {file.suffix[1:]: digest_of([file]) for file in files}}


def export_ncnn(network: DepthNetwork, header: ExportHeader, out: Path) -> Difference:
    """Write the three files, the description last, if what they predict agrees with the network.

    What a crash leaves between two of them is refused: their hashes differ from the description's.

    Args:
        network: in eval mode, on the CPU.
        header: of the files: fp32, of fixed size.
        out: ``NAME.ncnn.param``; the others stand beside it. Existing ones are replaced.

    Returns:
        How far the model's outputs are from the network's.

    Raises:
        InputError: if the network cannot be converted, the two differ too much, or a file cannot be written.
        ModuleNotFoundError: if ncnn, pnnx, onnx or onnxscript is not installed (the extra ``ncnn``).
    """
    height, width = header.weights.extra["image_size"]
    targets = files_of(out)
    if folders := [target for target in targets if target.is_dir()]:
        raise InputError(f"{folders[0]}: is a folder where a file is to be written; choose another --out")
    with tempfile.TemporaryDirectory(prefix="semdepth_") as folder:
        made = _convert(network, (height, width), Path(folder))
        made[2].write_text(json.dumps(describe(header, made[:2]), indent=1), encoding="utf-8")
        samples = check_images((height, width), network.size_multiple, dynamic=False)
        found = require_close(network, NcnnNetwork(made[0]), samples, "fp32")
        with ExitStack() as stack:  # unwound in reverse: graph, weights, description
            for source, target in reversed(list(zip(made, targets, strict=True))):
                shutil.copyfile(source, stack.enter_context(whole_file(target)))
    return found


def _convert(network: DepthNetwork, size: tuple[int, int], folder: Path) -> tuple[Path, ...]:
    """Write ncnn's two files of the network into a folder; return the paths of all three."""
    import onnx
    import pnnx

    from semdepth.inference.quantise import strip

    model = make_graph(network, size, dynamic=False)
    strip(model)
    source = folder / "model.onnx"
    onnx.save_model(model, str(source))
    try:
        done = subprocess.run(
            [pnnx.EXEC_PATH, source.name, "fp16=0"],
            cwd=folder, capture_output=True, text=True, errors="replace", timeout=CONVERSION_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"pnnx, which converts to ncnn, cannot run ({first_line(error)}); install it again") from None
    files = files_of(folder / "model.ncnn.param")
    if done.returncode or not all(file.exists() for file in files[:2]):
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise InputError(f"this network cannot be converted to ncnn ({last[0]}); export it as ONNX")
    return files
