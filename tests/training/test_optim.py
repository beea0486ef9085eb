import pytest
import torch

from semdepth.runtime import InputError
from semdepth.training.optim import OptimConfig, build_optimiser, depth_share, learning_rate, set_learning_rates


def test_warm_up_then_one_drop() -> None:
    config = OptimConfig(learning_rate=1e-3, warm_up=10, decay_at=0.5, decay=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[4] == pytest.approx(5e-4)
    assert rates[9:50] == [1e-3] * 41
    assert rates[50:] == pytest.approx([1e-4] * 50)


def test_pose_learns_first() -> None:
    config = OptimConfig(learning_rate=0.25, pose_first=4)
    assert [depth_share(config, step) for step in range(9)] == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    depth, pose = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    optimiser = build_optimiser(depth, pose, config)
    before = [m.weight.detach().clone() for m in (depth, pose)]
    set_learning_rates(optimiser, config, step=3, steps=100)
    (depth(torch.ones(1, 2)) + pose(torch.ones(1, 2))).sum().backward()
    optimiser.step()
    assert torch.equal(depth.weight, before[0])
    assert torch.allclose((before[1] - pose.weight).abs(), torch.full((1, 2), 0.25), atol=1e-4)


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": float("nan")},
        {"decay_at": 1.5},
        {"clip": -1.0},
        {"warm_up": -1},
    ],
)
def test_nonsense_is_refused(bad: dict) -> None:
    with pytest.raises(InputError, match="optim"):
        OptimConfig(**bad)
