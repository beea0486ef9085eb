"""The ranking loss pushes the right way, only where it should, and never breaks."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semdepth.labels import TRAIN_ID
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import sample_pairs
from semdepth.losses.ranking import RankingConfig, semantic_ranking_loss
from semdepth.runtime import InputError

BUILDING, CAR, SKY, VEGETATION = (TRAIN_ID[name] for name in ("building", "car", "sky", "vegetation"))
PAIRS = PairConfig(samples=200, prediction_decides=False)
FORMS = [RankingConfig(form="hinge", pairs=PAIRS), RankingConfig(form="logistic", equality="square", pairs=PAIRS)]


def car_before_building(height: int = 40, width: int = 160) -> Tensor:
    labels = torch.full((1, height, width), BUILDING, dtype=torch.uint8)
    labels[:, height // 4 :, width // 3 : 2 * width // 3] = CAR
    return labels


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("config", FORMS, ids=lambda c: c.form)
def test_descent_brings_the_occluder_nearer(config: RankingConfig) -> None:
    labels = car_before_building()
    disparity = torch.full((1, 1, 40, 160), 0.5, requires_grad=True)
    semantic_ranking_loss(disparity, labels, config=config, generator=seed()).backward()
    assert disparity.grad is not None
    car = (labels == CAR)[:, None]
    assert disparity.grad[car].sum() < 0  # less loss with more disparity
    assert disparity.grad[~car].sum() > 0


def test_hinge_is_silent_in_order_and_logistic_is_not() -> None:
    labels = car_before_building()
    disparity = torch.where(labels == CAR, 0.6, 0.5)[:, None].requires_grad_()
    hinge, logistic = (semantic_ranking_loss(disparity, labels, config=c, generator=seed()) for c in FORMS)
    assert hinge.item() == 0
    assert logistic.item() > 0.1
    (gradient,) = torch.autograd.grad(hinge, disparity)
    assert (gradient == 0).all()


def test_hinge_value_is_the_margin_of_a_tie() -> None:
    config = RankingConfig(margin=0.07, equality="none", pairs=PAIRS)
    loss = semantic_ranking_loss(torch.ones(1, 1, 40, 160), car_before_building(), config=config, generator=seed())
    assert loss.item() == pytest.approx(0.07)


def test_logistic_value_of_a_tie() -> None:
    config = RankingConfig(form="logistic", equality="none", pairs=PAIRS)
    loss = semantic_ranking_loss(torch.ones(1, 1, 40, 160), car_before_building(), config=config, generator=seed())
    assert loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("config", FORMS, ids=lambda c: c.form)
@pytest.mark.parametrize("factor", [0.01, 300.0])
def test_scale_of_disparity_does_not_matter(config: RankingConfig, factor: float) -> None:
    labels = car_before_building()
    disparity = torch.rand(1, 1, 40, 160, generator=seed(3)) + 0.1
    config = replace(config, pairs=replace(PAIRS, prediction_decides=True))
    loss = semantic_ranking_loss(disparity, labels, config=config, generator=seed())
    scaled = semantic_ranking_loss(disparity * factor, labels, config=config, generator=seed())
    assert scaled.item() == pytest.approx(loss.item(), rel=1e-4)
    assert loss.item() > 0


@pytest.mark.parametrize("equality", ["band", "square", "none"])
@pytest.mark.parametrize("form", ["hinge", "logistic"])
def test_gradient_is_exact(form: str, equality: str) -> None:
    labels = car_before_building(16, 64)
    config = RankingConfig(form=form, equality=equality, pairs=replace(PAIRS, samples=60, least_area=50))
    disparity = (torch.rand(1, 1, 16, 64, generator=seed(1), dtype=torch.float64) + 0.2).requires_grad_()
    assert semantic_ranking_loss(disparity, labels, config=config, generator=seed()).item() > 0
    assert torch.autograd.gradcheck(
        lambda d: semantic_ranking_loss(d, labels, config=config, generator=seed()), disparity, fast_mode=True
    )


def test_equality_band_holds_a_thing_together() -> None:
    labels = car_before_building()
    ramp = torch.linspace(0, 10, 160).exp().expand(1, 1, 40, 160)
    off = semantic_ranking_loss(ramp, labels, config=replace(FORMS[0], equality="none"), generator=seed())
    band = [replace(FORMS[0], band=b) for b in (0.0, 0.1, 10.0)]
    tight, middle, loose = (semantic_ranking_loss(ramp, labels, config=c, generator=seed()) for c in band)
    assert tight > middle > loose
    assert off > loose  # the same ordered pairs, not diluted by contented equal ones


def test_before_the_sky_only_the_sky_yields() -> None:
    labels = torch.full((1, 40, 160), BUILDING, dtype=torch.uint8)
    labels[:, :20] = SKY
    is_sky = (labels == SKY)[:, None]
    disparity = torch.full((1, 1, 40, 160), 0.5, requires_grad=True)  # a tie: every pair is out of order
    loss, gradient = {}, {}
    for yields in (True, False):
        config = replace(FORMS[0], sky_yields=yields)
        loss[yields] = semantic_ranking_loss(disparity, labels, config=config, generator=seed())
        (gradient[yields],) = torch.autograd.grad(loss[yields], disparity)
    assert loss[True] == loss[False] > 0
    assert (gradient[True][~is_sky] == 0).all()
    assert gradient[False][~is_sky].sum() < 0
    assert torch.equal(gradient[True][is_sky], gradient[False][is_sky])
    assert gradient[True][is_sky].sum() > 0  # less loss with less disparity: farther


def test_the_sky_yields_on_either_side_and_changes_no_other_pair() -> None:
    labels = car_before_building()
    labels[:, :, 80:] = torch.where(labels == BUILDING, SKY, labels)[:, :, 80:]  # sky beside the car, and on its right
    disparity = (torch.rand(1, 1, 40, 160, generator=seed(4)) + 0.3).requires_grad_()
    pairs = replace(PAIRS, standing=False, least_area=0)
    gradient = {}
    for yields in (True, False):
        loss = semantic_ranking_loss(
            disparity, labels, config=replace(FORMS[0], sky_yields=yields, pairs=pairs), generator=seed()
        )
        (gradient[yields],) = torch.autograd.grad(loss, disparity)
    drawn = sample_pairs(labels, disparity, config=pairs, generator=seed())
    with_sky = torch.stack([label == SKY for label in drawn.at(labels)]).any(0)
    assert with_sky.any()
    assert (~with_sky).any()
    touched = torch.zeros_like(labels, dtype=torch.bool)
    for points in (drawn.i[with_sky], drawn.j[with_sky]):
        touched[0, points[:, 0], points[:, 1]] = True
    same = (gradient[True] == gradient[False])[0]
    assert same[~touched].all()
    assert same[touched & (labels == SKY)].all()
    assert not same[touched & (labels != SKY)].all()


@pytest.mark.parametrize("config", FORMS, ids=lambda c: c.form)
def test_no_pair_gives_zero_with_zero_gradient(config: RankingConfig) -> None:
    disparity = torch.rand(2, 1, 20, 60).add(0.1).requires_grad_()
    labels = torch.full((2, 20, 60), BUILDING, dtype=torch.uint8)
    loss = semantic_ranking_loss(disparity, labels, torch.full((2, 19, 20, 60), 1 / 19), config=config)
    loss.backward()
    assert loss.item() == 0
    assert disparity.grad is not None
    assert (disparity.grad == 0).all()


def test_uncertain_pairs_weigh_less() -> None:
    labels = car_before_building()
    disparity = torch.where(labels == CAR, 0.5, 0.6)[:, None]
    disparity[..., 80:] = torch.where(labels == CAR, 0.4, 0.8)[:, None][..., 80:]  # worse on the right
    sure = torch.nn.functional.one_hot(labels.long(), 19).movedim(3, 1).float()
    doubtful = sure.clone()
    doubtful[..., 80:] = 0.5 * sure[..., 80:] + 0.5 / 19
    config = replace(FORMS[0], equality="none")
    at_face = semantic_ranking_loss(
        disparity, labels, doubtful, config=replace(config, uncertainty=False), generator=seed()
    )
    weighed = semantic_ranking_loss(disparity, labels, doubtful, config=config, generator=seed())
    certain = semantic_ranking_loss(disparity, labels, sure, config=config, generator=seed())
    assert weighed < at_face
    assert certain.item() == pytest.approx(at_face.item())


def test_weight_is_the_product_of_certainties() -> None:
    labels = car_before_building()
    disparity = torch.rand(1, 1, 40, 160, generator=seed(5)) + 0.1
    probabilities = torch.rand(1, 19, 40, 160, generator=seed(6)).pow(8)
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    config = RankingConfig(equality="none", pairs=replace(PAIRS, agreement=False))
    loss = semantic_ranking_loss(disparity, labels, probabilities, config=config, generator=seed())
    pairs = sample_pairs(labels, disparity, probabilities, config=config.pairs, generator=seed())
    total = weights = 0.0
    for n in range(len(pairs)):
        if pairs.ordinal[n] == 0:
            continue
        (yi, xi), (yj, xj) = pairs.i[n].tolist(), pairs.j[n].tolist()
        weight = 1.0
        for y, x in ((yi, xi), (yj, xj)):
            p = probabilities[0, :, y, x]
            weight *= 1 + float((p * p.log()).sum()) / math.log(19)
        gap = math.log(disparity[0, 0, yi, xi] / disparity[0, 0, yj, xj]) * int(pairs.ordinal[n])
        total, weights = total + weight * max(0.0, 0.05 - gap), weights + weight
    assert loss.item() == pytest.approx(total / weights, rel=1e-4)


def test_no_gradient_into_probabilities() -> None:
    labels = car_before_building()
    logits = torch.nn.functional.one_hot(labels.long(), 19).movedim(3, 1).float().mul(5).requires_grad_()
    disparity = torch.ones(1, 1, 40, 160, requires_grad=True)
    loss = semantic_ranking_loss(disparity, labels, logits.softmax(1), config=FORMS[0], generator=seed())
    loss.backward()
    assert loss.item() > 0
    assert logits.grad is None


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 2**31), form=st.sampled_from(["hinge", "logistic"]), small=st.booleans())
def test_never_nan(number: int, form: str, small: bool) -> None:
    generator = seed(number)
    labels = torch.randint(0, 19, (2, 8, 20), generator=generator, dtype=torch.uint8).repeat_interleave(4, 2)
    disparity = torch.rand(2, 1, 8, 80, generator=generator) * (1e-30 if small else 1.0)
    disparity[disparity < 0.1 * disparity.max()] = 0  # even where the contract is broken
    disparity.requires_grad_()
    probabilities = torch.randn(2, 19, 8, 80, generator=generator).mul(200).softmax(1)
    pairs = PairConfig(samples=500, agreement=False, least_area=0, tolerance=0, uniform_neighbourhood=False)
    config = RankingConfig(form=form, equality="square", pairs=pairs)
    loss = semantic_ranking_loss(disparity, labels, probabilities, config=config, generator=generator)
    loss.backward()
    assert torch.isfinite(loss)
    assert disparity.grad is not None


def test_half_precision_is_lifted() -> None:
    labels = car_before_building()
    disparity = (torch.rand(1, 1, 40, 160, generator=seed(2)) + 0.1).bfloat16()
    loss = semantic_ranking_loss(disparity, labels, config=FORMS[0], generator=seed())
    full = semantic_ranking_loss(disparity.float(), labels, config=FORMS[0], generator=seed())
    assert loss.dtype == torch.float32
    assert loss == full


@pytest.mark.parametrize(
    "shapes",
    [
        {"disparity": (1, 1, 20, 80)},
        {"disparity": (1, 40, 160)},
        {"probabilities": (1, 19, 20, 80)},
        {"confidence": (1, 20, 80)},
    ],
)
def test_other_sizes_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    maps = {name: torch.ones(shape) for name, shape in ({"disparity": (1, 1, 40, 160)} | shapes).items()}
    with pytest.raises(ValueError, match=r"labels are \(1, 40, 160\)"):
        semantic_ranking_loss(labels=car_before_building(), **maps, config=FORMS[0])


def test_margins_that_are_none_are_refused() -> None:
    for wrong in (-0.1, float("nan")):
        with pytest.raises(InputError, match=rf"ranking_loss.margin {wrong}"):
            RankingConfig(margin=wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("config", FORMS, ids=lambda c: c.form)
def test_the_same_on_a_gpu(config: RankingConfig) -> None:
    """The same pairs under the same seed, the same loss, the same gradient."""
    found = []
    for device in ("cpu", "cuda"):
        labels = car_before_building().to(device)
        disparity = torch.linspace(0.4, 0.6, 160).expand(1, 1, 40, 160).to(device).clone().requires_grad_()
        loss = semantic_ranking_loss(disparity, labels, config=config, generator=seed())
        loss.backward()
        assert disparity.grad is not None
        found.append((loss.detach().cpu(), disparity.grad.cpu()))
    assert found[0][0] > 0
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-7)
