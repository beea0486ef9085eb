"""Segmentation loss and uncertainty."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.losses.segmentation import segmentation_loss


def sample(seed=0, classes=4, size=(4, 6), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, *size, generator=generator, dtype=dtype) * 3
    labels = torch.randint(classes, (2, *size), generator=generator).to(torch.uint8)
    labels[torch.rand(2, *size, generator=generator) < 0.2] = 255
    return logits, labels, torch.rand(2, *size, generator=generator, dtype=dtype)


def by_hand(logits, labels, confidence):
    """One pixel after the other."""
    total = weight = 0.0
    for b, y, x in torch.nonzero(labels != 255).tolist():
        q = confidence[b, y, x].item()
        scores = logits[b, :, y, x].tolist()
        total += q * (math.log(sum(map(math.exp, scores))) - scores[labels[b, y, x]])
        weight += q
    return total / weight


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_equals_the_weighted_mean_over_pixels(seed):
    logits, labels, confidence = sample(seed)
    assert segmentation_loss(logits, labels, confidence).item() == pytest.approx(by_hand(logits, labels, confidence))
    ones = torch.ones_like(confidence)
    assert segmentation_loss(logits, labels).item() == pytest.approx(by_hand(logits, labels, ones))


def test_sure_and_right_costs_nothing_and_a_uniform_guess_log_c():
    labels = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    right = torch.nn.functional.one_hot(labels.long().clamp(max=2), 3).permute(0, 3, 1, 2) * 50.0
    assert segmentation_loss(right, labels).item() == pytest.approx(0, abs=1e-6)
    assert segmentation_loss(torch.zeros(1, 3, 2, 2), labels).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("case", ["ignored", "no confidence"])
def test_no_valid_pixel_gives_zero_and_zero_gradient(case):
    logits, labels, confidence = sample()
    if case == "ignored":
        labels = torch.full_like(labels, 255)
    else:
        confidence = torch.zeros_like(confidence)
    loss = segmentation_loss(logits.requires_grad_(), labels, confidence)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ignored_pixels_get_no_gradient():
    logits, labels, confidence = sample()
    segmentation_loss(logits.requires_grad_(), labels, confidence).backward()
    touched = logits.grad.abs().sum(1) > 0
    assert torch.equal(touched, labels != 255)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_coarse_logits_meet_the_label_at_their_centre(factor):
    """Labels in blocks: every coarse pixel must see its own block, never a neighbour's."""
    coarse = torch.randint(4, (1, 3, 5), generator=torch.Generator().manual_seed(0))
    labels = coarse.repeat_interleave(factor, 1).repeat_interleave(factor, 2).to(torch.uint8)
    labels[:, ::factor] = 255 if factor > 2 else labels[:, ::factor]  # the blocks' edges do not count
    right = torch.nn.functional.one_hot(coarse, 4).permute(0, 3, 1, 2) * 60.0
    assert segmentation_loss(right, labels, torch.ones(labels.shape)).item() == pytest.approx(0, abs=1e-6)


def test_confidence_is_read_at_the_same_centres():
    labels, confidence = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4)
    labels[0, 3, 3], confidence[0, 3, 3] = 1, 1.0  # the centre of the last coarse pixel, rounded up
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0] = 5.0
    assert segmentation_loss(logits, labels, confidence).item() == pytest.approx(math.log(1 + math.exp(5)))


@pytest.mark.parametrize("value", [4, 19, 254])
def test_labels_without_a_class_are_refused(value):
    logits, labels, _ = sample()
    labels[1, 2, 3] = value
    with pytest.raises(ValueError, match=rf"labels: {value} is neither a class \(0 to 3\) nor 255"):
        segmentation_loss(logits, labels)


def test_bad_labels_are_refused_even_where_a_coarse_scale_does_not_look():
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[0, 0, 0] = 77
    with pytest.raises(ValueError, match="77"):
        segmentation_loss(torch.zeros(1, 4, 2, 2), labels)


@pytest.mark.parametrize(
    ("logits", "labels", "confidence", "text"),
    [
        (torch.rand(2, 3, 4), torch.zeros(2, 3, 4, dtype=torch.uint8), None, "logits"),
        (torch.rand(2, 1, 3, 4), torch.zeros(2, 3, 4, dtype=torch.uint8), None, "logits"),
        (torch.ones(2, 3, 3, 4, dtype=torch.int64), torch.zeros(2, 3, 4, dtype=torch.uint8), None, "floating point"),
        (torch.rand(2, 3, 3, 4), torch.zeros(2, 1, 3, 4, dtype=torch.uint8), None, "labels"),
        (torch.rand(2, 3, 3, 4), torch.zeros(1, 3, 4, dtype=torch.uint8), None, "labels"),
        (torch.rand(2, 3, 6, 8), torch.zeros(2, 3, 4, dtype=torch.uint8), None, "of at least"),
        (torch.rand(2, 3, 3, 4), torch.zeros(2, 3, 4), None, "integers"),
        (torch.rand(2, 3, 3, 4), torch.zeros(2, 3, 4, dtype=torch.uint8), torch.ones(2, 1, 3, 4), "confidence"),
    ],
)
def test_wrong_input_is_refused(logits, labels, confidence, text):
    with pytest.raises(ValueError, match=text):
        segmentation_loss(logits, labels, confidence)


def test_half_precision_is_computed_in_full():
    logits, labels, _ = sample(dtype=torch.float16)
    assert segmentation_loss(logits, labels).dtype == torch.float32


def test_gradients():
    logits, labels, confidence = sample(classes=3, size=(2, 3))
    assert torch.autograd.gradcheck(lambda x: segmentation_loss(x, labels, confidence), (logits.requires_grad_(),))
