"""8-bit ncnn models: which layers change, and to what. The command is in ``tests/apps/test_export_ncnn.py``."""

from pathlib import Path

import ncnn
import numpy as np
import pytest
import torch
from torch import nn

from semdepth.inference.ncnn_int8 import INT8, quantise, read_layers
from semdepth.runtime import InputError

MAGIC = "7767517"
CONVOLUTION = "Convolution {name} 1 1 {blobs} 0={out} 1=3 4=1 5=1 6={size}"


class ThreeConvolutions(nn.Module):
    """What the model below is made from: two that may change, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 5, 3, padding=1)
        self.middle = nn.Conv2d(5, 5, 3, padding=1)
        self.disparity_heads = nn.ModuleList([nn.Conv2d(5, 1, 3, padding=1)])


@pytest.fixture
def network() -> ThreeConvolutions:
    torch.manual_seed(0)
    return ThreeConvolutions().eval()


@pytest.fixture
def model(network: ThreeConvolutions, tmp_path: Path) -> Path:
    """Body, instance norm, a row added, middle, head: as the converter writes it."""
    param = tmp_path / "m.ncnn.param"
    lines = [
        "Input in0 0 1 in0",
        CONVOLUTION.format(name="body", blobs="in0 a", out=5, size=135),
        "InstanceNorm norm 1 1 a b 0=5 1=1e-5",
        "MemoryData row 0 1 r 0=1 1=8 2=1",
        "BinaryOp add 2 1 b r c 0=0",
        CONVOLUTION.format(name="middle", blobs="c d", out=5, size=225),
        CONVOLUTION.format(name="head", blobs="d out0", out=1, size=45),
    ]
    param.write_text("\n".join([MAGIC, "7 7", *lines]) + "\n")
    parts = []
    for layer in (network.body, network.middle, network.disparity_heads[0]):
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        parts += [bytes(4), layer.weight.detach().numpy().tobytes(), layer.bias.detach().numpy().tobytes()]
    norm_and_row = [np.ones(5, np.float32), np.zeros(5, np.float32), np.linspace(0, 1, 8, dtype=np.float32)]
    param.with_suffix(".bin").write_bytes(b"".join([*parts[:3], *(x.tobytes() for x in norm_and_row), *parts[3:]]))
    return param


def run(param: Path, image: torch.Tensor, winograd: bool = True) -> np.ndarray:
    net = ncnn.Net()
    net.opt.use_winograd_convolution = winograd
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(param.with_suffix(".bin"))) == 0
    with net.create_extractor() as extractor:
        extractor.input("in0", ncnn.Mat(image[0].numpy()).clone())
        return np.array(extractor.extract("out0")[1])


def test_the_body_is_in_8_bits_and_the_head_is_not(network: ThreeConvolutions, model: Path) -> None:
    image = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    before = run(model, image)
    quantise(model, network, [image, image / 2])
    lines = model.read_text().splitlines()
    assert [line.split()[1] for line in lines if line.endswith(" 8=1")] == ["body", "middle"]
    stored = model.with_suffix(".bin").read_bytes()
    assert stored[:4] == INT8
    whole = np.frombuffer(stored[4 : 4 + 135], np.int8).reshape(5, -1)
    at = 4 + 136 + 4 * 5  # 135 weights, one byte to the next multiple of four, the bias
    scales = np.frombuffer(stored[at : at + 20], np.float32)
    exact = network.body.weight.detach().numpy().reshape(5, -1)
    assert np.all(np.abs(whole).max(axis=1) == 31)
    assert np.all(np.abs(whole / scales[:, None] - exact) <= 0.5001 / scales[:, None])
    (of_input,) = np.frombuffer(stored[at + 20 : at + 24], np.float32)
    assert of_input == pytest.approx(127 / float(image.max()), rel=1e-6)
    assert stored.endswith(network.disparity_heads[0].bias.detach().numpy().tobytes())
    after = run(model, image)
    assert 0 < np.abs(after - before).max() < 0.05 * np.abs(before).max()


def test_ranges_do_not_depend_on_how_an_image_lies_in_memory(network: ThreeConvolutions, model: Path) -> None:
    image = torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    graph, stored = model.read_text(), model.with_suffix(".bin").read_bytes()
    written = []
    for form in (torch.contiguous_format, torch.channels_last):
        model.write_text(graph)
        model.with_suffix(".bin").write_bytes(stored)
        quantise(model, network, [image.contiguous(memory_format=form)])
        written.append(model.with_suffix(".bin").read_bytes())
    assert written[0] == written[1]


class Wide(nn.Module):
    """Sums as large as they get: many channels, weights of one sign."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(128, 64, 3, padding=1, stride=stride)
        self.disparity_heads = nn.ModuleList([nn.Conv2d(64, 1, 3, padding=1)])
        nn.init.uniform_(self.body.weight, 0.5, 1.0)


@pytest.mark.parametrize(("stride", "levels"), [(1, 31), (2, 127)])
def test_sums_do_not_overflow(stride: int, levels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, param = Wide(stride), tmp_path / "m.ncnn.param"
    lines = [
        "Input in0 0 1 in0",
        CONVOLUTION.format(name="body", blobs="in0 a", out=64, size=64 * 128 * 9) + f" 3={stride}",
        CONVOLUTION.format(name="head", blobs="a out0", out=1, size=64 * 9),
    ]
    param.write_text("\n".join([MAGIC, "3 3", *lines]) + "\n")
    parts = [x.detach().numpy().tobytes() for x in network.parameters()]
    param.with_suffix(".bin").write_bytes(b"".join([bytes(4), *parts[:2], bytes(4), *parts[2:]]))
    image = 1 - 0.1 * torch.rand(1, 128, 24, 24)
    before = run(param, image)
    quantise(param, network, [image])
    assert np.abs(np.frombuffer(param.with_suffix(".bin").read_bytes()[4 : 4 + 64 * 128 * 9], np.int8)).max() == levels
    for winograd in (True, False):
        assert np.abs(run(param, image, winograd) - before).max() < 0.02 * np.abs(before).max()


def test_a_channel_of_zeros_stays_one(network: ThreeConvolutions, model: Path) -> None:
    stored = model.with_suffix(".bin").read_bytes()
    model.with_suffix(".bin").write_bytes(stored[:4] + bytes(4 * 27) + stored[4 + 4 * 27 :])
    quantise(model, network, [torch.zeros(1, 3, 8, 12)])
    assert np.all(np.isfinite(run(model, torch.zeros(1, 3, 8, 12))))


def test_weights_of_unknown_layers_are_refused(model: Path) -> None:
    weights = model.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes() + bytes(8))
    with pytest.raises(InputError, match="layers that cannot be put into 8 bits"):
        read_layers(model, weights)


def test_a_model_of_another_network_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="heads of this network are not found"):
        quantise(model, ThreeConvolutions(), [torch.rand(1, 3, 8, 12)])


def test_no_images_are_refused(network: ThreeConvolutions, model: Path) -> None:
    before = model.read_text(), model.with_suffix(".bin").read_bytes()
    with pytest.raises(InputError, match="no images"):
        quantise(model, network, [])
    assert (model.read_text(), model.with_suffix(".bin").read_bytes()) == before


def test_a_graph_that_does_not_run_is_refused(network: ThreeConvolutions, model: Path) -> None:
    model.write_text(model.read_text().replace("Input in0 0 1 in0", "Input in1 0 1 in1"))
    with pytest.raises(InputError, match="ncnn cannot"):
        quantise(model, network, [torch.rand(1, 3, 8, 12)])


@pytest.mark.parametrize(
    ("line", "stored"),
    [
        ("ConvolutionDepthWise d 1 1 a b 0=6 1=3 5=1 6=54 7=6", 4 + 4 * 54 + 4 * 6),
        ("InnerProduct i 1 1 a b 0=7 1=1 2=35", 4 + 4 * 35 + 4 * 7),
        ("LayerNorm n 1 1 a b 0=9 1=1e-6 2=1", 8 * 9),
        ("LayerNorm n 1 1 a b 0=9 1=1e-6 2=0", 0),
        ("InstanceNorm n 1 1 a b 0=9 1=1e-6", 8 * 9),
        ("MemoryData m 0 1 b 0=3 1=4 2=5", 4 * 60),
        ("ELU e 1 1 a b 0=1.0", 0),
    ],
)
def test_sizes_of_what_layers_store(line: str, stored: int, tmp_path: Path) -> None:
    param = tmp_path / "m.ncnn.param"
    param.write_text(f"{MAGIC}\n1 1\n{line}\n")
    param.with_suffix(".bin").write_bytes(bytes(stored))
    (layer,) = read_layers(param, param.with_suffix(".bin"))
    assert len(layer.stored) == stored
