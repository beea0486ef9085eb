"""The motion of the camera between frames, from a trained pose network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from semdepth.geometry.rigid import pose_matrix
from semdepth.images import open_rgb
from semdepth.inference.opening import find_weights, trained_intrinsics, trained_size
from semdepth.models.pose_net import PoseNetwork
from semdepth.models.weights import load_depth_network, load_pose_network
from semdepth.runtime import InputError, choose_device


class MotionPredictor:
    """A pose network ready to use on consecutive frames of any size."""

    def __init__(
        self,
        network: PoseNetwork,
        image_size: tuple[int, int],
        device: str = "auto",
        camera: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Wrap ``network``; frames are resized to ``image_size`` (H, W), what it was trained at.

        ``camera`` is the (3, 3) that was learnt, in pixels of that size; needed where the focal length was.
        """
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.image_size = image_size
        self.camera = None if camera is None else torch.from_numpy(camera).float().to(self.device)[None]

    def motions(self, frames: Sequence[Path], progress: Callable[[], None] | None = None) -> npt.NDArray[np.float64]:
        """Predict the motion between each frame and the next.

        Args:
            frames: N ≥ 2 image files in temporal order.
            progress: called after each pair.

        Returns:
            (N − 1, 4, 4) ``later_from_earlier``: points of the earlier camera into the later; translations in the unit
            of the depth that the same weights predict.

        Raises:
            InputError: if there are fewer than two frames, or one cannot be read.
        """
        if len(frames) < 2:
            raise InputError(f"{len(frames)} frames make no motion; give at least two")
        found = []
        earlier = self._read(frames[0])
        for path in frames[1:]:
            later = self._read(path)
            found.append(self._between(earlier, later))
            earlier = later
            if progress is not None:
                progress()
        return np.stack(found)

    @torch.inference_mode()
    def _between(self, earlier: Tensor, later: Tensor) -> npt.NDArray[np.float64]:
        axis_angle, translation = self.network(earlier, later, self.camera)
        motion: npt.NDArray[np.float64] = pose_matrix(axis_angle.cpu().double(), translation.cpu().double())[0].numpy()
        return motion

    def _read(self, path: Path) -> Tensor:
        height, width = self.image_size
        pixels = np.array(open_rgb(path).resize((width, height), Image.Resampling.LANCZOS))
        return torch.from_numpy(pixels).to(self.device).permute(2, 0, 1)[None].float() / 255


def load_motion(path: str | Path, device: str = "auto") -> MotionPredictor:
    """Load the pose network of a run.

    Args:
        path: a run folder (its best weights, else its last) or a ``.safetensors`` file that semdepth wrote.
        device: auto, cpu, cuda, cuda:1, mps.

    Raises:
        InputError: if there are no such weights, the file is damaged or not ours, or it holds no pose network.
    """
    weights = find_weights(Path(path))
    depth_network, header = load_depth_network(weights)
    network, camera = load_pose_network(weights), trained_intrinsics(weights, header)
    if network.focal is not None and camera is None:
        raise InputError(
            f"{weights}: its focal length was learnt but is not stated; write it again with semdepth train"
        )
    return MotionPredictor(network, trained_size(weights, depth_network, header), device, camera)
