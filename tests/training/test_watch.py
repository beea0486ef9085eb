from dataclasses import replace

import pytest
import torch

from semdepth.data.transforms import to_unit_range
from semdepth.structures import FrameBatch, stack_frames
from semdepth.training.objective import Objective
from semdepth.training.watch import CollapseWatch

from .conftest import HEIGHT, WIDTH, Wall

RANGE = (0.1, 100.0)


@pytest.fixture
def batch() -> FrameBatch:
    wall = Wall()
    return to_unit_range(stack_frames([wall[i] for i in range(2)]))


@pytest.fixture
def healthy(batch: FrameBatch) -> Objective:
    motion = torch.eye(4).repeat(2, 2, 1, 1)
    motion[:, :, 0, 3] = 0.1
    return Objective(
        loss=torch.tensor(0.1),
        terms={"photometric": torch.tensor(0.1)},
        disparity=torch.linspace(0.05, 0.5, HEIGHT)[None, None, :, None].expand(2, 1, HEIGHT, WIDTH),
        warped=batch.sources,
        error=torch.zeros(2, HEIGHT, WIDTH),
        kept=torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool),
        source_from_target=motion,
    )


def warnings(watch: CollapseWatch, batch: FrameBatch, objective: Objective, times: int = 20) -> list[str]:
    return [line for _ in range(times) for line in watch.observe(batch, objective)]


def test_a_healthy_run_is_silent(batch: FrameBatch, healthy: Objective) -> None:
    assert warnings(CollapseWatch(RANGE), batch, healthy) == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("constant disparity", {"disparity": torch.full((2, 1, HEIGHT, WIDTH), 0.2)}),
        ("auto-mask drops everything", {"kept": torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)}),
        ("zero motion", {"source_from_target": torch.eye(4).repeat(2, 2, 1, 1)}),
        ("inverted depth", {"disparity": torch.linspace(0.5, 0.05, HEIGHT)[:, None].expand(2, 1, HEIGHT, WIDTH)}),
    ],
)
def test_each_collapse_is_named_once(batch: FrameBatch, healthy: Objective, kind: str, change: dict) -> None:
    said = warnings(CollapseWatch(RANGE), batch, replace(healthy, **change))
    assert [line.split(":")[0] for line in said] == [kind]


def test_static_video(batch: FrameBatch, healthy: Objective) -> None:
    still = replace(batch, sources=batch.target.unsqueeze(1).expand_as(batch.sources))
    assert [line.split(":")[0] for line in warnings(CollapseWatch(RANGE), still, healthy)] == ["nearly static video"]


def test_sensor_noise_is_no_motion(batch: FrameBatch, healthy: Objective) -> None:
    noise = torch.randn(batch.sources.shape, generator=torch.Generator().manual_seed(0)) * 2 / 255
    still = replace(batch, sources=batch.target.unsqueeze(1) + noise)
    assert [line.split(":")[0] for line in warnings(CollapseWatch(RANGE), still, healthy)] == ["nearly static video"]


def test_warnings_are_not_repeated_after_resuming(batch: FrameBatch, healthy: Objective) -> None:
    flat = replace(healthy, disparity=torch.full((2, 1, HEIGHT, WIDTH), 0.2))
    watch, resumed = CollapseWatch(RANGE), CollapseWatch(RANGE)
    assert warnings(watch, batch, flat)
    resumed.load_state(watch.state())
    assert warnings(resumed, batch, flat) == []


def test_a_passing_symptom_is_no_collapse(batch: FrameBatch, healthy: Objective) -> None:
    watch = CollapseWatch(RANGE)
    flat = replace(healthy, disparity=torch.full((2, 1, HEIGHT, WIDTH), 0.2))
    for _ in range(5):
        assert warnings(watch, batch, flat, times=watch.patience - 1) == []
        assert warnings(watch, batch, healthy, times=1) == []
