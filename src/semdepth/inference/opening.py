"""From a name (a run folder, a file, an address on the hub, the box) to a network that is ready to predict with."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from semdepth.hub import fetch, hub_address
from semdepth.inference import onnx_session, openvino_model
from semdepth.inference.box import boxed
from semdepth.inference.exported import NCNN, ONNX, PROGRAM, ExportedNetwork
from semdepth.models.folding import Arithmetic, make_fast
from semdepth.models.network import DepthNetwork
from semdepth.models.weights import WeightsHeader, load_depth_network
from semdepth.runtime import InputError, choose_device

WEIGHTS = ("best.safetensors", "weights.safetensors")
"""Files of a run folder that prediction looks for, in this order."""


def find_weights(source: str | Path | None) -> Path:
    """Return the weights file that a run folder, the file itself, an address on the hub, or a name in the box stands for.

    Raises:
        InputError: if there is none.
    """
    source = boxed(source)
    if (address := hub_address(source)) is not None:
        if str(address.file).endswith(NCNN):
            raise InputError(
                f"{address}: the three files of an ncnn model are not fetched; download them, and give the path"
            )
        return fetch(address, WEIGHTS[::-1])  # a pushed run has one file, whose name says nothing of best or last
    path = Path(source)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such run folder or weights file; semdepth train writes one")
        return path
    for name in WEIGHTS:
        if (path / name).exists():
            return path / name
    raise InputError(f"{path}: holds none of {', '.join(WEIGHTS)}; is it a run folder whose training has begun?")


def open_network(
    path: Path, device: str = "auto", precision: Arithmetic = "fp32"
) -> tuple[DepthNetwork, WeightsHeader]:
    """Return the network of a ``.safetensors``, or an exported ``.onnx`` or ``.ncnn.param`` file, and what it says about itself.

    It is made ready to predict with: it can be neither trained nor saved.

    Raises:
        InputError: if the file is missing, damaged or not ours, or what runs it cannot compute in this precision.
    """
    if precision not in get_args(Arithmetic):
        raise InputError(f"precision {precision!r}: is unknown; choose fp32 or bf16")
    if path.suffix == PROGRAM:
        raise InputError(
            f"{path}: a torch.export program is for torch.export.load in your own code; give the run folder, weights or ONNX"
        )
    network: ExportedNetwork
    if path.suffix == ONNX:
        network = _open_onnx(path, device, precision)
    elif path.suffix == NCNN:
        from semdepth.inference.ncnn_model import NcnnNetwork

        choose_device(device)  # refuses what is not there; ncnn runs on the CPU
        network = NcnnNetwork(path)
    else:
        trained, header = load_depth_network(path)
        make_fast(trained, precision)
        return trained, header
    if precision != network.precision:
        raise InputError(
            f"{path}: {network.engine} computes in the precision that the file was exported in; for bf16 give the weights, "
            "or an ONNX file on a CPU with OpenVINO (pip install 'semdepth[openvino]')"
        )
    return network, network.header.weights


def _open_onnx(path: Path, device: str, precision: Arithmetic) -> ExportedNetwork:
    """Give a file to OpenVINO, which is the faster on a CPU, where that is installed, else to ONNX Runtime."""
    on_gpu = choose_device(device).type == "cuda" and onnx_session.has_cuda()
    if not on_gpu and openvino_model.is_usable():
        return openvino_model.OpenvinoNetwork(path, precision)
    return onnx_session.OnnxNetwork(path, device)


def trained_size(path: Path, network: DepthNetwork, header: WeightsHeader) -> tuple[int, int]:
    """Return the (H, W) that a weights file says its network was trained at.

    Raises:
        InputError: if it does not say, or the network takes no images of that size.
    """
    size = header.extra.get("image_size")
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise InputError(f"{path}: does not say the image size it was trained at; write it again with semdepth train")
    multiple = network.size_multiple
    if any(n % multiple or n < 2 * multiple for n in size):
        raise InputError(
            f"{path}: says an image size of {size[1]}×{size[0]}, but its network takes multiples of {multiple} from "
            f"{2 * multiple} up; use an untouched file"
        )
    return size[0], size[1]


def trained_intrinsics(path: Path, header: WeightsHeader) -> npt.NDArray[np.float64] | None:
    """Return the (3, 3) intrinsics, in pixels of the training size, that a weights file says its camera had, if it does.

    Raises:
        InputError: if what it says are no intrinsics.
    """
    stated = header.extra.get("intrinsics")
    if stated is None:
        return None
    try:
        matrix = np.array(stated, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise InputError(f"{path}: states intrinsics that are no 3×3 camera matrix; use an untouched file")
    return matrix
