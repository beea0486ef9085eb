"""What ``semdepth predict`` does with every image and every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from semdepth.apps.metric_scale import MetricScale
from semdepth.inference.cameras import Cameras
from semdepth.inference.outputs import NEED_CAMERA, write_prediction
from semdepth.inference.predictor import Predictor
from semdepth.structures import Prediction


@dataclass(frozen=True)
class Job:
    """What is done with every image and every frame."""

    predictor: Predictor
    cameras: Cameras
    outputs: tuple[str, ...]
    """Files of an image; of a video's frames, too, if they were asked for."""
    batch: int
    flip: bool
    every: int
    camera_height: float | None
    max_depth: float | None

    def metric(self) -> MetricScale | None:
        """Return what brings a sequence to metres, if the camera's height is known."""
        if self.camera_height is None:
            return None
        return MetricScale(self.camera_height, self.cameras, self.predictor.network)

    def camera(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64] | None:
        """Return the intrinsics of an image, where a file of it needs them."""
        return self.cameras.matrix((pixels.shape[0], pixels.shape[1])) if NEED_CAMERA & set(self.outputs) else None

    def write(self, stem: Path, pixels: npt.NDArray[np.uint8], prediction: Prediction) -> None:
        """Write the files of an image or a frame."""
        write_prediction(stem, pixels, prediction, self.outputs, self.camera(pixels), self.max_depth)


def say(line: str) -> None:
    """Print a line, whatever its width."""
    Console().print(line, highlight=False, soft_wrap=True)
