"""OpenVINO behind the predictor: the fastest engine for an exported ONNX file on a CPU, above all for one in 8 bits."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch

from semdepth.hub import first_line
from semdepth.inference.exported import ExportedNetwork, Maps
from semdepth.inference.onnx_file import IMAGE, output_names, read_export_header
from semdepth.models.folding import Arithmetic
from semdepth.runtime import InputError, logger

SHAPES_KEPT = 4
"""For how many shapes of a batch the compiled graph is kept; compiling takes some tenths of a second."""

HINTS: dict[Arithmetic, str] = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's own choice would be bf16 where the processor has it. Where it has none, it imitates it or stays in float32."""

PLACES = (
    "Exception from",
    "Check '",
    "FrontEnd API failed",
    "Model wasn't fully",
    "Loading input model",
    "While validating",
    "-- ",
)
"""How the lines of its reports begin that say where, not what."""


class OpenvinoNetwork(ExportedNetwork):
    """A depth network that OpenVINO runs on the CPU, with as many threads as torch has.

    Every shape of a batch has a graph of its own: compiled for any shape, it is slower.
    """

    engine, form = "OpenVINO", "ONNX"

    def __init__(self, path: Path, precision: Arithmetic = "fp32") -> None:
        """Open an exported file.

        Args:
            path: a file that ``semdepth export`` wrote.
            precision: what is computed in that the file does not have in 8 bits.

        Raises:
            InputError: if it is missing, damaged, foreign or of a newer format.
            ModuleNotFoundError: if openvino is not installed (the extra ``openvino``).
        """
        super().__init__(path, read_export_header(path))
        self.core, self.model = _read_model(path)
        self.precision = precision
        self.outputs = output_names(self.config)
        found = [[port.any_name for port in ports] for ports in (self.model.inputs, self.model.outputs)]
        if found != [[IMAGE], self.outputs]:
            raise InputError(f"{path}: its graph does not fit its own description; export it again")
        self.requests: dict[tuple[int, ...], Any] = {}
        self.lock = Lock()  # a request holds the maps of a single pass

    def run(self, images: Maps) -> list[Maps]:
        """Run the graph that is compiled for the images' shape."""
        with self.lock:
            try:
                request = self._request(images.shape)
                request.infer({IMAGE: images}, share_inputs=True, share_outputs=True)
            except Exception as error:
                raise RuntimeError(_reason(error)) from None
            return [np.array(request.get_tensor(name).data) for name in self.outputs]

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape in self.requests:
            self.requests[shape] = self.requests.pop(shape)  # the one used last is the last to go
        else:
            model = self.model.clone()
            model.reshape(list(shape))
            settings = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "INFERENCE_PRECISION_HINT": HINTS[self.precision],
                "ENABLE_CPU_PINNING": False,  # or processes side by side would share a core
            }
            while len(self.requests) >= SHAPES_KEPT:
                del self.requests[next(iter(self.requests))]
            self.requests[shape] = self.core.compile_model(model, "CPU", settings).create_infer_request()
        return self.requests[shape]


def is_usable() -> bool:
    """Return whether OpenVINO is installed, and whole."""
    try:
        import openvino
    except ModuleNotFoundError:
        return False
    except (ImportError, OSError, RuntimeError) as error:
        logger.warning("OpenVINO cannot be loaded (%s); ONNX Runtime takes its place", first_line(error))
        return False
    return hasattr(openvino, "Core")  # any folder of that name can be imported


def _read_model(path: Path) -> tuple[Any, Any]:
    import openvino

    core = openvino.Core()
    try:
        return core, core.read_model(path)
    except Exception as error:  # what it raises for a damaged graph is no class of its own
        raise InputError(f"{path}: OpenVINO cannot load it ({_reason(error)}); export it again") from None


def _reason(error: Exception) -> str:
    """Return the line of OpenVINO's report that says what is wrong: it begins with places in its own source."""
    lines = (line.strip() for line in str(error).splitlines())
    telling = [line for line in lines if line and not line.startswith(PLACES)]
    return telling[0].rstrip(".") if telling else first_line(error)
