"""Prediction under another segmenter's labels, with the weights in the box."""

from pathlib import Path

import numpy as np
import pytest
import torch

import semdepth
from semdepth.inference.exported import ExportedNetwork
from semdepth.inference.predictor import Predictor
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.runtime import InputError


@pytest.fixture
def predictor() -> Predictor:
    return semdepth.load(device="cpu")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((15, 15, 1), np.uint8))


@pytest.fixture(scope="module")
def labels(pixels: np.ndarray) -> np.ndarray:
    """Sky above road, and a car."""
    found = np.zeros(pixels.shape[:2], np.uint8)
    found[:40], found[30:60, 50:90] = 10, 13
    return found


def test_labels_guide(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    plain, guided = predictor.predict(pixels), predictor.predict(pixels, labels=labels)
    assert np.abs(guided.depth / plain.depth - 1).mean() > 0.05
    assert guided.depth.shape == pixels.shape[:2]
    unknown = predictor.predict(pixels, labels=np.full_like(labels, 255))
    np.testing.assert_array_equal(unknown.depth, plain.depth)
    large = predictor.predict(pixels, labels=np.kron(labels, np.ones((2, 2), np.uint8)))
    assert np.abs(large.depth / guided.depth - 1).mean() < 0.02, "of any size"
    np.testing.assert_array_equal(predictor.predict(pixels).depth, plain.depth)


def test_labels_guide_in_bfloat16(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    half = semdepth.load(device="cpu", precision="bf16")
    off = np.abs(half.predict(pixels, labels=labels).depth / predictor.predict(pixels, labels=labels).depth - 1).mean()
    assert 1e-6 < off < 0.03


def test_the_guide_is_mirrored_with_the_image(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    both = predictor.predict(pixels, labels=labels, flip=True)
    mirrored = predictor.predict(pixels[:, ::-1], labels=labels[:, ::-1], flip=True)
    np.testing.assert_allclose(mirrored.disparity[:, ::-1], both.disparity, rtol=2e-2)


def test_many_are_guided_each_by_its_own(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    images, guides = [pixels, pixels, pixels[:, ::-1]], [labels, np.zeros_like(labels), labels[:, ::-1]]
    many = list(predictor.predict_many(iter(images), batch=2, labels=iter(guides)))
    for image, guide, found in zip(images, guides, many, strict=True):
        np.testing.assert_allclose(found.depth, predictor.predict(image, labels=guide).depth, rtol=1e-3)


def test_labels_of_too_few_images_are_refused(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    for given in ([labels], []):
        with pytest.raises(InputError, match="every image its own"):
            list(predictor.predict_many([pixels] * 3, batch=2, labels=given))


def test_a_segmenter_guides_whatever_is_predicted(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    asked = []

    def segment(image: np.ndarray) -> np.ndarray:
        asked.append(image.shape)
        return labels

    expected = predictor.predict(pixels, labels=labels).depth
    predictor.guide_with(segment)
    np.testing.assert_array_equal(predictor.predict(pixels).depth, expected)
    assert asked == [pixels.shape]
    other = predictor.predict(pixels, labels=np.zeros_like(labels)).depth
    assert len(asked) == 1, "labels that are given go before it"
    assert not np.allclose(other, expected)


def test_what_cannot_guide_or_be_guided(predictor: Predictor, pixels: np.ndarray, labels: np.ndarray) -> None:
    for bad in (labels.astype(np.int64), labels[..., None]):
        with pytest.raises(InputError, match="uint8 trainIds"):
            predictor.predict(pixels, labels=bad)
    config = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32), fusion="none")
    blind = Predictor(build_depth_network(config, seed=0), (64, 96), "cpu")
    with pytest.raises(InputError, match="ssfa"):
        blind.predict(pixels, labels=labels)
    with pytest.raises(InputError, match="ssfa"):
        blind.guide_with(lambda image: labels)


class Engine(ExportedNetwork):
    """Of a file that is never run."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.path, self.config = Path("m.onnx"), NetworkConfig(fusion="ssfa")

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        raise AssertionError


def test_an_exported_model_cannot_be_guided(pixels: np.ndarray, labels: np.ndarray) -> None:
    predictor = Predictor(Engine(), (64, 96), "cpu")
    with pytest.raises(InputError, match="an exported model cannot"):
        predictor.predict(pixels, labels=labels)
    with pytest.raises(InputError, match="exported model"):
        predictor.guide_with(lambda image: labels)
