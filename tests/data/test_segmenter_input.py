import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from semdepth.data.segmenter_input import SegmenterInput, input_of
from semdepth.runtime import InputError

PLAIN = {"size": {"height": 8, "width": 8}, "do_normalize": True, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}


def processor(name: str, **options: object) -> object:
    found = getattr(transformers, f"{name}ImageProcessorPil", None) or getattr(transformers, f"{name}ImageProcessor")
    return found(**options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Segformer", {"size": {"height": 32, "width": 48}}),
        ("Beit", {"size": {"height": 40, "width": 40}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}),
        ("DPT", {"size": {"height": 64, "width": 64}, "keep_aspect_ratio": True, "ensure_multiple_of": 32}),
        ("MobileViT", {"size": {"shortest_edge": 64}, "do_center_crop": False}),
        ("Mask2Former", {"size": {"shortest_edge": 32, "longest_edge": 96}, "size_divisor": 32}),
        ("OneFormer", {"size": {"shortest_edge": 64, "longest_edge": 128}}),
    ],
)
def test_pixels_are_those_of_the_models_own_processor(name: str, options: dict) -> None:
    """On an image whose sides need neither cropping nor padding, which is not done here."""
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    theirs = processor(name, **options)
    given_options = {"task_inputs": ["semantic"]} if name == "OneFormer" else {}
    wanted = theirs(images=image, return_tensors="pt", **given_options)["pixel_values"][0]
    found = input_of(theirs.to_dict(), "it").prepare(image)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "image", "wanted"),
    [
        ({"size": {"height": 512, "width": 512}}, (375, 1242), (512, 512)),
        ({"size": 512}, (375, 1242), (512, 512)),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, (375, 1242), (416, 1344)),
        ({"size": {"shortest_edge": 512, "longest_edge": 2048}, "size_divisor": 32}, (375, 1242), (512, 1696)),
        ({"size": 800, "max_size": 1333, "size_divisor": 64}, (375, 1242), (448, 1344)),
        ({"size": {"shortest_edge": 512}}, (1024, 2048), (512, 1024)),
        (
            {"size": {"height": 384, "width": 384}, "keep_aspect_ratio": True, "ensure_multiple_of": 32},
            (375, 1242),
            (384, 1280),
        ),
        ({"do_resize": False}, (375, 1242), (384, 1248)),
    ],
)
def test_sizes(settings: dict, image: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert input_of(settings | {"do_normalize": False}, "it").input_size(*image) == wanted
    assert input_of(settings | {"do_normalize": False}, "it", size=(375, 1242)).input_size(*image) == (375, 1242)


def test_sizes_of_mask2former_are_its_processors() -> None:
    for edges in ((800, 1333), (384, 2048), (512, 1024)):
        theirs = processor("Mask2Former", size={"shortest_edge": edges[0], "longest_edge": edges[1]}, size_divisor=32)
        for shape in ((375, 1242), (370, 1226), (600, 400)):
            pixels = theirs(images=np.zeros((*shape, 3), dtype=np.uint8), return_tensors="pt")["pixel_values"]
            assert input_of(theirs.to_dict(), "it").input_size(*shape) == tuple(pixels.shape[2:])


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 1500), st.sampled_from([1, 14, 32]))
def test_an_image_of_any_shape_keeps_its_aspect_within_rounding(height, width, shortest, multiple) -> None:
    h, w = SegmenterInput(shortest_edge=shortest, multiple=multiple).input_size(height, width)
    assert h % multiple == w % multiple == 0
    assert min(h, w) >= multiple
    scale = shortest / min(height, width)
    assert abs(h - height * scale) <= multiple
    assert abs(w - width * scale) <= multiple


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "'size'"),
        (PLAIN | {"size": {"width": 3}}, "size"),
        (PLAIN | {"size": {"height": 0, "width": 3}}, "0 where a number of pixels"),
        (PLAIN | {"size": "big"}, "preprocessor_config.json cannot be understood"),
        (PLAIN | {"image_std": [1, 0, 1]}, "image_std holds 0"),
        (PLAIN | {"image_mean": [0.5]}, "unpack"),
        (PLAIN | {"resample": 77}, "77"),
        (PLAIN | {"do_split_image": True}, "windows"),
    ],
)
def test_values_that_make_no_sense(settings: dict, says: str) -> None:
    with pytest.raises(InputError) as caught:
        input_of(settings, "some/model")
    assert says in str(caught.value)
    assert str(caught.value).startswith("some/model: ")
