import numpy as np
import pytest
from clips import wall

from semdepth.data.frame_selection import FrameSelector, MotionConfig, Verdict
from semdepth.data.opencv import MotionMeter
from semdepth.runtime import InputError

LETTER = {Verdict.FIRST: "F", Verdict.NEXT: "N", Verdict.CLOSE: "c", Verdict.STATIC: "s"}


def verdicts(positions, scenes=None, rate=10.0, **config):
    """Judge frames that a fake meter places at ``positions`` in ``scenes``."""
    scenes = scenes or [0] * len(positions)

    def measure(earlier, later):
        (a, b), (c, d) = earlier, later
        return abs(c - a), 0.95 if b == d else 0.3

    selector = FrameSelector(measure, MotionConfig(**config))
    places = zip(positions, scenes, strict=True)
    said = [selector.judge(np.array(place), i / rate) for i, place in enumerate(places)]
    return "".join(LETTER[v] for v in said), selector


def test_frames_are_kept_once_the_camera_has_moved_enough():
    said, selector = verdicts([0.0051 * i for i in range(9)])
    assert said == "FcNcNcNcN"
    assert selector.motions == pytest.approx([0.0102] * 4)


def test_standing_still_ends_the_sequence():
    said, selector = verdicts([0, 0.02, 0.04] + [0.041] * 15 + [0.06, 0.08], longest_gap=1.0)
    assert said == "FNN" + "c" * 10 + "s" * 5 + "FN"
    assert selector.standing == 1


def test_a_camera_that_starts_at_rest_starts_later():
    said, _ = verdicts([0.0] * 14 + [0.02, 0.04, 0.06])
    assert said == "F" + "c" * 10 + "s" * 3 + "FNN"


def test_a_cut_ends_the_sequence_though_the_camera_moves_on():
    said, selector = verdicts([0.02 * i for i in range(8)], [0, 0, 0, 0, 1, 1, 1, 1])
    assert (said, selector.cuts) == ("FNNNFNNN", 1)


def test_too_fast_ends_the_sequence():
    said, selector = verdicts([0, 0.02, 0.04, 0.2, 0.22])
    assert (said, selector.jumps) == ("FNNFN", 1)


def test_a_jerky_video_is_not_cut_at_every_frame():
    """Where neighbours are always little alike, being little alike is no sign of a cut."""
    selector = FrameSelector(lambda a, b: (0.03, 0.55))
    said = "".join(LETTER[selector.judge(np.zeros(1), 0.1 * i)] for i in range(20))
    assert selector.cuts <= 2
    assert said.endswith("N" * 15)


def test_the_meter_measures_pixels_and_likeness():
    meter = MotionMeter()
    first, moved, other = (p[..., 1] for p in (*wall([50, 53]), wall([50], seed=1)[0]))
    assert meter.measure(first, first) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))
    motion, likeness = meter.measure(first, moved)
    assert motion == pytest.approx(3 / 160, rel=0.1)
    assert likeness > 0.95
    darker = (moved * 0.6 + 20).astype(np.uint8)
    assert meter.measure(first, darker)[1] > 0.9
    assert meter.measure(first, other)[1] < 0.7
    flat = np.full_like(first, 7)
    assert meter.measure(flat, flat) == (pytest.approx(0, abs=1e-3), 1.0)
    assert meter.measure(flat, first)[1] == 0.0


@pytest.mark.parametrize("options", [{"least": 0.0}, {"least": 0.5}, {"longest_gap": 0.0}])
def test_senseless_limits_are_refused(options):
    with pytest.raises(InputError):
        MotionConfig(**options)
