import json
import os
import pickle
from dataclasses import replace
from typing import get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from semdepth.models.network import Fusion, NetworkConfig, build_depth_network
from semdepth.models.pose_net import build_pose_network
from semdepth.models.weights import load_depth_network, load_pose_network, read_header, save_weights
from semdepth.runtime import InputError

CONFIG = NetworkConfig(
    encoder="resnet10-small",
    decoder_channels=(8, 8, 16, 16, 32),
    num_classes=5,
    fusion="ssfa",
    pose_encoder="resnet10-small",
)


@pytest.fixture(scope="module")
def networks():
    return build_depth_network(CONFIG, seed=0), build_pose_network(CONFIG.pose_encoder, seed=0)


@pytest.fixture
def path(networks, tmp_path):
    save_weights(tmp_path / "w.safetensors", *networks, extra={"image_size": [64, 192]})
    return tmp_path / "w.safetensors"


def _rewrite(path, change_tensors=None, change_header=None):
    """Save the file again with tensors or header changed."""
    with safe_open(path, framework="pt") as stream:
        header = json.loads(stream.metadata()["semdepth"])
    tensors = load_file(path)
    if change_tensors:
        change_tensors(tensors)
    if change_header:
        change_header(header)
    save_file(tensors, path, metadata={"semdepth": json.dumps(header)})


def _refused(path, match, load=load_depth_network):
    with pytest.raises(InputError, match=match) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)  # a mend follows


@pytest.mark.parametrize("fusion", get_args(Fusion))
@pytest.mark.parametrize("initial", ["ground", "flat"])
def test_round_trip(fusion, initial, tmp_path):
    network = build_depth_network(replace(CONFIG, fusion=fusion, initial_disparity=initial)).eval()
    images = torch.rand(1, 3, 64, 64)
    save_weights(tmp_path / "new" / "w.safetensors", network)
    loaded, header = load_depth_network(tmp_path / "new" / "w.safetensors")
    assert header.config == network.config == loaded.config
    assert not loaded.training
    assert torch.equal(loaded(images).disparity[0], network(images).disparity[0])


def test_pose_network_and_extra_travel_along(path, networks):
    pose = load_pose_network(path)
    a, b = torch.rand(2, 1, 3, 64, 64)
    assert torch.equal(pose(a, b)[0], networks[1].eval()(a, b)[0])
    header = read_header(path)
    assert header.extra == {"image_size": [64, 192]}
    assert header.config == CONFIG
    networks[1].train()


def test_others_may_read_them(path):
    assert path.stat().st_mode & 0o777 == 0o644


def test_depth_alone_is_enough(networks, tmp_path):
    save_weights(tmp_path / "d.safetensors", networks[0])
    load_depth_network(tmp_path / "d.safetensors")
    _refused(tmp_path / "d.safetensors", "holds no pose network", load_pose_network)


def test_needs_neither_hub_nor_folder_of_the_encoder(tmp_path):
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    ConvNextForImageClassification(config).save_pretrained(tmp_path / "backbone")
    network = build_depth_network(replace(CONFIG, encoder=str(tmp_path / "backbone"), pretrained=True))
    save_weights(tmp_path / "w.safetensors", network)
    (tmp_path / "backbone").rename(tmp_path / "gone")
    loaded, header = load_depth_network(tmp_path / "w.safetensors")
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(images).disparity[0], network.eval()(images).disparity[0])
    assert header.config.pretrained


def test_channels_last_networks_can_be_saved(networks, tmp_path):
    network = build_depth_network(CONFIG).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", network)
    loaded, _ = load_depth_network(tmp_path / "w.safetensors")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_failed_write_leaves_the_old_file_and_no_litter(path, networks, monkeypatch):
    before = path.read_bytes()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="No space left"):
        save_weights(path, networks[0])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_place_that_cannot_be_written(networks, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        save_weights(tmp_path / "file" / "w.safetensors", networks[0])


def test_extra_must_be_json(networks, tmp_path):
    with pytest.raises(TypeError):
        save_weights(tmp_path / "w.safetensors", networks[0], extra={"x": object()})
    assert os.listdir(tmp_path) == []


KEY = "depth.depth_decoder.stages.0.merge.weight"


def test_missing_tensor(path):
    _rewrite(path, lambda t: t.pop(KEY))
    _refused(path, f"missing {KEY}")


def test_unexpected_tensor(path):
    _rewrite(path, lambda t: t.update({"depth.more": torch.zeros(1)}))
    _refused(path, "unexpected depth.more")


def test_tensor_of_neither_network(path):
    _rewrite(path, lambda t: t.update(stray=torch.zeros(1)))
    _refused(path, "unexpected stray")


def test_wrong_shape(path):
    _rewrite(path, lambda t: t.update({KEY: torch.zeros(1, 2)}))
    _refused(path, rf"{KEY} is \(1, 2\), not")


def test_nan(path):
    _rewrite(path, lambda t: t[KEY].fill_(float("nan")))
    _refused(path, f"{KEY} is not finite")


def test_description_of_another_network(path):
    _rewrite(path, change_header=lambda h: h["config"].update(fusion="depth-only"))
    _refused(path, r"unexpected depth\.class_heads.* and 49 more")


def test_pose_part_is_checked_too(path):
    _rewrite(path, lambda t: t.pop("pose.motion.bias"))
    load_depth_network(path)
    _refused(path, "missing pose.motion.bias", load_pose_network)


@pytest.mark.parametrize("norm", ["channels", "instance"])
def test_files_of_before_there_was_a_choice_keep_their_norm(norm, path, tmp_path):
    config = replace(CONFIG, ssfa_norm=norm)
    save_weights(tmp_path / "n.safetensors", build_depth_network(config, seed=0), extra={"image_size": [64, 192]})
    assert load_depth_network(tmp_path / "n.safetensors")[0].config.ssfa_norm == norm
    _rewrite(path, change_header=lambda h: h["config"].pop("ssfa_norm"))
    network, _ = load_depth_network(path)
    assert [fusion.norm for fusion in network.fusions] == ["instance"] * 4


def test_newer_format(path):
    _rewrite(path, change_header=lambda h: h.update(format_version=99))
    _refused(path, "newer than this semdepth")


def test_a_field_of_a_newer_version(path):
    _rewrite(path, change_header=lambda h: (h["config"].update(novelty=1), h.update(package_version="9.1")))
    _refused(path, r"network\.novelty.*semdepth 9\.1 wrote it, upgrade")


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.pop("format_version"),
        lambda h: h.update(format_version="one"),
        lambda h: h.pop("config"),
        lambda h: h.pop("encoder"),
        lambda h: h["config"].update(novelty=1),
        lambda h: h["config"].update(fusion="other"),
        lambda h: h["config"].update(decoder_channels=[1]),
        lambda h: h["config"].update(min_depth="near"),
        lambda h: h["config"].update(num_classes=None),
        lambda h: h.update(config=3),
        lambda h: h.update(encoder="resnet"),
        lambda h: h.update(encoder={"model_type": "no-such"}),
        lambda h: h["encoder"].update(hidden_sizes="wide"),
        lambda h: h.update(extra=7),
    ],
)
def test_damaged_header(path, change):
    _rewrite(path, change_header=change)
    _refused(path, "header|config|network|encoder")


@pytest.mark.parametrize("keep", [1, 7, 100, 0.5, -1])
def test_truncated(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    _refused(path, "not a whole safetensors file")


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


@pytest.mark.parametrize(
    "content", [b"hello, I am no weight file\n" * 9, pickle.dumps({"a": 1}), b"\x00" * 64, b"PK\x03\x04zip"]
)
def test_foreign_files(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    _refused(tmp_path / "w", "not a whole safetensors file")


def test_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(_Bomb(), tmp_path / "w.pt")
    _refused(tmp_path / "w.pt", "not a whole safetensors file")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_someone_else(tmp_path, metadata):
    save_file({"x": torch.zeros(2)}, tmp_path / "w", metadata=metadata)
    _refused(tmp_path / "w", "not from semdepth")


@pytest.mark.parametrize("header", ["{", "[" * 100_000])
def test_header_that_is_no_json(tmp_path, header):
    save_file({"x": torch.zeros(2)}, tmp_path / "w", metadata={"semdepth": header})
    _refused(tmp_path / "w", "damaged semdepth header")


def test_missing_empty_and_folder(tmp_path):
    (tmp_path / "empty").touch()
    _refused(tmp_path / "empty", "is empty")
    _refused(tmp_path / "absent", "not found")
    _refused(tmp_path, "folder")


def test_half_precision_takes_half_the_space_and_loads_as_float32(networks, path, tmp_path):
    half = tmp_path / "half.safetensors"
    save_weights(half, *networks, half=True)
    assert half.stat().st_size < 0.55 * path.stat().st_size
    loaded, _ = load_depth_network(half)
    for name, value in networks[0].state_dict().items():
        assert loaded.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    load_pose_network(half)
