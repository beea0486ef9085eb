import pytest
import torch
import torch.nn.functional as F

from semdepth.models.ssfa import FeatureConcatenation, SemanticAlignment, guide_from_labels

BOTH = [SemanticAlignment, FeatureConcatenation]


def _inputs(channels=6, classes=5, size=(8, 10), guide=None):
    d, s = torch.rand(2, 2, channels, *size, dtype=torch.float64)
    return d, s, torch.rand(2, classes, *(guide or size), dtype=torch.float64).softmax(1)


def _awake(module):
    with torch.no_grad():
        torch.nn.init.normal_(module.exchange.weight)
        torch.nn.init.normal_(module.exchange.bias)
    return module.double()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("guide", [None, (4, 5)])
def test_changes_nothing_before_training(kind, guide):
    d, s, p = _inputs(guide=guide)
    aligned_d, aligned_s = kind(6, 5).double()(d, s, p)
    assert torch.equal(aligned_d, d)
    assert torch.equal(aligned_s, s)


@pytest.mark.parametrize(("norm", "over"), [("channels", 1), ("instance", (2, 3))])
def test_alignment_is_its_formula(norm, over):
    module = _awake(SemanticAlignment(6, 5, embedding=7, norm=norm))
    d, s, p = _inputs()
    e = F.relu(module.embed(p))
    gamma_d, gamma_s, beta_d, beta_s = module.modulation(e).split(6, dim=1)

    def normalised(f):
        return (f - f.mean(over, keepdim=True)) / (f.var(over, keepdim=True, correction=0) + 1e-5).sqrt()

    moved = torch.cat(((1 + gamma_d) * normalised(d) + beta_d, (1 + gamma_s) * normalised(s) + beta_s), 1)
    w, v = module.exchange.weight.split(6)
    w_bias, v_bias = module.exchange.bias.split(6)
    aligned_d, aligned_s = module(d, s, p)
    torch.testing.assert_close(aligned_d, d + F.conv2d(moved, w, w_bias))
    torch.testing.assert_close(aligned_s, s + F.conv2d(moved, v, v_bias))


def test_coarser_guide_modulates_like_its_upsampling_where_it_is_flat():
    module = _awake(SemanticAlignment(6, 5))
    d, s, _ = _inputs(size=(16, 16))
    flat = torch.rand(2, 5, 1, 1, dtype=torch.float64).softmax(1)
    coarse = module(d, s, flat.expand(2, 5, 8, 8))[0]
    fine = module(d, s, flat.expand(2, 5, 16, 16))[0]
    torch.testing.assert_close(coarse[..., 6:10, 6:10], fine[..., 6:10, 6:10])


def test_categories_move_the_depth_feature_where_they_are():
    module = _awake(SemanticAlignment(6, 5))
    d, s, p = _inputs(size=(16, 16))
    other = p.clone()
    other[:, :, 8, 8] = other[:, :, 8, 8].flip(1)
    moved = (module(d, s, p)[0] - module(d, s, other)[0]).abs().amax((0, 1)) > 1e-12
    assert moved[8, 8]
    assert not moved[:5].any()
    assert not moved[12:].any()


@pytest.mark.parametrize("kind", BOTH)
def test_learning_it_adds_what_predicting_it_adds(kind):
    """A product of matrices there, a convolution here."""
    module, inputs = _awake(kind(6, 5)), _inputs()
    learning = module(*inputs)
    with torch.no_grad():
        predicting = module(*inputs)
    for one, other in zip(learning, predicting, strict=True):
        torch.testing.assert_close(one.detach(), other)
    gradients = torch.autograd.grad(learning[0].square().sum(), list(module.exchange.parameters()))
    channels_last = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
    plain = torch.autograd.grad(module(*channels_last)[0].square().sum(), list(module.exchange.parameters()))
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other)


def test_control_does_not_look_at_categories():
    module = _awake(FeatureConcatenation(6, 5))
    d, s, p = _inputs()
    assert torch.equal(module(d, s, p)[0], module(d, s, p.flip(1))[0])


@pytest.mark.parametrize("channels", [8, 16, 32, 64, 128, 256])
@pytest.mark.parametrize("classes", [5, 19])
def test_control_has_as_many_parameters(channels, classes):
    ssfa, concat = (sum(p.numel() for p in kind(channels, classes).parameters()) for kind in BOTH)
    assert abs(concat / ssfa - 1) < 0.02


@pytest.mark.parametrize("kind", BOTH)
def test_every_parameter_learns_once_the_exchange_is_awake(kind):
    module = _awake(kind(6, 5))
    sum(f.square().sum() for f in module(*_inputs())).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("kind", BOTH)
def test_exchange_learns_at_step_0(kind):
    module = kind(6, 5).double()
    sum(f.square().sum() for f in module(*_inputs())).backward()
    assert module.exchange.weight.grad.abs().sum() > 0


def test_labels_become_shares_of_what_is_known():
    labels = torch.tensor([[[0, 0, 2, 255], [0, 1, 255, 255]]], dtype=torch.uint8)
    guide = guide_from_labels(labels, (1, 2), num_classes=3)
    assert guide[0, :, 0].tolist() == [[0.75, 0.0], [0.25, 0.0], [0.0, 0.25]]
    whole = guide_from_labels(labels, (2, 4), num_classes=3)
    assert whole.sum(1).tolist() == (labels < 3).float().tolist()
