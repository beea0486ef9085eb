import numpy as np
import pytest
from clips import turn, wall, write_clip
from PIL import Image

from semdepth.data.folder import frame_folder
from semdepth.data.frame_selection import MotionConfig
from semdepth.data.lens import choose_framing, choose_lens
from semdepth.data.prepare import whole_folder, write_frames
from semdepth.movie import open_movie
from semdepth.runtime import InputError


def prepare(path, out, long_side=128, **options):
    movie = open_movie(path)
    out.mkdir(exist_ok=True)
    lens = choose_lens(movie.size, **options)
    return write_frames(movie, out, lens, choose_framing(movie.size, long_side), MotionConfig())


def numbers(folder):
    return [[int(p.stem) for p in sorted(s.iterdir())] for s in sorted(folder.glob("sequence_*"))]


def test_a_static_stretch_is_dropped_and_no_triplet_spans_it(tmp_path):
    positions = [*range(0, 24, 3), *[24] * 20, *range(27, 45, 3)]
    made = prepare(write_clip(tmp_path / "clip.mp4", wall(positions)), tmp_path / "set")
    first, second = numbers(tmp_path / "set")
    assert max(first) <= 9
    assert min(second) >= 28
    assert (made.standing, made.cuts, made.read) == (1, 0, len(positions))
    assert made.kept + sum(made.dropped.values()) == made.read
    assert made.sequences == [len(first), len(second)]
    records = frame_folder(tmp_path / "set")
    assert len(records) == made.targets
    for record in records:
        frames = [int(p.stem) for p in (record.image, *record.sources)]
        assert len({p.parent for p in (record.image, *record.sources)}) == 1
        assert max(frames) <= 9 or min(frames) >= 28
    assert records[0].name == "set/sequence_0000/000001"


def test_a_cut_splits_the_sequence(tmp_path):
    frames = [*wall(range(0, 30, 3)), *wall(range(0, 30, 3), seed=5)]
    made = prepare(write_clip(tmp_path / "clip.mp4", frames), tmp_path / "set")
    assert numbers(tmp_path / "set") == [list(range(10)), list(range(10, 20))]
    assert (made.cuts, made.targets) == (1, 16)
    assert made.motion == pytest.approx(3 / 160, rel=0.15)


def test_frames_between_are_left_out_where_the_camera_is_slow(tmp_path):
    made = prepare(write_clip(tmp_path / "clip.mp4", wall(np.arange(0, 20, 0.5)), rate=30), tmp_path / "set")
    (kept,) = numbers(tmp_path / "set")
    assert set(np.diff(kept)) <= {3, 4, 5}  # a hundredth of 160 pixels is 1.6: three or four frames
    assert made.motion == pytest.approx(0.0115, abs=0.003)


def test_short_stretches_are_taken_back(tmp_path):
    frames = [*wall(range(0, 30, 3)), *wall([0, 3], seed=5), *wall(range(60, 90, 3), seed=6)]
    made = prepare(write_clip(tmp_path / "clip.mp4", frames), tmp_path / "set")
    assert [len(s) for s in numbers(tmp_path / "set")] == made.sequences == [10, 10]
    assert made.dropped == {"in a stretch of fewer than 3 moving frames": 2}


def test_a_portrait_video_gives_portrait_images(tmp_path):
    path = turn(write_clip(tmp_path / "clip.mp4", wall(range(0, 24, 3))), 90)
    made = prepare(path, tmp_path / "set", fov_deg=60.0)
    assert made.size == (128, 64)
    record = frame_folder(tmp_path / "set")[0]
    assert Image.open(record.image).size == (64, 128)
    focal = 96 / 2 / np.tan(np.radians(30)) * 128 / 160
    assert record.intrinsics[0, 0] == pytest.approx(focal, rel=0.01)
    # 96×160 becomes 77×128, of which the middle 64 columns are taken: 6 off the left.
    assert record.intrinsics[0, 2] == pytest.approx((47.5 + 0.5) * 77 / 96 - 0.5 - 6, abs=1e-5)
    assert record.intrinsics[1, 2] == pytest.approx(63.5)


def test_straightened_images_have_new_intrinsics(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", wall(range(0, 24, 3)))
    plain = prepare(path, tmp_path / "plain", intrinsics="120,120,79.5,47.5").intrinsics
    bent = prepare(path, tmp_path / "bent", intrinsics="120,120,79.5,47.5", distortion="-0.2,0.05,0,0").intrinsics
    assert plain[0, 0] == pytest.approx(120 * 128 / 160)
    assert bent[0, 0] != pytest.approx(plain[0, 0], rel=0.01)
    np.testing.assert_allclose(frame_folder(tmp_path / "bent")[0].intrinsics, bent, atol=1e-5)


def test_nothing_to_learn_from_is_refused(tmp_path):
    for name, frames, says in (
        ("still", wall([10] * 20), "does not move in its 20 frames"),
        ("short", wall([0, 3]), "has only 2 frames"),
    ):
        path = write_clip(tmp_path / f"{name}.mp4", frames)
        with pytest.raises(InputError, match=says) as caught:
            prepare(path, tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "below" / "set"

    def interrupted():
        with whole_folder(out) as folder:
            (folder / "half.jpg").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(out.parent.iterdir()) == []
    with whole_folder(out) as folder:
        (folder / "whole.jpg").touch()
        assert not out.exists()
    assert [p.name for p in out.iterdir()] == ["whole.jpg"]
    with pytest.raises(InputError, match="is there already"), whole_folder(out):
        pass
    assert [p.name for p in out.iterdir()] == ["whole.jpg"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"set: cannot be written"), whole_folder(tmp_path / "file" / "set"):
        pass
    with pytest.raises(InputError, match="No space left"), whole_folder(tmp_path / "set"):
        raise OSError(28, "No space left on device")
    assert not (tmp_path / "set").exists()
