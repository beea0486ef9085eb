"""What must hold in every world: the camera's way is free, nothing runs into anything, cars turn and stop."""

import numpy as np
import pytest

from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.scene import camera_poses
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.traffic import Traffic, open_traffic
from semdepth.synthetic.world import World

COMPLEX = WorldConfig(scene="complex")


@pytest.mark.parametrize("seed", range(6))
def test_nothing_comes_close_to_the_camera(seed):
    drive = render_drive(seed, 8, 24, 80, config=COMPLEX, start=20 * seed)
    depth = drive.depth[drive.depth > 0]
    assert depth.min() > 0.4
    # The middle of the view, where the car is going, is free for a few metres.
    assert drive.depth[:, 0, 12:, 36:44][drive.depth[:, 0, 12:, 36:44] > 0].min() > 2.0


def test_movers_of_one_lane_keep_apart():
    for seed in range(6):
        movers = Traffic(World(seed, COMPLEX)).over(np.arange(0.0, 200.0, 10.0))
        half = _half_lengths(movers)
        for d in np.unique(movers.d):
            lane = np.flatnonzero(movers.d == d)
            for frame in movers.s:
                order = lane[np.argsort(frame[lane])]
                gaps = np.diff(frame[order]) - half[order][1:] - half[order][:-1]
                assert (gaps > 0.1).all()


def _half_lengths(movers):
    half = np.zeros(len(movers.d))
    # A prim's own axes may be turned; its reach along the object's z is the support function's.
    axes = np.linalg.inv(movers.prims.inverse)
    reach = np.abs(movers.prims.centre[:, 2]) + np.abs(axes[:, 2]).sum(axis=1) * np.where(
        movers.prims.kind >= 2, 0.8, 1
    )
    np.maximum.at(half, movers.owner, reach)
    return half


def test_the_car_ahead_keeps_our_speed():
    found = 0
    for seed in range(8):
        world = World(seed, COMPLEX)
        frames = np.arange(0.0, 150.0)
        movers = Traffic(world).over(frames)
        ego = world.ego.at(frames)[0]
        ours = (movers.d == world.layout.lane_centre(world.layout.ego_lane)) & (movers.s[0] > ego[0])
        for lead in np.flatnonzero(ours)[:1]:
            gap = movers.s[:, lead] - ego
            assert gap.min() > 3
            assert gap.max() < 60
            found += 1
    assert found >= 3


def test_drives_turn_and_some_stop():
    yaw, stops = [], 0
    for seed in range(12):
        world = World(seed, WorldConfig())
        poses, s = camera_poses(world, np.arange(0.0, 400.0))
        yaw.append(np.ptp(np.arctan2(poses[:, 0, 2], poses[:, 2, 2])))
        step = np.diff(s) / 0.1
        assert (step >= -1e-9).all()
        assert step.max() < 15.5
        still = np.flatnonzero(step < 1e-6)
        stops += len(still) > 10
        if len(still):
            # At rest the camera does not move at all.
            np.testing.assert_allclose(poses[still[-1]], poses[still[-1] + 1], atol=2e-2)
    assert np.median(yaw) > 0.3
    assert 1 <= stops <= 11


def test_no_traffic_means_nothing_moves():
    drive = render_drive(2, 2, 24, 80, config=WorldConfig(scene="complex", traffic=0.0))
    assert not drive.moving.any()


def test_worlds_are_kept_between_calls():
    assert open_traffic(5, COMPLEX) is open_traffic(5, COMPLEX)
