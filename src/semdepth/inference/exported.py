"""An exported model in the place of a network: what the engines that run one have in common."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from semdepth.hub import first_line
from semdepth.inference.onnx_file import ExportHeader
from semdepth.models.folding import Arithmetic
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError
from semdepth.structures import NetworkOutput

Maps = npt.NDArray[np.float32]
ONNX, NCNN, PROGRAM = ".onnx", ".param", ".pt2"
"""Suffixes of what ``semdepth export`` writes."""


def files_of(weights: Path) -> tuple[Path, ...]:
    """Return the files that decide what ``weights`` predicts: itself and, of an ncnn model, its weights and description."""
    more = (".bin", ".json") if weights.suffix == NCNN else ()
    return (weights, *(weights.with_suffix(suffix) for suffix in more))


class ExportedNetwork(DepthNetwork):
    """A depth network whose forward pass another engine than torch runs.

    It has the configuration and the call of a ``DepthNetwork``, which is all that prediction and judging use, and none of
    its layers: it can be neither trained nor saved. Only the finest scale is given.
    """

    engine: str
    """Its name, for messages."""
    form: str
    """What its files are called, for messages."""
    precision: Arithmetic = "fp32"
    """What was asked for when it was opened; only some engines know another."""

    def __init__(self, path: Path, header: ExportHeader) -> None:
        """Take the file's path and what it says about itself."""
        nn.Module.__init__(self)
        self.path, self.header = path, header
        self.config = header.weights.config
        # Callers ask a network's parameters on which device its images are wanted: those of an engine come from the CPU.
        self.placeholder = nn.Parameter(torch.empty(0), requires_grad=False)

    @abstractmethod
    def run(self, images: Maps) -> list[Maps]:
        """Return disparity (B, 1, H, W) and, with a segmentation branch, logits (B, C, H, W) of (B, 3, H, W) images."""

    @property
    def size_multiple(self) -> int:
        """What H and W of the images must be multiples of (and at least twice)."""
        return self.header.size_multiple

    def require_guidable(self) -> None:
        """Refuse a guide.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.path}: an exported model cannot be guided by labels; give the weights")

    def forward(self, images: Tensor, guide: Tensor | None = None) -> NetworkOutput:
        """Predict.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; H and W those of the file or, if it is dynamic, multiples of
                ``size_multiple``, at least twice that.
            guide: not looked at (``require_guidable``).

        Raises:
            InputError: for other sizes, or if the graph turns out damaged.
        """
        height, width = images.shape[2:]
        fixed = tuple(self.header.weights.extra["image_size"])
        if not self.header.dynamic and (height, width) != fixed:
            raise InputError(
                f"image of {width}×{height}: this {self.form} model was exported for {fixed[1]}×{fixed[0]} only"
            )
        multiple = self.size_multiple
        if height % multiple or width % multiple or min(height, width) < 2 * multiple:
            raise InputError(
                f"image of {width}×{height}: the {self.form} model takes multiples of {multiple} from {2 * multiple} up"
            )
        try:
            values = self.run(np.ascontiguousarray(images.float().cpu().numpy()))
        except Exception as error:  # engines' errors have no common class; damage may show only now
            raise InputError(
                f"{self.path}: {self.engine} cannot run it ({first_line(error)}); if it is damaged, export it again"
            ) from None
        disparity, *logits = (torch.from_numpy(value).to(images.device) for value in values)
        near, far = 1.0 / self.config.min_depth, 1.0 / self.config.max_depth
        sigma = ((disparity - far) / (near - far)).clamp(0.0, 1.0)
        return NetworkOutput((sigma,), (logits[0],) if logits else None)
