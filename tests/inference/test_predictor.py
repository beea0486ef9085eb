from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import semdepth
from semdepth.geometry.camera import disparity_to_depth
from semdepth.inference.opening import find_weights
from semdepth.inference.predictor import Predictor, load
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights
from semdepth.runtime import InputError

SMALL = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(path, build_depth_network(SMALL, seed=0), extra={"image_size": [64, 96]})
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 131, 3), dtype=np.uint8)


def test_output_has_the_images_own_size(weights: Path, pixels: np.ndarray) -> None:
    prediction = load(weights, "cpu").predict(pixels)
    assert prediction.depth.shape == prediction.disparity.shape == (70, 131)
    assert prediction.depth.dtype == prediction.disparity.dtype == np.float32
    assert np.allclose(prediction.depth * prediction.disparity, 1, atol=1e-5)
    assert prediction.labels is None
    assert prediction.uncertainty is None


def test_is_what_the_network_says(weights: Path, pixels: np.ndarray) -> None:
    image = pixels[:64, :96]
    predictor = load(weights, "cpu")
    with torch.inference_mode():
        output = predictor.network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    expected, _ = disparity_to_depth(output.disparity[0], 0.1, 100.0)
    assert np.allclose(predictor.predict(image).disparity, expected[0, 0].numpy(), rtol=1e-5)


def test_every_kind_of_image_gives_the_same(weights: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    predictor = load(weights, "cpu")
    expected = predictor.predict(pixels).depth
    Image.fromarray(pixels).save(tmp_path / "image.png")
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for same in (
        tmp_path / "image.png",
        Image.fromarray(pixels),
        pixels / 255.0,
        pixels.astype(np.uint16) * 257,
        opaque,
    ):
        assert np.allclose(predictor.predict(same).depth, expected, rtol=1e-4)


def test_grey_is_three_equal_channels(weights: Path, pixels: np.ndarray) -> None:
    predictor = load(weights, "cpu")
    grey = pixels[..., 0]
    assert np.array_equal(predictor.predict(grey).depth, predictor.predict(np.dstack([grey] * 3)).depth)


def test_flip_commutes_with_mirroring(weights: Path, pixels: np.ndarray) -> None:
    predictor = load(weights, "cpu")
    image = np.ascontiguousarray(pixels[:64, :96])
    there = predictor.predict(image, flip=True).disparity
    mirrored = predictor.predict(image[:, ::-1].copy(), flip=True).disparity
    assert np.allclose(there, mirrored[:, ::-1], rtol=1e-4)
    assert not np.allclose(there, predictor.predict(image).disparity, rtol=1e-4)


def test_two_branches_give_classes_and_uncertainty(pixels: np.ndarray) -> None:
    network = build_depth_network(NetworkConfig(encoder="resnet10-small", fusion="ssfa"), seed=0)
    prediction = Predictor(network, (64, 96), "cpu").predict(pixels)
    assert prediction.labels is not None
    assert prediction.uncertainty is not None
    assert prediction.labels.dtype == np.uint8
    assert prediction.labels.max() < 19
    assert 0 <= prediction.uncertainty.min() <= prediction.uncertainty.max() <= 1


def test_run_folders_prefer_the_best(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(weights.read_bytes())
    assert find_weights(tmp_path).name == "weights.safetensors"
    (tmp_path / "best.safetensors").write_bytes(weights.read_bytes())
    assert find_weights(tmp_path).name == "best.safetensors"


def test_bad_weights_are_one_line(tmp_path: Path, weights: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:5000])
    sizeless = tmp_path / "sizeless.safetensors"
    save_weights(sizeless, build_depth_network(SMALL, seed=0))
    odd, tiny = tmp_path / "odd.safetensors", tmp_path / "tiny.safetensors"
    save_weights(odd, build_depth_network(SMALL, seed=0), extra={"image_size": [64, 100]})
    save_weights(tiny, build_depth_network(SMALL, seed=0), extra={"image_size": [32, 96]})
    for path, hint in (
        (cut, "cut"),
        (sizeless, "image size"),
        (odd, "100×64.* multiples of 32 from 64"),
        (tiny, "96×32"),
        (tmp_path / "none", "no such run"),
    ):
        with pytest.raises(InputError, match=hint) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [np.zeros((2, 3, 4, 5)), np.zeros((4, 4, 2), np.uint8), np.full((4, 4, 3), np.nan), np.zeros((4, 4), np.int64),
     np.zeros((0, 4, 3), np.uint8), np.full((4, 4, 3), 7.0)],
)  # fmt: skip
def test_bad_arrays_are_refused(weights: Path, bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="image array"):
        load(weights, "cpu").predict(bad)


def test_public_names() -> None:
    assert semdepth.load is load
    assert semdepth.Predictor is Predictor
    with pytest.raises(AttributeError):
        semdepth.nonsense  # noqa: B018


@pytest.mark.parametrize("flip", [False, True])
def test_batches_give_the_numbers_of_single_images(tmp_path: Path, flip: bool) -> None:
    config = NetworkConfig(encoder="resnet10-small", fusion="none", decoder_channels=(8, 8, 16, 16, 32))
    predictor = Predictor(build_depth_network(config, seed=0), (64, 96), "cpu")
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40 + 7 * k, 90 - 5 * k, 3), dtype=np.uint8) for k in range(5)]
    found = list(predictor.predict_many(images, batch=3, flip=flip))
    assert len(found) == 5
    for image, prediction in zip(images, found, strict=True):
        alone = predictor.predict(image, flip=flip)
        np.testing.assert_allclose(prediction.depth, alone.depth, rtol=1e-5)
        np.testing.assert_allclose(prediction.uncertainty, alone.uncertainty, atol=1e-5)
        assert (prediction.labels == alone.labels).mean() > 0.999


def test_no_more_images_are_asked_for_than_a_batch(weights: Path, pixels: np.ndarray) -> None:
    asked: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for k in range(7):
            asked.append(k)
            yield pixels

    predictor = load(weights, "cpu")
    predictions = predictor.predict_many(images(), batch=2)
    assert asked == []
    for count in range(1, 8):
        next(predictions)
        assert len(asked) == min(2 * ((count + 1) // 2), 7)
    assert next(predictions, None) is None
    assert list(predictor.predict_many([])) == []
    with pytest.raises(InputError, match="batch 0"):
        next(predictor.predict_many([pixels], batch=0))
