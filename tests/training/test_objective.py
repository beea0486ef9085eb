import math
from dataclasses import replace

import pytest
import torch

from semdepth.data.transforms import AugmentConfig, augment, to_unit_range
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.balance import BalanceConfig
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig

from .conftest import Wall


def make(network: NetworkConfig, seed: int = 0, **config: object) -> Learner:
    torch.manual_seed(seed)
    return Learner(network, ObjectiveConfig(**config))  # type: ignore[arg-type]


def batch_of(wall: Wall, count: int = 2) -> FrameBatch:
    return to_unit_range(stack_frames([wall[i] for i in range(count)]))


def test_every_switch_changes_the_loss(wall: Wall, small_network: NetworkConfig) -> None:
    batch = batch_of(wall)
    plain = float(make(small_network)(batch).loss)
    for switch in ("auto_mask", "per_pixel_minimum", "full_resolution"):
        assert float(make(small_network, **{switch: False})(batch).loss) != plain, switch


def test_gradient_reaches_both_networks(wall: Wall, small_network: NetworkConfig) -> None:
    learner = make(small_network, auto_mask=False)
    learner(batch_of(wall)).loss.backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert learner.pose.motion.weight.grad.abs().sum() > 0


def test_motion_of_the_past_is_inverted(wall: Wall, small_network: NetworkConfig) -> None:
    """Both sources see their pair in temporal order; swapping past and future swaps which one is inverted."""
    learner = make(small_network).eval()
    batch = batch_of(wall, 1)
    same = replace(batch, sources=torch.stack([batch.target, batch.target], dim=1))
    motion = learner.motion(same)
    assert torch.allclose(motion[:, 0] @ motion[:, 1], torch.eye(4).expand(1, 4, 4), atol=1e-6)


def test_pairs_are_seen_in_the_order_of_time(
    wall: Wall, small_network: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the frame before it is the motion to it that is asked for, of the frame after the motion from it."""
    learner = make(small_network).eval()
    batch = batch_of(wall, 1)
    steps = torch.tensor([[0.0, 0.0, -0.1], [0.0, 0.0, -0.3]])  # driving ahead, points come nearer
    seen: list[torch.Tensor] = []

    def pose(first: torch.Tensor, second: torch.Tensor, camera: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.extend((first, second))
        return torch.zeros(2, 3), steps

    monkeypatch.setattr(learner.pose, "forward", pose)
    motion = learner.motion(batch)
    earlier, later = seen
    assert torch.equal(earlier, torch.cat([batch.sources[:, 0], batch.target]))
    assert torch.equal(later, torch.cat([batch.target, batch.sources[:, 1]]))
    assert motion[0, 0, 2, 3] == pytest.approx(0.1)  # source_from_target: back
    assert motion[0, 1, 2, 3] == pytest.approx(-0.3)


def test_networks_see_the_jittered_images_the_loss_the_clean_ones(wall: Wall, small_network: NetworkConfig) -> None:
    batch = batch_of(wall)
    jittered = replace(batch, seen_target=batch.target * 0.5, seen_sources=batch.sources * 0.5)
    learner = make(small_network).eval()
    plain, seen = learner(batch), learner(jittered)
    assert not torch.equal(plain.disparity, seen.disparity)
    half = replace(jittered, target=jittered.seen_target, sources=jittered.seen_sources)
    assert torch.equal(seen.disparity, learner(half).disparity)
    assert float(seen.loss) != float(learner(half).loss)


def test_semantic_terms_take_part_where_there_are_labels(small_network: NetworkConfig) -> None:
    network = replace(small_network, fusion="ssfa")
    batch = batch_of(Wall(labels=True))
    objective = make(network, ranking=0.1)(batch, generator=torch.Generator().manual_seed(0))
    view = {"photometric", "smoothness", "saturation"}
    assert set(objective.terms) == view | {"segmentation", "ranking"}
    more = make(network, ground_contact=0.1, exact_depth=0.1)(
        replace(batch, depth=torch.ones_like(batch.target[:, :1]))
    )
    assert set(more.terms) == view | {"segmentation", "ground_contact", "exact_depth"}
    unlabelled = make(network, ranking=0.1, ground_contact=0.1)(replace(batch, labels=None))
    assert set(unlabelled.terms) == view
    assert set(make(network, saturation=0.0)(replace(batch, labels=None)).terms) == view - {"saturation"}


def test_heads_that_ran_to_infinity_come_back(small_network: NetworkConfig) -> None:
    """Two of the variants ended there (docs/experiments.md, Beyond the paper); without the term nothing leads back."""
    batch = batch_of(Wall())
    lowest = {}
    for weight in (0.0, 0.01):
        learner = make(small_network, saturation=weight)
        biases = [head.conv.bias for head in learner.depth.disparity_heads]
        with torch.no_grad():
            torch._foreach_sub_(biases, 25.0)
        step = torch.optim.Adam(biases, lr=2.0)
        for _ in range(12):
            step.zero_grad()
            learner(batch).loss.backward()
            step.step()
        lowest[weight] = float(torch.stack([o.min() for o in learner.depth(batch.target).disparity]).min().logit())
    assert lowest[0.0] < -20
    assert lowest[0.01] > -10


def test_ranking_ramps_in(small_network: NetworkConfig) -> None:
    learner = make(small_network, ranking=0.2, ranking_warm_up=10)
    assert [round(learner.weights(s)["ranking"], 3) for s in (0, 10, 15, 20, 90)] == [0, 0, 0.1, 0.2, 0.2]
    assert make(small_network, ranking=0.2).weights(0)["ranking"] == 0.2


def test_weights_that_are_none_are_refused() -> None:
    for name in ("smoothness", "ranking", "ranking_warm_up", "exact_depth"):
        for wrong in (-1.0, math.nan, math.inf):
            with pytest.raises(InputError, match=rf"objective\.{name} {wrong}"):
                ObjectiveConfig(**{name: wrong})


def test_the_loss_of_data_that_is_not_learnt_from(small_network: NetworkConfig) -> None:
    learner = make(replace(small_network, fusion="ssfa")).eval()
    with torch.no_grad():
        objective = learner(batch_of(Wall(labels=True)), measure=True)
    assert torch.isfinite(objective.loss)
    assert not objective.balance  # of no gradients


def test_beyond_the_paper_only_the_balance_is_on_by_default(small_network: NetworkConfig) -> None:
    """With fixed weights the loss is the paper's sum, bit for bit, and a run's state holds nothing more."""
    assert ObjectiveConfig().balance.method == "gradient"
    learner = make(replace(small_network, fusion="none"), ranking=0.1, balance=BalanceConfig("fixed"))
    objective = learner(batch_of(Wall(labels=True)), generator=torch.Generator().manual_seed(0))
    terms = objective.terms
    expected = terms["photometric"] + 1e-3 * terms["smoothness"] + 0.05 * terms["segmentation"]
    assert torch.equal(objective.loss.detach(), expected + 0.1 * terms["ranking"])
    assert objective.balance == {}
    assert {name.split(".")[0] for name in learner.state_dict()} == {"depth", "pose"}


def test_movable_objects_are_left_out_of_view_synthesis(small_network: NetworkConfig) -> None:
    batch = batch_of(Wall(labels=True))
    assert batch.labels is not None
    car = batch.labels == 13
    plain = make(small_network)(batch)
    masked = make(small_network, motion_mask="movable")(batch)
    assert not masked.kept[car].any()
    assert masked.error[car].abs().sum() == 0
    assert torch.equal(masked.error[~car], plain.error[~car])
    assert float(masked.terms["photometric"]) < float(plain.terms["photometric"])
    unlabelled = make(small_network, motion_mask="movable")(replace(batch, labels=None))
    assert torch.equal(unlabelled.loss, plain.loss)


def test_depth_at_two_zooms(wall: Wall, small_network: NetworkConfig) -> None:
    batch = batch_of(wall)
    config = AugmentConfig(flip=0.0, jitter=0.0, second_view=True)
    seen = augment(batch, torch.Generator().manual_seed(0), config)
    learner = make(small_network, zoom_consistency=0.1)
    objective = learner(seen)
    assert objective.terms["zoom"] > 0
    expected = objective.terms["photometric"] + 1e-3 * objective.terms["smoothness"] + 0.1 * objective.terms["zoom"]
    assert torch.equal(objective.loss.detach(), expected)
    same = replace(seen, zoomed_target=batch.target, zoomed_from_target=torch.eye(3).expand(2, 3, 3))
    assert float(make(small_network, zoom_consistency=0.1).eval()(same).terms["zoom"]) < 1e-6
