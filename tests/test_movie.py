import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import turn, wall, without_length, write_clip
from PIL import Image

from semdepth.movie import _VideoFrame, open_movie, read_camera, read_frames, stored_length
from semdepth.runtime import InputError


def corners() -> np.ndarray:
    """A picture whose corners tell how it is turned: red, green, blue and black, clockwise from the top left."""
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    pixels[:24, :32, 0] = pixels[:24, 32:, 1] = pixels[24:, 32:, 2] = 255
    return pixels


@pytest.mark.parametrize(("degrees", "order"), [(0, "rgbk"), (90, "krgb"), (180, "bkrg"), (270, "gbkr")])
def test_frames_stand_upright(tmp_path, degrees, order):
    path = write_clip(tmp_path / "clip.mp4", [corners()] * 3)
    if degrees:
        turn(path, degrees)
    movie = open_movie(path)
    assert movie.size == ((64, 48) if degrees % 180 else (48, 64))
    frames = list(read_frames(movie))
    assert [f.number for f in frames] == [0, 1, 2]
    pixels = frames[0].rgb()
    assert pixels.shape == (*movie.size, 3)
    found = [pixels[y, x] for y, x in ((5, 5), (5, -5), (-5, -5), (-5, 5))]
    assert "".join("k" if p.max() < 128 else "rgb"[int(p.argmax())] for p in found) == order
    grey = frames[0].grey(32)
    assert grey.shape == ((32, 24) if degrees % 180 else (24, 32))
    whole = np.asarray(Image.fromarray(pixels).convert("L").resize(grey.shape[::-1], Image.Resampling.BOX))
    assert np.abs(grey.astype(int) - whole).mean() < 12


def test_times_and_counts_come_from_the_file(tmp_path):
    movie = open_movie(write_clip(tmp_path / "clip.mp4", wall(range(5)), rate=25))
    assert (movie.expected, movie.fps) == (5, 25.0)
    assert [round(f.seconds, 3) for f in read_frames(movie)] == [0.0, 0.04, 0.08, 0.12, 0.16]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_the_length_is_counted_not_believed(tmp_path, name):
    path = write_clip(tmp_path / name, wall(range(7)), rate=20)
    if name.endswith("mkv"):
        assert open_movie(without_length(path)).expected is None
    assert stored_length(open_movie(path)) == (7, pytest.approx(0.3))


def test_pixels_become_square(tmp_path):
    movie = open_movie(write_clip(tmp_path / "wide.mp4", wall(range(3)), aspect=Fraction(3, 2)))
    assert movie.size == (96, 240)
    assert next(read_frames(movie)).rgb().shape == (96, 240, 3)


def test_a_folder_of_images_is_a_movie(tmp_path):
    for number, pixels in zip((2, 10, 9), wall([20, 100, 90]), strict=True):
        Image.fromarray(pixels).save(tmp_path / f"shot_{number}.png")
    movie = open_movie(tmp_path, fps=5.0)
    assert [p.stem for p in movie.images] == ["shot_2", "shot_9", "shot_10"]
    assert stored_length(movie) == (3, 0.4)
    frames = list(read_frames(movie))
    assert [f.seconds for f in frames] == [0.0, 0.2, 0.4]
    assert np.array_equal(frames[1].rgb(), wall([90])[0])
    assert frames[0].grey(80).shape == (48, 80)
    Image.new("RGB", (30, 30)).save(tmp_path / "shot_11.png")
    with pytest.raises(InputError, match=r"shot_11.png: is 30×30, the first image 160×96"):
        [f.rgb() for f in read_frames(open_movie(tmp_path))]


def test_what_is_no_video_is_refused(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", wall(range(8)))
    content = clip.read_bytes()
    (tmp_path / "cut_off.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("not a video at all")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    for name, says in {
        "cut_off.mp4": "cannot be read as video",
        "text.mp4": "cannot be read as video",
        "empty.mp4": "is empty",
        "nowhere.mp4": "not found",
        "folder": "no images in it",
        "one.png": "single image",
    }.items():
        with pytest.raises(InputError, match=says) as caught:
            open_movie(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_video_that_ends_early_is_refused(tmp_path):
    """The index is whole, the pictures are not: an mp4 that was made for streaming and copied in part."""
    movie = open_movie(write_clip(tmp_path / "clip.mp4", wall(range(40))))
    content = bytearray(movie.path.read_bytes())
    start = content.find(b"mdat") + 4
    end = content.find(b"moov") - 4
    content[start + (end - start) // 3 : end] = bytes(end - start - (end - start) // 3)
    shutil.copy(movie.path, tmp_path / "whole.mp4")
    movie.path.write_bytes(content)
    with pytest.raises(InputError, match=r"clip\.mp4: (ends after|cannot be read)"):
        list(read_frames(movie))


def test_a_video_without_pictures_is_refused(tmp_path):
    import av

    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="no video stream"):
        open_movie(path)


def test_damage_is_passed_over_if_somebody_is_told(tmp_path):
    movie = open_movie(write_clip(tmp_path / "clip.mp4", wall(range(0, 120, 3))))
    with av.open(str(movie.path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(movie.path.read_bytes())
    for start, size in (places[10], places[25]):
        content[start : start + size] = bytes(size)
    movie.path.write_bytes(content)
    told = []
    frames = [frame.rgb().shape for frame in read_frames(movie, told.append)]
    assert 36 <= len(frames) <= 40
    assert set(frames) == {(96, 160, 3)}
    assert all("clip.mp4" in str(error) for error in told)
    assert len(told) + len(frames) >= 38


def test_a_camera_is_read_until_it_is_gone(monkeypatch):
    import cv2

    pictures = wall([0, 5])

    class Camera:
        def __init__(self, number):
            self.left, self.number = list(pictures) if number == 0 else [], number

        def read(self):
            return (True, self.left.pop(0)[..., ::-1]) if self.left else (False, None)

        def release(self):
            self.left = None

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    frames = list(read_camera())
    assert [f.number for f in frames] == [0, 1]
    assert frames[0].seconds == 0
    np.testing.assert_array_equal(frames[1].rgb(), pictures[1])
    assert frames[1].grey(80).shape == (48, 80)
    with pytest.raises(InputError, match="webcam:3"):
        list(read_camera(3))


def test_a_frame_that_cannot_be_converted_is_one_line() -> None:
    """A damaged stream may state a colour layout that nothing converts (found by benchmarks/fuzz.py)."""

    class Odd:
        rotation = 0

        def reformat(self, **_: object) -> None:
            raise av.error.OSError(95, "Operation not supported")

    frame = _VideoFrame(3, 0.3, Odd(), (4, 4), Path("a.mp4"))
    with pytest.raises(
        InputError, match=r"a\.mp4: frame 3 cannot be converted \(Operation not supported\); copy it again"
    ):
        frame.rgb()
