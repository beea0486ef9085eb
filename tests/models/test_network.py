import subprocess
import sys
from dataclasses import replace
from typing import get_args

import pytest
import torch

from semdepth.models.network import DepthNetwork, Fusion, NetworkConfig, build_depth_network
from semdepth.runtime import InputError

SMALL = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32), num_classes=5)
FUSIONS = get_args(Fusion)


def _build(fusion="depth-only", seed=0, **changes):
    return build_depth_network(replace(SMALL, fusion=fusion, **changes), seed=seed)


@pytest.fixture
def images(generator):
    return torch.rand(2, 3, 64, 96, generator=generator)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("encoder", ["resnet10-small", "convnextv2-atto"])
def test_four_scales(fusion, encoder, images):
    output = _build(fusion, encoder=encoder)(images)
    assert [tuple(d.shape) for d in output.disparity] == [(2, 1, 64 >> k, 96 >> k) for k in range(4)]
    assert all(((d > 0) & (d < 1)).all() for d in output.disparity)
    if fusion == "depth-only":
        assert output.logits is None
    else:
        assert [tuple(p.shape) for p in output.logits] == [(2, 5, 64 >> k, 96 >> k) for k in range(4)]


@pytest.mark.parametrize("initial", ["ground", "flat"])
def test_all_variants_are_one_network_before_training(images, initial):
    outputs = {fusion: _build(fusion, seed=3, initial_disparity=initial)(images) for fusion in FUSIONS}
    for fusion in FUSIONS[1:]:
        for k in range(4):
            assert torch.equal(outputs[fusion].disparity[k], outputs["depth-only"].disparity[k]), (fusion, k)
            assert torch.equal(outputs[fusion].logits[k], outputs["none"].logits[k]), (fusion, k)


def test_shared_parameters_are_the_same_under_a_seed():
    states = [_build(fusion, seed=5).state_dict() for fusion in FUSIONS]
    for smaller, larger in [(0, 1), (1, 2), (1, 3)]:
        assert set(states[smaller]) < set(states[larger])
        assert all(torch.equal(v, states[larger][k]) for k, v in states[smaller].items())


def test_ablation_arms_have_equal_size():
    none, concat, ssfa = (sum(p.numel() for p in _build(f).parameters()) for f in FUSIONS[1:])
    assert none < ssfa
    assert abs((concat - none) / (ssfa - none) - 1) < 0.02


def test_seed_decides_and_global_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, again, other = (_build("ssfa", seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    assert not torch.equal(first["depth_decoder.stages.0.merge.weight"], other["depth_decoder.stages.0.merge.weight"])


def test_without_a_seed_the_global_generator_decides():
    torch.manual_seed(1)
    a = _build(seed=None).state_dict()
    b = _build(seed=None).state_dict()
    key = "depth_decoder.stages.0.merge.weight"
    assert not torch.equal(a[key], b[key])


def _loss(output):
    logits = output.logits or ()
    return sum(d.square().mean() for d in output.disparity) + sum(p.square().mean() for p in logits)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_gradient_reaches_every_parameter(fusion, images):
    network = _build(fusion)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    _loss(network(images)).backward()
    optimiser.step()  # what lies behind a zero-initialised convolution learns from the second step on
    optimiser.zero_grad()
    _loss(network(images)).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("guide_gradient", [False, True])
def test_depth_gradient_into_the_class_heads_only_if_asked(guide_gradient, images):
    network = _build("ssfa", guide_gradient=guide_gradient)
    for fusion in network.fusions:
        torch.nn.init.normal_(fusion.exchange.weight)
    network(images).disparity[0].sum().backward()
    # Head 0 guides nothing; heads 1 and up guide the next finer stage, head 3 its own too.
    reached = [head.conv.weight.grad is not None for head in network.class_heads]
    assert reached == [False, guide_gradient, guide_gradient, guide_gradient]


def test_alignment_brings_semantics_into_depth(images):
    network = _build("ssfa").eval()
    for fusion in network.fusions:
        torch.nn.init.normal_(fusion.exchange.weight, std=0.1)
    before = network(images).disparity[0]
    with torch.no_grad():
        network.class_heads[1].conv.weight.mul_(-5.0)
    assert (network(images).disparity[0] - before).abs().max() > 1e-4


def test_none_keeps_the_branches_apart(images):
    network = _build("none").eval()
    before = network(images).disparity[0]
    with torch.no_grad():
        for p in (*network.semantic_decoder.parameters(), *network.class_heads.parameters()):
            p.mul_(-1.0)
    assert torch.equal(network(images).disparity[0], before)


@pytest.mark.parametrize("encoder", ["resnet10-small", "resnet18"])
def test_ground_start_is_near_below_and_far_above(encoder, images):
    expected = 0.1 + 0.4 * torch.linspace(-1.0, 1.0, 64).clamp(min=0.0)
    rows = _build(encoder=encoder).eval()(images).disparity[0].mean((0, 1, 3))
    assert (rows[-8:].mean() / rows[:8].mean()) > 2.5
    assert torch.corrcoef(torch.stack((rows, expected)))[0, 1] > 0.95
    flat = _build(encoder=encoder, initial_disparity="flat").eval()(images).disparity[0].mean((0, 1, 3))
    assert abs(flat[-8:].mean() / flat[:8].mean() - 1) < 0.5


@pytest.mark.parametrize("size", [(64, 100), (60, 96), (32, 96), (64, 32)])
def test_refuses_sizes_that_do_not_fit(size):
    with pytest.raises(ValueError, match="multiples of 32"):
        _build()(torch.rand(1, 3, *size))


def test_channels_last_gives_the_same(images):
    network = _build("ssfa").eval()
    for fusion in network.fusions:
        torch.nn.init.normal_(fusion.exchange.weight, std=0.1)
    expected = network(images).disparity[0]
    network = network.to(memory_format=torch.channels_last)
    actual = network(images.contiguous(memory_format=torch.channels_last)).disparity[0]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_bfloat16_autocast_runs(images):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = _build("ssfa")(images)
    assert torch.isfinite(output.disparity[0]).all()


class _Plain(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        output = self.network(images)
        return output.disparity[0], output.logits[0]


def test_exports_without_data_dependent_python(images):
    plain = _Plain(_build("ssfa").eval())
    program = torch.export.export(plain, (images,))
    torch.testing.assert_close(program.module()(images), plain(images))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fusion", "all"),
        ("initial_disparity", "sky"),
        ("min_depth", 0.0),
        ("max_depth", 0.05),
        ("num_classes", 1),
        ("decoder_channels", (8, 8)),
        ("decoder_channels", (8, 8, 8, 8, 0)),
        ("guide_gradient", True),
        ("ssfa_norm", "batch"),
    ],
)
def test_contradictions_are_refused(field, value):
    with pytest.raises(InputError, match=f"network.{field.replace('max', 'min')}"):
        NetworkConfig(**{field: value})


def test_decoder_too_short_for_the_encoder():
    with pytest.raises(InputError, match="decoder_channels"):
        _build(decoder_channels=(8, 8, 8, 8))


def test_config_does_not_import_transformers():
    code = "import sys, semdepth.models.network as n; n.NetworkConfig(); sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=None, check=False).returncode == 0


def awake(fusion: str) -> DepthNetwork:
    """Whose fusions do something."""
    network = build_depth_network(replace(SMALL, fusion=fusion), seed=0).eval()
    for name, parameter in network.named_parameters():
        if "exchange" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return network


def test_a_guide_replaces_the_predicted_classes_where_it_knows_them() -> None:
    network, images = awake("ssfa"), torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    guide = torch.zeros(1, 5, 64, 96)
    with torch.inference_mode():
        plain = network(images)
        unknown = network(images, guide)
        guide[:, 3, :, 48:] = 1
        half = network(images, guide)
        guide[:, 3] = 1
        whole, unsure = network(images, guide), network(images, 0.25 * guide)
    assert torch.equal(unknown.disparity[0], plain.disparity[0])
    changed = [(guided.disparity[0] - plain.disparity[0]).abs() for guided in (half, whole)]
    assert float(changed[0][..., 60:].mean()) > 1e-3 < float(changed[1].mean())
    assert float((half.disparity[0] - whole.disparity[0])[..., 80:].abs().mean()) < float(changed[0][..., 80:].mean())
    torch.testing.assert_close(unsure.disparity[0], whole.disparity[0], msg="what is known of a pixel is its classes")


@pytest.mark.parametrize("fusion", ["depth-only", "none", "concat"])
def test_only_ssfa_can_be_guided(fusion: str) -> None:
    with pytest.raises(InputError, match="ssfa"):
        awake(fusion).require_guidable()
    awake("ssfa").require_guidable()
