import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semdepth.data.transforms import AugmentConfig, to_unit_range
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.balance import MEMORY, BalanceConfig, TaskBalance, captured, gradient_norms, total
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import BALANCE_RATE, OptimConfig, build_optimiser, set_learning_rates
from semdepth.training.recorder import read_curves
from semdepth.training.trainer import Trainer
from semdepth.training.trainer_config import TrainerConfig

from .conftest import HEIGHT, WIDTH, Wall

WEIGHTS = {"photometric": 1.0, "smoothness": 1e-3, "segmentation": 0.05}


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def learner(network: NetworkConfig, **config: object) -> tuple[Learner, FrameBatch]:
    torch.manual_seed(0)
    wall = Wall(labels=True)
    batch = to_unit_range(stack_frames([wall[0], wall[1]]))
    return Learner(replace(network, fusion="none"), ObjectiveConfig(**config)), batch  # type: ignore[arg-type]


def test_fixed_weights_are_the_plain_sum() -> None:
    terms = scalars(photometric=0.2, smoothness=0.1, segmentation=3.0)
    fixed = TaskBalance(BalanceConfig("fixed"), 0.05)
    assert not fixed.state_dict()
    assert float(fixed(terms, WEIGHTS)) == pytest.approx(0.2 + 1e-4 + 0.15)


def test_norms_by_hand() -> None:
    feature = torch.tensor([1.0, 2.0], requires_grad=True)
    other = torch.tensor([3.0], requires_grad=True)
    terms = {"photometric": 3 * feature[0] + 4 * other[0], "smoothness": feature[1], "segmentation": 2 * feature.sum()}
    weights = {"photometric": 1.0, "smoothness": 12.0, "segmentation": 0.1}
    norms = gradient_norms(terms, weights, [feature, other])
    assert float(norms["depth"]) == pytest.approx(13)
    assert float(norms["segmentation"]) == pytest.approx(math.sqrt(8))
    assert feature.grad is None
    total(terms, weights).backward()  # the graph is still there


def test_the_weight_follows_the_gradients() -> None:
    balance = TaskBalance(BalanceConfig("gradient", share=0.5), 0.05)
    for _ in range(60):
        balance.follow(scalars(depth=2.0, segmentation=4.0))
    assert float(balance.segmentation_weight) == pytest.approx(0.25, rel=1e-3)
    for depth, segmentation in ((0.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)):
        balance.follow(scalars(depth=depth, segmentation=segmentation))
        assert float(balance.segmentation_weight) == pytest.approx(0.25, rel=1e-3)
    loss = balance(scalars(photometric=0.2, smoothness=0.0, segmentation=3.0), WEIGHTS)
    assert float(loss) == pytest.approx(0.2 + 0.75, rel=1e-3)


def test_learnt_weights_start_fixed_and_settle_where_kendall_says() -> None:
    """d/dw (w·L − ½·log w) = 0 at w = 1/(2L)."""
    balance = TaskBalance(BalanceConfig("learnt"), 0.05)
    terms = scalars(photometric=0.2, smoothness=0.0, segmentation=4.0)
    start = balance(terms, WEIGHTS)
    assert float(start.detach()) == pytest.approx(0.2 + 0.2 - 0.5 * math.log(0.05), rel=1e-5)
    optimiser = torch.optim.Adam(balance.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        balance(terms, WEIGHTS).backward()
        optimiser.step()
    found = balance.current(0.05)
    assert float(found["depth"]) == pytest.approx(2.5, rel=0.02)
    assert float(found["segmentation"]) == pytest.approx(0.125, rel=0.02)


def test_measuring_changes_nothing(small_network: NetworkConfig) -> None:
    gradients, losses = [], []
    for measure in (False, True):
        model, batch = learner(small_network, balance=BalanceConfig("fixed"))
        objective = model(batch, measure=measure)
        objective.loss.backward()
        losses.append(objective.loss.detach())
        gradients.append([p.grad for p in model.parameters()])
        assert bool(objective.balance) == measure
    assert torch.equal(*losses)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert set(objective.balance) == {
        f"{what}_{task}" for what in ("gradient", "weight") for task in ("depth", "segmentation")
    }


def test_measured_norms_are_those_of_the_loss(small_network: NetworkConfig) -> None:
    """What is reported is the gradient that the encoder's features get from each task in the loss as it is."""
    model, batch = learner(small_network)
    with captured(model.depth.encoder, True) as features:
        objective = model(batch, measure=True)
    assert len(features) == len(model.depth.encoder.channels)
    assert not model.depth.encoder._forward_hooks
    both = torch.autograd.grad(objective.loss, features)
    norm = torch.stack([g.norm() for g in both]).norm()
    depth, segmentation = (float(objective.balance[f"gradient_{task}"]) for task in ("depth", "segmentation"))
    assert abs(depth - segmentation) <= float(norm) <= depth + segmentation


def test_gradient_balance_moves_towards_the_share_that_was_asked_for(small_network: NetworkConfig) -> None:
    model, batch = learner(small_network, auto_mask=False, balance=BalanceConfig("gradient", share=0.3))
    found = model(batch, 0).balance
    weight = float(found["weight_segmentation"])
    aim = 0.3 * float(found["gradient_depth"]) / float(found["gradient_segmentation"]) * weight
    assert weight == pytest.approx(0.05**MEMORY * aim ** (1 - MEMORY), rel=1e-4)
    for step, mode in ((1, True), (10, False)):  # not due; not training
        model.train(mode)(batch, step)
        assert float(model.balance.segmentation_weight) == pytest.approx(weight)


def test_a_segmentation_that_is_off_stays_off(small_network: NetworkConfig) -> None:
    model, batch = learner(small_network, segmentation=0.0)
    objective = model(batch, 0)
    assert float(objective.balance["gradient_depth"]) > 0  # it was due, and measured
    assert float(model.balance.segmentation_weight) == 0
    assert torch.isfinite(objective.loss)


def test_learnt_weights_have_a_rate_of_their_own(small_network: NetworkConfig) -> None:
    model, _ = learner(small_network, balance=BalanceConfig("learnt"))
    config = OptimConfig(learning_rate=1e-3, pose_first=10, weight_decay=0.1)
    optimiser = build_optimiser(model.depth, model.pose, config, model.balance)
    rates = []
    for step in (5, 90):
        set_learning_rates(optimiser, config, step, 1000)
        rates.append({group["name"]: group["lr"] for group in optimiser.param_groups})
    assert rates[0] == {"depth": 0.0, "pose": 1e-3, "balance": 0.0}
    assert rates[1] == {"depth": 1e-3, "pose": 1e-3, "balance": BALANCE_RATE * 1e-3}
    assert optimiser.param_groups[2]["weight_decay"] == 0
    assert (
        len(build_optimiser(model.depth, model.pose, config, TaskBalance(BalanceConfig("fixed"), 0.05)).param_groups)
        == 2
    )


@pytest.mark.parametrize("method", ["gradient", "learnt"])
def test_balanced_runs_resume_bit_exactly_and_log(tmp_path: Path, small_network: NetworkConfig, method: str) -> None:
    """With everything else beyond the paper on, too."""

    def build(name: str) -> Trainer:
        return Trainer(
            tmp_path / name,
            Wall(labels=True),
            network=replace(small_network, fusion="ssfa"),
            objective=ObjectiveConfig(
                balance=BalanceConfig(method, every=2), zoom_consistency=0.05, motion_mask="moving"
            ),
            optim=OptimConfig(learning_rate=1e-3),
            augment=AugmentConfig(zoom=0.5, second_view=True),
            trainer=TrainerConfig(batch=2, steps=3, workers=0, accelerator="cpu", log_every=1, checkpoint_every=9),
            image_size=(HEIGHT, WIDTH),
        )

    whole = load_file(build("whole").fit())
    first = build("parts")
    first.stops = lambda requested: first.step == 1  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    parts = load_file(build("parts").fit())
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    curves = {(step, name): value for step, name, value in read_curves(tmp_path / "parts")}
    assert curves[3, "balance/weight_segmentation"] != pytest.approx(0.05, rel=1e-4)
    assert curves[3, "balance/gradient_depth"] > 0
    assert curves[3, "train/zoom"] > 0


def test_contradictions_are_refused(tmp_path: Path, small_network: NetworkConfig) -> None:
    for make, hint in (
        (lambda: BalanceConfig(share=0.0), "share"),
        (lambda: BalanceConfig(share=float("nan")), "share"),
        (lambda: BalanceConfig(every=0), "every"),
        (lambda: ObjectiveConfig(segmentation=0.0, balance=BalanceConfig("learnt")), "segmentation"),
        (lambda: ObjectiveConfig(motion_mask="moving", auto_mask=False), "auto_mask"),
    ):
        with pytest.raises(InputError, match=hint):
            make()
    for objective, augment, hint in (
        (ObjectiveConfig(balance=BalanceConfig("learnt")), AugmentConfig(), "one task"),
        (ObjectiveConfig(motion_mask="moving"), AugmentConfig(), "motion_mask"),
        (ObjectiveConfig(zoom_consistency=0.1), AugmentConfig(), "second_view"),
        (ObjectiveConfig(), AugmentConfig(second_view=True), "zoom_consistency"),
    ):
        with pytest.raises(InputError, match=hint):
            Trainer(
                tmp_path / "run", Wall(), network=small_network, objective=objective, optim=OptimConfig(),
                augment=augment, trainer=TrainerConfig(batch=2, steps=1, workers=0, accelerator="cpu"),
            )  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_faint_gradients_are_measured_in_half_precision_too(dtype: torch.dtype) -> None:
    """1e-8 is nothing in float16."""
    features = torch.ones(2, 50, dtype=dtype, requires_grad=True)
    faint = 1e-8 * features.float().sum()
    norms = gradient_norms({"photometric": faint, "segmentation": 5 * faint}, {"photometric": 1.0}, [features])
    assert float(norms["depth"]) == pytest.approx(1e-7, rel=1e-2)
    assert float(norms["segmentation"]) == pytest.approx(5e-7, rel=1e-2)
