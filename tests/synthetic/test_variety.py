"""Every varied drive has a look of its own, decided by its seed; the camera's lens stays."""

from dataclasses import fields

from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.style import STYLES, WorldConfig
from semdepth.synthetic.variety import style_of

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
