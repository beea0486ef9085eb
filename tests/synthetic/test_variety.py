"""Every varied drive has a look of its own, decided by its seed; the camera's lens stays."""

from dataclasses import fields

import numpy as np

from semdepth.synthetic.block import Block
from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.style import STYLES, WorldConfig
from semdepth.synthetic.variety import style_of
from semdepth.synthetic.world import World

VARIED = WorldConfig(style="varied")


def test_the_seed_decides() -> None:
    assert style_of(VARIED, 3) == style_of(VARIED, 3)
    first, second = style_of(VARIED, 3), style_of(VARIED, 4)
    same = {f.name for f in fields(first) if getattr(first, f.name) == getattr(second, f.name)}
    assert same <= {"focal", "focal_vertical", "floors", "two_lanes"}


def test_named_styles_do_not_vary() -> None:
    for name in ("default", "foreign"):
        assert style_of(WorldConfig(style=name), 3) is STYLES[name]


def test_drives_differ_in_colour_and_keep_exact_depth() -> None:
    first, second = (render_drive(seed, 1, 32, 96, config=VARIED) for seed in (1, 2))
    assert (first.images.float().mean((0, 2, 3)) - second.images.float().mean((0, 2, 3))).abs().max() > 5
    assert (first.depth > 0).float().mean() > 0.5
    assert (first.intrinsics == second.intrinsics).all()


def test_bridges_cross_the_road_above_all_that_drives() -> None:
    found = 0
    for seed in range(12):
        world = World(seed, VARIED)
        for index in range(1, 6):
            road = Block(world, index)
            road._bridge()
            if road.bridge is None:
                continue
            found += 1
            (prims, x, z, _, _), *others = road.objects
            assert not others
            assert world.route.distance(np.array([x]), np.array([z]), road.bridge).min() < 0.1
            for prim in prims:
                low = -prim.centre[1] - prim.half[1]
                beside = abs(prim.centre[0]) - prim.half[0] >= world.layout.edge
                assert low > 4.3 or (beside and low < 1e-6), "free below the deck, all else beside the road"
    assert 3 < found < 40


def test_named_styles_have_no_bridges() -> None:
    assert all(STYLES[name].bridges == 0 for name in ("default", "foreign"))
