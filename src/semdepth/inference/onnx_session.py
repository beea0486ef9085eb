"""ONNX Runtime behind the predictor: an exported file in the place of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semdepth.hub import first_line
from semdepth.inference.onnx_file import DISPARITY, IMAGE, LOGITS, read_export_header
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError, choose_device
from semdepth.structures import NetworkOutput


class OnnxNetwork(DepthNetwork):
    """A depth network whose forward pass ONNX Runtime runs.

    It has the configuration and the call of a ``DepthNetwork``, which is all that prediction and judging use, and none of
    its layers: it can be neither trained nor saved. Only the finest scale is given.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        """Open an exported file.

        Args:
            path: a file that ``semdepth export`` wrote.
            device: auto, cpu, cuda ...: a CUDA device is used where the installed ONNX Runtime can, else the CPU.

        Raises:
            InputError: if the device is not there, or the file is missing, damaged, foreign or of a newer format.
            ModuleNotFoundError: if onnxruntime is not installed (the extra ``onnx``).
        """
        nn.Module.__init__(self)
        self.path = path
        self.header = read_export_header(path)
        self.config = self.header.weights.config
        self.session = _open_session(path, choose_device(device).type)
        outputs = [output.name for output in self.session.get_outputs()]
        expected = [DISPARITY] if self.config.fusion == "depth-only" else [DISPARITY, LOGITS]
        if outputs != expected or [value.name for value in self.session.get_inputs()] != [IMAGE]:
            raise InputError(f"{path}: its graph does not fit its own description; export it again")
        # Callers ask a network's parameters on which device its images are wanted: those of a session come from the CPU.
        self.placeholder = nn.Parameter(torch.empty(0), requires_grad=False)

    @property
    def size_multiple(self) -> int:
        """What H and W of the images must be multiples of (and at least twice)."""
        return self.header.size_multiple

    def forward(self, images: Tensor) -> NetworkOutput:
        """Predict.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; H and W those of the file or, if it is dynamic, multiples of
                ``size_multiple``, at least twice that.

        Raises:
            InputError: for other sizes, or if the graph turns out damaged.
        """
        height, width = images.shape[2:]
        fixed = tuple(self.header.weights.extra["image_size"])
        if not self.header.dynamic and (height, width) != fixed:
            raise InputError(f"image of {width}×{height}: this ONNX model was exported for {fixed[1]}×{fixed[0]} only")
        multiple = self.size_multiple
        if height % multiple or width % multiple or min(height, width) < 2 * multiple:
            raise InputError(
                f"image of {width}×{height}: the ONNX model takes multiples of {multiple} from {2 * multiple} up"
            )
        try:
            values = self.session.run(None, {IMAGE: np.ascontiguousarray(images.float().cpu().numpy())})
        except Exception as error:  # as in ``_open_session``: a damaged graph may show only when it is run
            raise InputError(
                f"{self.path}: ONNX Runtime cannot run it ({first_line(error)}); if it is damaged, export it again"
            ) from None
        disparity, *logits = (torch.from_numpy(value).to(images.device) for value in values)
        near, far = 1.0 / self.config.min_depth, 1.0 / self.config.max_depth
        sigma = ((disparity - far) / (near - far)).clamp(0.0, 1.0)
        return NetworkOutput((sigma,), (logits[0],) if logits else None)


def _open_session(path: Path, device: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised, and said in one line
    providers = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        # Falling back from the CPU to the CPU would only print the error, over several lines, before it is raised.
        fallback = int(len(providers) > 1)
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=fallback)
    except Exception as error:  # its exceptions have no common class of their own; the mend is the same
        raise InputError(f"{path}: ONNX Runtime cannot load it ({first_line(error)}); export it again") from None
