import json
import time

import pytest
import torch

from semdepth.models.encoder import BUILT_IN, build_encoder, encoder_from_settings
from semdepth.runtime import InputError

SMALL = "resnet10-small"


@pytest.fixture(scope="module")
def convnext_folder(tmp_path_factory):
    from transformers import ConvNextConfig, ConvNextForImageClassification

    folder = tmp_path_factory.mktemp("convnext")
    config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    torch.manual_seed(0)
    ConvNextForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        (SMALL, (16, 16, 32, 64, 128), (2, 4, 8, 16, 32)),
        ("resnet18", (64, 64, 128, 256, 512), (2, 4, 8, 16, 32)),
        ("resnet50", (64, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)),
        ("convnextv2-atto", (40, 80, 160, 320), (4, 8, 16, 32)),
    ],
)
def test_pyramid(name, channels, strides):
    encoder = build_encoder(name, pretrained=False)
    assert (encoder.channels, encoder.strides) == (channels, strides)
    maps = encoder(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(1, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]


@pytest.mark.parametrize(
    ("name", "millions"), [("resnet18", 11.176512), ("resnet34", 21.284672), ("resnet50", 23.508032)]
)
def test_classic_resnets_have_their_parameter_counts(name, millions):
    count = sum(p.numel() for p in build_encoder(name, pretrained=False).parameters())
    assert count == pytest.approx(millions * 1e6, abs=0.5)


def test_first_resnet_feature_is_the_stem_before_pooling():
    encoder = build_encoder(SMALL, pretrained=False).eval()
    images = torch.rand(1, 3, 64, 64)
    stem = encoder.backbone.embedder.embedder((images - 0.45) / 0.225)
    torch.testing.assert_close(encoder(images)[0], stem)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "settings", [BUILT_IN[SMALL], BUILT_IN[SMALL] | {"hidden_act": "gelu"}, BUILT_IN["convnextv2-atto"]]
)
def test_the_coarsest_feature_alone_is_the_same_to_the_last_bit(settings, training):
    found = []
    for read in (lambda encoder, images: encoder(images)[-1], lambda encoder, images: encoder.coarsest(images)):
        torch.manual_seed(0)
        encoder = encoder_from_settings(settings, in_channels=6).train(training)
        last = read(encoder, torch.rand(2, 6, 64, 96))
        last.square().sum().backward()
        found.append([last.detach(), *(p.grad for p in encoder.parameters() if p.grad is not None), *encoder.buffers()])
    assert len(found[0]) == len(found[1]) > 10
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_training_mode_survives_construction():
    encoder = build_encoder(SMALL, pretrained=False)
    assert encoder.training
    assert encoder.backbone.training
    assert torch.equal(encoder.backbone.embedder.embedder.normalization.running_mean, torch.zeros(16))


def test_folder_as_architecture_and_as_weights(convnext_folder):
    random = build_encoder(str(convnext_folder), pretrained=False)
    first = build_encoder(str(convnext_folder), pretrained=True)
    second = build_encoder(str(convnext_folder), pretrained=True)
    key = "backbone.embeddings.patch_embeddings.weight"
    assert first.strides == random.strides == (4, 8, 16, 32)
    assert torch.equal(first.state_dict()[key], second.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], random.state_dict()[key])
    assert first.training


def test_pretrained_stem_folds_over_a_stack_of_equal_images(convnext_folder):
    one = build_encoder(str(convnext_folder), pretrained=True).eval()
    pair = build_encoder(str(convnext_folder), pretrained=True, in_channels=6).eval()
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(pair(torch.cat((image, image), 1))[-1], one(image)[-1], atol=1e-4, rtol=1e-4)


def test_settings_rebuild_the_like_from_json():
    encoder = build_encoder("convnextv2-atto", pretrained=False)
    like = encoder_from_settings(json.loads(json.dumps(encoder.settings)))
    assert {k: v.shape for k, v in like.state_dict().items()} == {k: v.shape for k, v in encoder.state_dict().items()}


def test_incomplete_weights_are_refused(convnext_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(convnext_folder / "model.safetensors")
    dropped = next(k for k in sorted(tensors) if "stages.2" in k)
    del tensors[dropped]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((convnext_folder / "config.json").read_text())
    with pytest.raises(InputError, match=r"lack .*stages\.2"):
        build_encoder(str(tmp_path), pretrained=True)


def test_pickled_weights_are_not_read(convnext_folder, tmp_path):
    (tmp_path / "config.json").write_text((convnext_folder / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        build_encoder(str(tmp_path), pretrained=True)


def test_remote_code_is_never_run(convnext_folder, tmp_path):
    config = json.loads((convnext_folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", "AutoBackbone": "evil.Net"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError):
        build_encoder(str(tmp_path), pretrained=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("name", ["nobody-here/no-such-backbone", "resnet19", "/no/such/folder", ""])
def test_names_that_lead_nowhere_fail_fast_in_one_line(name, pretrained, monkeypatch):
    monkeypatch.setattr("semdepth.hub._hub_in_reach", lambda: False)
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        build_encoder(name, pretrained=pretrained)
    assert time.perf_counter() - start < 15  # the first import of transformers included
    assert "\n" not in str(caught.value)
    assert repr(name) in str(caught.value)


def test_folder_without_config(tmp_path):
    with pytest.raises(InputError, match=r"without config\.json"):
        build_encoder(str(tmp_path), pretrained=False)


def test_folder_with_broken_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded"):
        build_encoder(str(tmp_path), pretrained=False)


def test_built_in_without_published_weights():
    with pytest.raises(InputError, match="no pretrained weights"):
        build_encoder(SMALL, pretrained=True)


def test_plain_transformer_is_no_pyramid():
    settings = {"model_type": "dinov2", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    with pytest.raises(InputError, match="no pyramid"):
        encoder_from_settings(settings)


@pytest.mark.parametrize(
    "settings", [{}, {"model_type": "no-such"}, {"model_type": "bert"}, {"model_type": "timm_backbone"}]
)
def test_settings_of_no_backbone(settings):
    with pytest.raises(InputError, match="encoder type"):
        encoder_from_settings(settings)


def test_every_built_in_is_a_pyramid_of_stride_32():
    for name in set(BUILT_IN) - {"resnet50"}:
        assert build_encoder(name, pretrained=False).strides[-1] == 32
