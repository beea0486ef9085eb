"""A trained network as a model for ncnn, checked against the network itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from semdepth.hub import first_line
from semdepth.inference.export import Difference, check_images, keeping, make_graph, require_close
from semdepth.inference.exported import files_of
from semdepth.inference.files import digest_of, whole_file
from semdepth.inference.ncnn_int8 import quantise
from semdepth.inference.ncnn_model import NcnnNetwork
from semdepth.inference.onnx_file import ExportHeader, metadata_of
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError, parse_json

CONVERSION_SECONDS = 600


def describe(header: ExportHeader, files: Sequence[Path]) -> dict[str, Any]:
    """Return what ``NAME.ncnn.json`` holds of a graph and its weights, ``files``."""
    facts = {key: parse_json(value) for key, value in metadata_of(header).items()}
    return facts | {"sha256": {file.suffix[1:]: digest_of([file]) for file in files}}


def export_ncnn(
    network: DepthNetwork, header: ExportHeader, out: Path, calibration: Iterable[Tensor] = ()
) -> Difference:
    """Write the three files, the description last, if what they predict agrees with the network.

    What a crash leaves between two of them is refused: their hashes differ from the description's.

    Args:
        network: in eval mode, on the CPU.
        header: of the files: fp32 or int8, of fixed size.
        out: ``NAME.ncnn.param``; the others stand beside it. Existing ones are replaced.
        calibration: int8: (1, 3, H, W) images of the header's size in [0, 1].

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
        samples = check_images((height, width), network.size_multiple, dynamic=False)
        found = _checked(network, replace(header, precision="fp32"), made, samples)
        if header.precision == "int8":
            samples = []
            quantise(made[0], network, keeping(calibration, samples))
            found = _checked(network, header, made, samples)
        with ExitStack() as stack:  # unwound in reverse: graph, weights, description
            for source, target in reversed(list(zip(made, targets, strict=True))):
                shutil.copyfile(source, stack.enter_context(whole_file(target)))
    return found


def _checked(network: DepthNetwork, header: ExportHeader, files: tuple[Path, ...], samples: list[Tensor]) -> Difference:
    """Write the description beside graph and weights, and return how far the model is from the network.

    Raises:
        InputError: if that is too far.
    """
    files[2].write_text(json.dumps(describe(header, files[:2]), indent=1), encoding="utf-8")
    return require_close(network, NcnnNetwork(files[0]), samples, header.precision)


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
