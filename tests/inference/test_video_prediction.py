import errno
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from clips import turn, wall, write_clip
from torch import Tensor

from semdepth.inference import video
from semdepth.inference.predictor import Predictor
from semdepth.inference.video import Shot, _encoder, predict_frames, write_video
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.movie import CameraFrame, open_movie, read_frames
from semdepth.runtime import InputError
from semdepth.structures import NetworkOutput, Prediction

SMALL = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 16, 16, 32))


class Brightness(Predictor):
    """Takes what is bright for near."""

    def _run(self, images: Tensor, guide: Tensor | None = None) -> NetworkOutput:
        return NetworkOutput((images.mean(1, keepdim=True),))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Brightness(build_depth_network(SMALL, seed=0), (64, 96), "cpu")


def read(path: Path) -> list[np.ndarray]:
    return [frame.rgb() for frame in read_frames(open_movie(path))]


@pytest.mark.parametrize("degrees", [0, 90])
def test_a_video_goes_in_and_one_side_by_side_comes_out(tmp_path: Path, predictor: Predictor, degrees: int) -> None:
    clip = write_clip(tmp_path / "clip.mp4", wall(range(0, 36, 3)), rate=25)
    if degrees:
        turn(clip, degrees)
    movie = open_movie(clip)
    report = write_video(
        tmp_path / "out.mp4", predict_frames(predictor, read_frames(movie), batch=5, stabilise=True), movie.fps
    )
    height, width = movie.size
    written = open_movie(tmp_path / "out.mp4")
    assert written.size == (height, 2 * width)
    assert (report.frames, round(report.seconds, 2)) == (12, 0.48)
    assert report.real_time == pytest.approx(report.seconds / report.took)
    times = [frame.seconds for frame in read_frames(written)]
    assert times == pytest.approx(np.arange(12) / 25, abs=1e-3)
    for before, after in zip(read(clip), read(tmp_path / "out.mp4"), strict=True):
        assert np.abs(before.astype(int) - after[:, :width]).mean() < 6
        assert after[:, width:].std() > 20
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "out.mp4"]


def test_times_need_not_be_even_and_odd_sizes_become_even(tmp_path: Path, predictor: Predictor) -> None:
    times = [0.0, 0.1, 0.15, 0.5, 0.5, 0.9]
    picture = wall([0])[0][:45, :63]
    frames = [CameraFrame(k, seconds, picture) for k, seconds in enumerate(times)]
    write_video(tmp_path / "new" / "out.mp4", predict_frames(predictor, frames), 10)
    written = open_movie(tmp_path / "new" / "out.mp4")
    assert written.size == (46, 126)
    assert [f.seconds for f in read_frames(written)] == pytest.approx(times, abs=1e-3)


def test_frames_are_the_same_as_images(tmp_path: Path, predictor: Predictor) -> None:
    clip = write_clip(tmp_path / "clip.mp4", wall(range(5)))
    shots = list(predict_frames(predictor, read_frames(open_movie(clip)), batch=2))
    assert [shot.number for shot in shots] == [0, 1, 2, 3, 4]
    for shot in shots:
        np.testing.assert_allclose(shot.prediction.depth, predictor.predict(shot.pixels).depth, rtol=1e-5)


def test_memory_does_not_grow_with_the_length(tmp_path: Path, predictor: Predictor) -> None:
    def film(count: int) -> Iterator[CameraFrame]:
        for k in range(count):
            yield CameraFrame(k, k / 25, np.full((60, 80, 3), k % 256, dtype=np.uint8))

    # tracemalloc, as Python arrays are what could pile up; what the work on one frame takes at its peak is in both.
    peaks, added = [], 180 * 60 * 80 * 3
    for count in (20, 20, 200):  # the first pays for what is loaded once
        tracemalloc.start()
        write_video(tmp_path / "out.mp4", predict_frames(predictor, film(count), batch=4, stabilise=True), 25)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 0.1 * added


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_every_encoder_keeps_the_times(encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if encoder not in av.codecs_available:
        pytest.skip(f"FFMPEG HAS NO {encoder} HERE")
    monkeypatch.setattr(video, "ENCODERS", (encoder,))
    prediction = Prediction(*np.ones((2, 32, 32), dtype=np.float32))
    times = [0.0, 0.04, 0.1001, 0.5]
    shots = [Shot(k, t, np.full((32, 32, 3), 40 * k, dtype=np.uint8), prediction) for k, t in enumerate(times)]
    write_video(tmp_path / "a.mp4", shots, 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        found = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert found == pytest.approx(times, abs=1e-4)


def test_no_encoder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "ENCODERS", ("libnothing",))
    shot = Shot(0, 0.0, np.zeros((32, 32, 3), dtype=np.uint8), Prediction(*np.ones((2, 32, 32), dtype=np.float32)))
    with pytest.raises(InputError, match="none of libnothing"):
        write_video(tmp_path / "a.mp4", [shot], 10)
    assert list(tmp_path.iterdir()) == []


def test_what_stops_it_leaves_nothing(tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    shot = Shot(0, 0.0, np.zeros((32, 32, 3), dtype=np.uint8), Prediction(*np.ones((2, 32, 32), dtype=np.float32)))
    with pytest.raises(InputError, match="no frame"):
        write_video(tmp_path / "a.mp4", [], 10)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", [shot], 10)

    def bad() -> Iterator[Shot]:
        yield shot
        raise InputError("frame 1 is bad")

    with pytest.raises(InputError, match="frame 1"):
        write_video(tmp_path / "a.mp4", bad(), 10)

    def fill_the_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", fill_the_disk)
    with pytest.raises(InputError, match="No space left"):
        write_video(tmp_path / "a.mp4", [shot], 10)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_while_encoding_is_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(InputError, match=r"a\.mp4.*cannot be written.*No space"):
        encode_noise(Path("/dev/full"), tmp_path / "a.mp4")


def encode_noise(file: Path, name: Path) -> None:
    with _encoder(file, name, (64, 64, 3), 10) as show:
        for k in range(100):
            show(np.random.default_rng(k).integers(0, 256, (64, 128, 3), dtype=np.uint8), k / 10)
