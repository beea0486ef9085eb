import pytest
import torch
import torch.nn.functional as F

from semdepth.models.decoder import ROWS, ClassHead, DecoderStage, DisparityHead, PyramidDecoder, ground_profile

RESNET = ((64, 64, 128, 256, 512), (2, 4, 8, 16, 32))
CHANNELS = (16, 32, 64, 128, 256)


def _run(decoder, channels, strides, size=(64, 96)):
    features = [torch.rand(2, c, size[0] // s, size[1] // s) for c, s in zip(channels, strides, strict=True)]
    x, outputs = features[-1], {}
    for i in reversed(range(len(decoder))):
        outputs[i] = x = decoder.step(i, x, features)
    return outputs


@pytest.mark.parametrize(
    ("channels", "strides"),
    [RESNET, ((40, 80, 160, 320), (4, 8, 16, 32)), ((8, 16, 32), (4, 8, 16)), ((32, 64, 128), (8, 16, 32))],
)
def test_stage_i_ends_at_stride_2_to_the_i(channels, strides):
    outputs = _run(PyramidDecoder(channels, strides, CHANNELS), channels, strides)
    assert min(outputs) == 0
    for i, x in outputs.items():
        assert x.shape == (2, CHANNELS[i], 64 >> i, 96 >> i)


def test_has_the_parameters_of_the_literatures_depth_decoder():
    decoder = PyramidDecoder(*RESNET, CHANNELS)
    heads = [DisparityHead(c, None) for c in CHANNELS[:4]]
    count = sum(p.numel() for m in (decoder, *heads) for p in m.parameters())
    below, skips = (32, 64, 128, 256, 512), (0, 64, 64, 128, 256)
    convs = [(b, c) for b, c in zip(below, CHANNELS, strict=True)]
    convs += [(c + s, c) for c, s in zip(CHANNELS, skips, strict=True)] + [(c, 1) for c in CHANNELS[:4]]
    assert count == sum(9 * i * o + o for i, o in convs)


def test_stage_is_its_formula():
    stage = DecoderStage(4, 3, 2).double()
    x, skip = torch.rand(1, 4, 5, 6).double(), torch.rand(1, 3, 10, 12).double()

    def conv(layer, y):
        return F.elu(F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), layer.weight, layer.bias))

    up = conv(stage.reduce, x).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(stage(x, skip), conv(stage.merge, torch.cat((up, skip), 1)))


def test_every_skip_matters():
    decoder = PyramidDecoder(*RESNET, CHANNELS)
    features = [torch.rand(1, c, 64 // s, 64 // s, requires_grad=True) for c, s in zip(*RESNET, strict=True)]
    x = features[-1]
    for i in reversed(range(len(decoder))):
        x = decoder.step(i, x, features)
    x.sum().backward()
    assert all(f.grad is not None and f.grad.abs().sum() > 0 for f in features)


@pytest.mark.parametrize(("strides", "channels"), [((2, 4, 8), CHANNELS), ((4, 8, 16, 32), CHANNELS[:4])])
def test_refuses_a_pyramid_that_does_not_fit(strides, channels):
    with pytest.raises(ValueError, match="decoder channels"):
        PyramidDecoder((8,) * len(strides), strides, channels)


def test_ground_profile_is_a_plane_below_the_horizon():
    profile = ground_profile(0.5, 0.1)
    assert torch.allclose(profile[: ROWS // 2 + 1], torch.tensor(0.1))
    below = profile[ROWS // 2 :]
    torch.testing.assert_close(below.diff(), torch.full((ROWS // 2,), 0.4 / (ROWS // 2)))
    assert below[-1] == 0.5


def test_an_otherwise_silent_head_starts_at_its_profile():
    profile = ground_profile(0.5, 0.1)
    head = DisparityHead(4, profile)
    with torch.no_grad():
        head.conv.weight.zero_()
        head.conv.bias.zero_()
    out = head(torch.rand(2, 4, ROWS, 5))
    torch.testing.assert_close(out, profile[None, None, :, None].expand(2, 1, ROWS, 5))


def test_the_profile_can_be_unlearnt():
    head = DisparityHead(4, ground_profile(0.5, 0.1))
    head(torch.rand(1, 4, 40, 6)).sum().backward()
    assert (head.row_logits.grad.abs() > 0).all()


def test_plain_head_is_a_convolution_only():
    head = DisparityHead(4, None)
    assert {name for name, _ in head.named_parameters()} == {"conv.weight", "conv.bias"}
    feature = torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(head(feature), torch.sigmoid(head.conv(feature)))


def test_class_head_shape():
    assert ClassHead(8, 5)(torch.rand(2, 8, 6, 7)).shape == (2, 5, 6, 7)
