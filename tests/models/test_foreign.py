"""Weights of the Monodepth2 family, against an implementation of the published architecture that shares no code with ours."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semdepth.inference.predictor import load
from semdepth.models.foreign import ForeignNetwork, foreign_name, load_monodepth2
from semdepth.models.weights import load_depth_network, save_weights
from semdepth.runtime import InputError

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
WIDTHS = (16, 32, 64, 128, 256)
State = dict[str, Any]


def made_encoder(name: str, generator: torch.Generator) -> State:
    """Random parameters and running statistics of a torchvision ResNet, under the published names."""
    state: State = {"height": 64, "width": 96, "use_stereo": False}
    expansion = 4 if name == "resnet50" else 1

    def convolution(key: str, out: int, into: int, size: int) -> None:
        state[f"{key}.weight"] = torch.randn(out, into, size, size, generator=generator) * (2 / (into * size**2)) ** 0.5

    def norm(key: str, width: int) -> None:
        state[f"{key}.weight"] = 0.2 + 0.3 * torch.rand(width, generator=generator)
        state[f"{key}.bias"] = 0.1 * torch.randn(width, generator=generator)
        state[f"{key}.running_mean"] = 0.1 * torch.randn(width, generator=generator)
        state[f"{key}.running_var"] = 0.5 + torch.rand(width, generator=generator)
        state[f"{key}.num_batches_tracked"] = torch.tensor(7)

    convolution("encoder.conv1", 64, 3, 7)
    norm("encoder.bn1", 64)
    into = 64
    for stage, blocks in enumerate(DEPTHS[name]):
        width = 64 * 2**stage
        for block in range(blocks):
            key = f"encoder.layer{stage + 1}.{block}"
            sizes = ((width, into, 1), (width, width, 3), (4 * width, width, 1))
            for k, (out, inner, size) in enumerate(sizes if expansion == 4 else ((width, into, 3), (width, width, 3))):
                convolution(f"{key}.conv{k + 1}", out, inner, size)
                norm(f"{key}.bn{k + 1}", out)
            if block == 0 and (stage > 0 or expansion == 4):
                convolution(f"{key}.downsample.0", expansion * width, into, 1)
                norm(f"{key}.downsample.1", expansion * width)
            into = expansion * width
    state["encoder.fc.weight"] = torch.randn(10, into, generator=generator)
    state["encoder.fc.bias"] = torch.randn(10, generator=generator)
    return state


def made_decoder(name: str, generator: torch.Generator) -> State:
    features = [64, *(w * (4 if name == "resnet50" else 1) for w in (64, 128, 256, 512))]
    state: State = {}

    def convolution(key: str, out: int, into: int) -> None:
        state[f"{key}.weight"] = torch.randn(out, into, 3, 3, generator=generator) * (1 / (into * 9)) ** 0.5
        state[f"{key}.bias"] = 0.1 * torch.randn(out, generator=generator)

    for number, i in enumerate((4, 3, 2, 1, 0)):
        convolution(f"decoder.{2 * number}.conv.conv", WIDTHS[i], features[4] if i == 4 else WIDTHS[i + 1])
        convolution(f"decoder.{2 * number + 1}.conv.conv", WIDTHS[i], WIDTHS[i] + (features[i - 1] if i else 0))
    for scale in range(4):
        convolution(f"decoder.{10 + scale}.conv", 1, WIDTHS[scale])
    return state


def published(name: str, encoder: State, depth: State, image: Tensor) -> list[Tensor]:
    """The published forward pass (Godard et al. 2019, supplement), written out with functions only."""

    def norm(key: str, x: Tensor) -> Tensor:
        k = {n: encoder[f"{key}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, **k, training=False, eps=1e-5)

    def block(key: str, x: Tensor, stride: int) -> Tensor:
        if name == "resnet50":
            y = F.relu(norm(f"{key}.bn1", F.conv2d(x, encoder[f"{key}.conv1.weight"])))
            y = F.relu(norm(f"{key}.bn2", F.conv2d(y, encoder[f"{key}.conv2.weight"], stride=stride, padding=1)))
            y = norm(f"{key}.bn3", F.conv2d(y, encoder[f"{key}.conv3.weight"]))
        else:
            y = F.relu(norm(f"{key}.bn1", F.conv2d(x, encoder[f"{key}.conv1.weight"], stride=stride, padding=1)))
            y = norm(f"{key}.bn2", F.conv2d(y, encoder[f"{key}.conv2.weight"], padding=1))
        if f"{key}.downsample.0.weight" in encoder:
            x = norm(f"{key}.downsample.1", F.conv2d(x, encoder[f"{key}.downsample.0.weight"], stride=stride))
        return F.relu(x + y)

    def conv3x3(key: str, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), depth[f"{key}.weight"], depth[f"{key}.bias"])

    x = (image - 0.45) / 0.225
    features = [F.relu(norm("encoder.bn1", F.conv2d(x, encoder["encoder.conv1.weight"], stride=2, padding=3)))]
    x = F.max_pool2d(features[0], 3, stride=2, padding=1)
    for stage, blocks in enumerate(DEPTHS[name]):
        for number in range(blocks):
            x = block(f"encoder.layer{stage + 1}.{number}", x, 2 if stage and not number else 1)
        features.append(x)
    outputs: list[Tensor] = []
    for number, i in enumerate((4, 3, 2, 1, 0)):
        x = F.elu(conv3x3(f"decoder.{2 * number}.conv.conv", x))
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = torch.cat([x, features[i - 1]], 1) if i else x
        x = F.elu(conv3x3(f"decoder.{2 * number + 1}.conv.conv", x))
        if i < 4:
            outputs.insert(0, torch.sigmoid(conv3x3(f"decoder.{10 + i}.conv", x)))
    return outputs


@pytest.fixture(scope="module")
def states() -> tuple[State, State]:
    """Both files of a ResNet-18; tests change copies only."""
    generator = torch.Generator().manual_seed(0)
    return made_encoder("resnet18", generator), made_decoder("resnet18", generator)


def written(folder: Path, encoder: Any, depth: Any, **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(encoder, folder / "encoder.pth", **options)
    torch.save(depth, folder / "depth.pth", **options)
    return folder


@pytest.mark.parametrize("name", DEPTHS)
def test_the_output_is_that_of_the_published_architecture(
    name: str, tmp_path: Path, generator: torch.Generator
) -> None:
    encoder, depth = made_encoder(name, generator), made_decoder(name, generator)
    found = load_monodepth2(written(tmp_path, encoder, depth))
    image = torch.rand(2, 3, 64, 96, generator=generator)
    with torch.no_grad():
        ours = found.network(image).disparity
        theirs = published(name, encoder, depth, image)
    assert len(ours) == len(theirs) == 4
    for scale, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one.shape == other.shape == (2, 1, 64 >> scale, 96 >> scale)
        assert other.std() > 0.003  # weights that blur every difference away would prove nothing
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert found.network.config.encoder == name
    assert found.image_size == (64, 96)


def test_what_is_saved_predicts(states: tuple[State, State], tmp_path: Path) -> None:
    found = load_monodepth2(written(tmp_path, *states))
    save_weights(tmp_path / "w.safetensors", found.network, extra={"image_size": list(found.image_size)})
    again, _ = load_depth_network(tmp_path / "w.safetensors")
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(again(image).disparity[0], found.network(image).disparity[0])
    assert load(tmp_path / "w.safetensors", device="cpu").predict(torch.rand(50, 70, 3).numpy()).depth.shape == (50, 70)


def test_files_of_older_and_of_parallel_programs(states: tuple[State, State], tmp_path: Path) -> None:
    encoder, depth = states
    plain = load_monodepth2(written(tmp_path / "plain", encoder, depth))
    old = {k: v for k, v in encoder.items() if "num_batches_tracked" not in k} | {"use_stereo": True}
    parallel = {f"module.{k}": v for k, v in depth.items()}
    other = load_monodepth2(written(tmp_path / "old", old, parallel, _use_new_zipfile_serialization=False))
    assert same(plain, other)
    assert (plain.stereo, other.stereo) == (False, True)


def same(one: ForeignNetwork, other: ForeignNetwork) -> bool:
    pairs = zip(one.network.state_dict().items(), other.network.state_dict().items(), strict=True)
    return all(k == j and ("num_batches" in k or torch.equal(a, b)) for (k, a), (j, b) in pairs)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_executed(zipped: bool, states: tuple[State, State], tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    evil = states[0] | {"encoder.conv1.weight": Evil(mark)}
    folder = written(tmp_path / "evil", evil, states[1], _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"encoder\.pth: .*not executed") as caught:
        load_monodepth2(folder)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    torch.load(folder / "encoder.pth", weights_only=False)  # the trap works
    assert mark.exists()


def without(state: State, key: str) -> State:
    return {k: v for k, v in state.items() if k != key}


NO = "encoder.layer1.0.conv1.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e, d: (without(e, "height"), d), r"encoder\.pth: has no entries height and width"),
        (lambda e, d: (e | {"width": "wide"}, d), r"encoder\.pth: has no entries height and width"),
        (lambda e, d: (e | {"width": 100}, d), r"100×64; multiples of 32"),
        (lambda e, d: (without(e, NO), d), rf"encoder\.pth: lacks {NO}"),
        (lambda e, d: (e | {NO: torch.zeros(1)}, d), rf"{NO} is \(1,\), not \(64, 64, 3, 3\)"),
        (lambda e, d: (e | {NO: e[NO] * torch.nan}, d), rf"{NO} is not finite"),
        (lambda e, d: (e | {NO: "text"}, d), rf"lacks {NO}"),
        (lambda e, d: (e | {"encoder.extra": torch.zeros(1)}, d), r"unexpected encoder\.extra"),
        (lambda e, d: (e, without(d, "decoder.13.conv.bias")), r"depth\.pth: lacks decoder\.13\.conv\.bias"),
        (lambda e, d: (e, without(d, "decoder.9.conv.conv.weight")), r"depth\.pth: lacks decoder\.9"),
        (lambda e, d: (e, d | {"decoder.3.conv.conv.weight": torch.zeros(1)}), "decoder.3.conv.conv.weight"),
        (lambda e, d: ({"height": 64, "width": 96}, d), "no ResNet-18"),
        (lambda e, d: (e | {"encoder.layer3.2.conv1.weight": torch.zeros(1)}, d), "no ResNet-18"),
        (lambda e, d: ([1, 2], d), r"holds a list"),
        (lambda e, d: (e, torch.zeros(3)), r"holds a Tensor"),
        (lambda e, d: (e, d | {5: torch.zeros(3)}), r"no dictionary of named tensors"),
    ],
)
def test_what_is_not_of_the_family(change: Any, said: str, states: tuple[State, State], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_monodepth2(written(tmp_path, *change(*states)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated(share: float, zipped: bool, states: tuple[State, State], tmp_path: Path) -> None:
    folder = written(tmp_path, *states, _use_new_zipfile_serialization=zipped)
    whole = (folder / "depth.pth").read_bytes()
    (folder / "depth.pth").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"depth\.pth: ") as caught:
        load_monodepth2(folder)
    assert "\n" not in str(caught.value)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.pth: weight file not found"):
        load_monodepth2(tmp_path)


def test_no_counterpart() -> None:
    with pytest.raises(ValueError, match="no counterpart"):
        foreign_name("disparity_heads.0.row_logits")


def test_the_page_names_the_layers(states: tuple[State, State]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()
    rows = re.findall(r"^\| `(decoder\.\d+)\.[^|]*\| `((?:depth_decoder|disparity_heads)[^`]+)`", page, re.M)
    assert len(rows) == 14
    for theirs, ours in rows:
        assert foreign_name(f"{ours}.weight").startswith(f"{theirs}.conv")
