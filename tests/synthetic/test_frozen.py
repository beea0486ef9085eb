"""In a frozen world only the camera moves, and it stops behind what stands in its lane."""

import math

import numpy as np
import pytest

from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.traffic import Traffic
from semdepth.synthetic.world import World

FROZEN = WorldConfig(scene="complex", style="varied", traffic=1.6, frozen=True)


def test_traffic_stands_where_it_is() -> None:
    frames = np.arange(0.0, 20.0)
    for seed in range(4):
        movers = Traffic(World(seed, FROZEN)).over(frames)
        assert movers.s.shape[1] > 3
        assert (movers.s == movers.s[0]).all()
        assert not movers.moving.any()
    assert not render_drive(0, 2, 24, 80, config=FROZEN).moving.any()


def test_the_camera_stops_behind_the_queue() -> None:
    queues = 0
    for seed in range(8):
        world = World(seed, FROZEN)
        s, speed = world.ego.at(np.arange(0.0, 600.0))
        assert (np.diff(s) >= 0).all()
        np.testing.assert_allclose(np.diff(s) / 0.1, (speed[1:] + speed[:-1]) / 2, atol=0.35)
        if world.ego.end == math.inf:
            continue
        queues += 1
        assert s[-1] <= world.ego.end
        lane = world.layout.lane_centre(world.layout.ego_lane)
        movers = Traffic(world).over(np.array([0.0]))
        ahead = movers.s[0][(movers.d == lane) & (movers.s[0] > s[0])]
        assert len(ahead) >= 1
        assert ahead.min() > world.ego.end + 4
    assert 3 <= queues < 8


@pytest.mark.parametrize("seed", range(4))
def test_nothing_comes_close_to_the_camera(seed: int) -> None:
    depth = render_drive(seed, 3, 24, 80, config=FROZEN, start=80 * seed).depth
    assert depth[depth > 0].min() > 0.4


def test_other_worlds_are_as_they_were() -> None:
    thawed = World(3, WorldConfig(scene="complex"))
    assert thawed.ego.end == math.inf
    assert thawed.style.heavy == 0
