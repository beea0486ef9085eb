"""ONNX Runtime behind the predictor: an exported file in the place of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from semdepth.hub import first_line
from semdepth.inference.exported import ExportedNetwork, Maps
from semdepth.inference.onnx_file import IMAGE, output_names, read_export_header
from semdepth.runtime import InputError, choose_device


class OnnxNetwork(ExportedNetwork):
    """A depth network that ONNX Runtime runs."""

    engine, form = "ONNX Runtime", "ONNX"

    def __init__(self, path: Path, device: str = "auto") -> None:
        """Open an exported file.

        Args:
            path: a file that ``semdepth export`` wrote.
            device: auto, cpu, cuda ...: a CUDA device is used where the installed ONNX Runtime can, else the CPU.

        Raises:
            InputError: if the device is not there, or the file is missing, damaged, foreign or of a newer format.
            ModuleNotFoundError: if onnxruntime is not installed (the extra ``onnx``).
        """
        super().__init__(path, read_export_header(path))
        self.session = _open_session(path, choose_device(device).type)
        outputs = [output.name for output in self.session.get_outputs()]
        if outputs != output_names(self.config) or [value.name for value in self.session.get_inputs()] != [IMAGE]:
            raise InputError(f"{path}: its graph does not fit its own description; export it again")

    def run(self, images: Maps) -> list[Maps]:
        """Run the session."""
        values: list[Maps] = self.session.run(None, {IMAGE: images})
        return values


def has_cuda() -> bool:
    """Return whether ONNX Runtime is installed, and is the one for CUDA."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _open_session(path: Path, device: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised, and said in one line
    providers = ["CPUExecutionProvider"]
    if device == "cuda" and has_cuda():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        # Falling back from the CPU to the CPU would only print the error, over several lines, before it is raised.
        fallback = int(len(providers) > 1)
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=fallback)
    except Exception as error:  # its exceptions have no common class of their own; the mend is the same
        raise InputError(f"{path}: ONNX Runtime cannot load it ({first_line(error)}); export it again") from None
