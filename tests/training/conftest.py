"""A video small enough to train on in a test: a textured wall seen by a camera that moves sideways."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from semdepth.models.network import NetworkConfig
from semdepth.structures import FrameBatch

HEIGHT, WIDTH = 64, 128


class Wall(Dataset[FrameBatch]):
    """Frames of a smooth random texture shifted by ``shift`` pixels a frame."""

    def __init__(self, length: int = 8, shift: int = 3, labels: bool = False) -> None:
        self.length, self.shift, self.with_labels = length, shift, labels
        noise = torch.rand(
            1, 3, HEIGHT // 4, (WIDTH + 2 * shift * length) // 4, generator=torch.Generator().manual_seed(0)
        )
        self.texture = torch.nn.functional.interpolate(noise, scale_factor=4, mode="bilinear")[0]

    def __len__(self) -> int:
        return self.length

    def name(self, index: int) -> str:
        return f"wall/{index}"

    def frame(self, index: int) -> torch.Tensor:
        start = (index + 1) * self.shift
        return (self.texture[:, :, start : start + WIDTH] * 255).byte()

    def __getitem__(self, index: int) -> FrameBatch:
        labels = None
        if self.with_labels:
            labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
            labels[:, 10:50, 40:90] = 13
        return FrameBatch(
            names=(f"wall/{index:04d}/l",),
            target=self.frame(index)[None],
            sources=torch.stack([self.frame(index - 1), self.frame(index + 1)])[None],
            offsets=(-1, 1),
            intrinsics=torch.tensor([[[100.0, 0, 63.5], [0, 100.0, 31.5], [0, 0, 1]]]),
            labels=labels,
        )

    def ground_truth(self, index: int) -> np.ndarray:
        return np.full((HEIGHT, WIDTH), 5.0, dtype=np.float32)

    def labels(self, index: int) -> np.ndarray | None:
        return None

    def moving(self, index: int) -> np.ndarray | None:
        return None


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def small_network() -> NetworkConfig:
    return NetworkConfig(encoder="resnet10-small", pose_encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32))
