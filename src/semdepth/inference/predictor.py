"""The one path from an image to its depth: command line, Python and demo all come through here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from semdepth.entropy import normalised_entropy
from semdepth.geometry.camera import disparity_to_depth, resize_intrinsics
from semdepth.images import as_rgb, read_image
from semdepth.inference.box import boxed
from semdepth.inference.exported import ExportedNetwork
from semdepth.inference.metric import RoadCamera, in_metres, require_segmentation, road_plane
from semdepth.inference.opening import find_weights, open_network, trained_intrinsics, trained_size
from semdepth.models.folding import Arithmetic
from semdepth.models.network import DepthNetwork
from semdepth.models.ssfa import guide_from_labels
from semdepth.runtime import InputError, choose_device
from semdepth.structures import NetworkOutput, Prediction

Picture: TypeAlias = str | Path | Image.Image | npt.NDArray[np.generic]
"""What ``predict`` takes: a path, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4), uint8, uint16, or float in [0, 1]."""
Labels: TypeAlias = npt.NDArray[np.uint8]
"""(H, W) trainIds of an image, 255 = unknown."""
Segment: TypeAlias = Callable[[npt.NDArray[np.uint8]], Labels]
"""From (H, W, 3) uint8 RGB to its labels."""


class Predictor:
    """A depth network ready to use on images of any size."""

    def __init__(
        self,
        network: DepthNetwork,
        image_size: tuple[int, int],
        device: str = "auto",
        camera: RoadCamera | None = None,
        intrinsics: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Wrap ``network``.

        Args:
            network: any, on any device.
            image_size: (H, W) that images are resized to, what the network was trained at; the output is resized back.
            device: auto, cpu, cuda, cuda:1, mps.
            camera: depth in metres wherever its road is seen (``semdepth.geometry.ground``); None: up to scale.
            intrinsics: (3, 3) of the camera that it was trained with, in pixels of ``image_size``, where known.

        Raises:
            InputError: if the device is not there, or a camera is given to a network that does not see what is road.
        """
        self.device = choose_device(device)
        self.network = network.to(self.device).eval()
        self.image_size = image_size
        self.intrinsics = intrinsics
        self.depth_range = (network.config.min_depth, network.config.max_depth)
        self.camera = camera
        self._segment: Segment | None = None
        if camera is not None:
            require_segmentation(network)

    def guide_with(self, segment: Segment) -> None:
        """Let another segmenter's labels guide the depth of every image from now on, unless ``predict`` is given others.

        Raises:
            InputError: if the network has no SSFA, or is an exported file.
        """
        self.network.require_guidable()
        self._segment = segment

    def predict(self, image: Picture, *, flip: bool = False, labels: Labels | None = None) -> Prediction:
        """Predict a single image.

        Args:
            image: a path, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4), uint8, uint16, or float in [0, 1].
            flip: also predict the mirrored image, and give the mean of both disparities (``semdepth evaluate --flip``
                blends them as Godard et al. 2017 do, which is the literature's way of judging).
            labels: another segmenter's, to guide the depth in place of the network's own classes; of any size, framed as the
                image. Where they are better than its own, as in a style that it has not seen, depth is, too.

        Returns:
            The prediction, at the image's own size (after EXIF orientation). Depth is up to scale, or in metres if the
            predictor knows its camera and the image shows enough road (``Prediction.scale`` is then not None).

        Raises:
            InputError: if the image cannot be read or is not an image, or the camera's intrinsics are not of its size, or the
                labels are none, or the network cannot be guided.
        """
        return self._predict_batch([_pixels(image)], flip, None if labels is None else [labels])[0]

    def predict_many(
        self,
        images: Iterable[Picture],
        *,
        batch: int = 8,
        flip: bool = False,
        labels: Iterable[Labels] | None = None,
    ) -> Iterator[Prediction]:
        """Predict images of any sizes, several at a time: the same numbers as ``predict``, up to rounding.

        Args:
            images: as ``predict`` takes them; no more than ``batch`` are asked for, or held, at once.
            batch: how many the network sees at once.
            flip: as ``predict`` says.
            labels: of every image, as ``predict`` takes them; asked for after the images of a batch.

        Yields:
            A prediction an image, in their order.

        Raises:
            InputError: if ``batch`` is below 1, or as ``predict`` says; images before the bad one's batch are predicted.
        """
        if batch < 1:
            raise InputError(f"batch {batch}: must be at least 1")
        rest, guides = iter(images), None if labels is None else iter(labels)
        while chunk := [_pixels(image) for image in islice(rest, batch)]:
            yield from self._predict_batch(chunk, flip, None if guides is None else list(islice(guides, len(chunk))))

    def intrinsics_for(self, size: tuple[int, int]) -> npt.NDArray[np.float64] | None:
        """Return the camera's (3, 3) intrinsics, given or learnt, for images of ``size`` (H, W) framed as in training.

        None if the weights do not tell. Of another camera, or another cut of the picture, they say nothing; where a run
        has learnt from several cameras, they are those of its first frame.
        """
        if self.intrinsics is None:
            return None
        return np.asarray(resize_intrinsics(torch.from_numpy(self.intrinsics), self.image_size, size).numpy())

    def _predict_batch(
        self, images: Sequence[npt.NDArray[np.uint8]], flip: bool, labels: Sequence[Labels] | None
    ) -> list[Prediction]:
        inputs = torch.cat([self._input(pixels) for pixels in images]).to(self.device)
        if labels is None and self._segment is not None:
            labels = [self._segment(pixels) for pixels in images]
        guide = None if labels is None else self._guide(labels, len(images))
        output = self._run(inputs, guide)
        sigma, logits = output.disparity[0], None if output.logits is None else output.logits[0]
        if flip:
            mirrored = self._run(inputs.flip(-1), None if guide is None else guide.flip(-1))
            sigma = (sigma + mirrored.disparity[0].flip(-1)) / 2
            if logits is not None and mirrored.logits is not None:
                logits = (logits + mirrored.logits[0].flip(-1)) / 2
        return [
            self._prediction(sigma[k : k + 1], None if logits is None else logits[k : k + 1], pixels.shape[:2])
            for k, pixels in enumerate(images)
        ]

    def _prediction(self, sigma: Tensor, logits: Tensor | None, size: tuple[int, ...]) -> Prediction:
        """Return what (1, 1, h, w) sigmoid outputs and (1, C, h, w) logits say of an image of ``size`` (H, W)."""
        height, width = size
        disparity, _ = disparity_to_depth(_resize(sigma.float(), (height, width)), *self.depth_range)
        values: npt.NDArray[np.float32] = disparity[0, 0].cpu().numpy()
        labels, uncertainty = (None, None) if logits is None else _segment(_resize(logits.float(), (height, width)))
        prediction = Prediction(np.float32(1.0) / values, values, labels, uncertainty)
        if self.camera is None:
            return prediction
        plane = road_plane(prediction, self.camera)
        return prediction if plane.reason else in_metres(prediction, plane.scale(self.camera.height))

    def _input(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Return (1, 3, h, w) in [0, 1] at the network's size, on the CPU."""
        height, width = self.image_size
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)[None].float() / 255

    def _guide(self, labels: Sequence[Labels], images: int) -> Tensor:
        """Return (B, C, h, w) class shares at the network's size, on ``device``, of so many images."""
        self.network.require_guidable()
        if len(labels) != images:
            raise InputError(f"labels of {len(labels)} images for {images}: give every image its own")
        for of_image in labels:
            if of_image.ndim != 2 or of_image.dtype != np.uint8:
                raise InputError(f"labels {of_image.dtype} {of_image.shape}: give (H, W) uint8 trainIds, 255 = unknown")
        classes = self.network.config.num_classes
        maps = [guide_from_labels(torch.from_numpy(m.copy())[None], self.image_size, classes) for m in labels]
        return torch.cat(maps).to(self.device)

    @torch.inference_mode()
    def _run(self, images: Tensor, guide: Tensor | None = None) -> NetworkOutput:
        """Run the network on (B, 3, h, w) images of ``image_size`` in [0, 1], on ``device``, under a guide, if there is one.

        The single place where the network is called: another engine than torch replaces this method, and nothing else.
        """
        output: NetworkOutput = self.network(images) if guide is None else self.network(images, guide)
        return output


def load(
    path_or_hub_id: str | Path | None = None,
    device: str = "auto",
    camera: RoadCamera | None = None,
    *,
    precision: Arithmetic = "fp32",
) -> Predictor:
    """Load a predictor.

    Args:
        path_or_hub_id: None: the weights in the box; the name of others in the box (``box.NAMES``); a run folder (its best
            weights, else its last); a ``.safetensors`` file that semdepth wrote; an ``.onnx`` file that it exported, which
            ONNX Runtime runs, or OpenVINO on a CPU where that is installed; a ``.ncnn.param`` file that it exported, which
            ncnn runs; or a model on the hub, ``hf://owner/name[@revision][/file]``, which ``semdepth push`` wrote.
        device: auto, cpu, cuda, cuda:1, mps.
        camera: how it stands above the road, for depth in metres; None: depth up to scale.
        precision: bf16: compute in bfloat16, for a GPU, or a processor that has it (AMX, AVX-512 BF16), on which it is
            several times as fast; on others it is slower. Depth is off by up to a hundredth.

    Raises:
        InputError: if there are no such weights, the file is damaged or not ours, a camera is given to a network
            without a segmentation branch, or an engine cannot compute in this precision.
    """
    path = find_weights(boxed(path_or_hub_id))
    network, header = open_network(path, device, precision)
    if isinstance(network, ExportedNetwork):
        device = "cpu"  # where its tensors are; the engine has its own device
    intrinsics = trained_intrinsics(path, header)
    return Predictor(network, trained_size(path, network, header), device, camera, intrinsics)


def _pixels(image: Picture) -> npt.NDArray[np.uint8]:
    return read_image(image) if isinstance(image, str | Path) else as_rgb(image)


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _segment(logits: Tensor) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Return labels (H, W) and normalised entropy (H, W) of (1, C, H, W) logits (METHOD 2.2)."""
    labels = logits.argmax(dim=1)[0].byte().cpu().numpy()
    return labels, normalised_entropy(logits.softmax(dim=1))[0].cpu().numpy()
