"""What the demo works out, says and keeps, without a server."""

import os
import re
import time
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import without_length
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.apps.cli import main
from semdepth.apps.demo_site import legends
from semdepth.apps.demo_site.examples import SCENES, render_examples
from semdepth.apps.demo_site.guard import Guard
from semdepth.apps.demo_site.limits import Limits
from semdepth.apps.demo_site.results import default_fov, is_video, read_back, show_image, shrink
from semdepth.apps.demo_site.store import Store, delete_left_behind, open_store, plain_stem
from semdepth.apps.demo_site.videos import require_container, show_video
from semdepth.runtime import InputError
from semdepth.structures import Prediction

from .demo_server import picture, untrained


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Limits(side=96, video_seconds=2, video_frames=20, keep_seconds=100))


def prediction(scale: float | None = None) -> Prediction:
    depth = np.linspace(2, 40, 12 * 20, dtype=np.float32).reshape(12, 20)
    labels = np.zeros((12, 20), np.uint8)
    labels[:3] = 10
    return Prediction(depth, 1 / depth, labels, np.full((12, 20), 0.25, np.float32), scale)


def test_round_depths_stand_where_their_colour_is() -> None:
    marks = legends.depth_ticks(brightest=0.25, farthest=80.0)
    assert [depth for depth, _ in marks] == sorted((depth for depth, _ in marks), reverse=True)
    assert {5.0, 10.0} <= {depth for depth, _ in marks}
    assert all(place == pytest.approx(1 / depth / 0.25) for depth, place in marks)


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 1e3), st.floats(1.0, 1e4))
def test_marks_never_collide(brightest: float, reach: float) -> None:
    places = [place for _, place in legends.depth_ticks(brightest, reach / brightest)]
    assert all(b - a >= 0.13 for a, b in pairwise(places))
    assert all(0 < place < 1 for place in places)


def test_the_bar_says_whether_depth_is_metric() -> None:
    assert "up to scale" in legends.depth_bar(prediction())
    assert "10 m</span>" in legends.depth_bar(prediction(scale=2.0))


def test_the_legend_names_what_is_seen_only() -> None:
    legend = legends.class_legend(prediction().labels)
    assert "road 75 %" in legend
    assert "sky 25 %" in legend
    assert "car" not in legend


def test_the_probe_reads_a_pixel_and_stays_inside() -> None:
    camera = np.array([[10.0, 0, 9.5], [0, 10.0, 5.5], [0, 0, 1]])
    read = prediction(scale=2.0)
    text = legends.probe_text(read, 19, 0, camera)
    assert f"**{read.depth[0, 19]:.3g} m**" in text
    assert f"{read.depth[0, 19] * 0.95:.3g} right" in text
    assert "above the optical axis" in text
    assert "sky, uncertainty 0.25" in text
    assert legends.probe_text(read, 10**6, -5, camera) == text
    assert "up to scale" in legends.probe_text(prediction(), 3, 3, camera)


def test_the_grid_holds_the_depth() -> None:
    import base64

    read = prediction()
    grid = legends.depth_grid(read)
    part = {k: re.search(rf'data-{k}="([^"]*)"', grid)[1] for k in ("rows", "columns", "low", "high", "values")}
    steps = np.frombuffer(base64.b64decode(part["values"]), "<u2").reshape(int(part["rows"]), int(part["columns"]))
    low, high = float(part["low"]), float(part["high"])
    np.testing.assert_allclose(np.exp(low + steps / 65535 * (high - low)), read.depth, rtol=1e-4)


def test_a_complaint_does_not_tell_where_the_server_keeps_things() -> None:
    path = Path("/tmp/secret/abc/photo.png")
    assert (
        legends.complaint(InputError(f"{path}: image is empty;\nmend it"), path) == "photo.png: image is empty; mend it"
    )


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60))
def test_stems_are_harmless(name: str) -> None:
    stem = plain_stem(name)
    assert re.fullmatch(r"[\w-]{1,40}", stem)


def test_sweeping_deletes_the_old_and_what_is_too_much_but_not_the_page(tmp_path: Path) -> None:
    store = Store(tmp_path, Limits(keep_seconds=100, folder_mb=1))
    (store.uploads / "page.png").write_bytes(b"p" * 1000)
    store.keep_present()
    secret = tmp_path.parent / "elsewhere.txt"
    secret.write_text("stays")
    (store.uploads / "link").symlink_to(secret)
    old, new = store.uploads / "old", store.uploads / "new"
    old.write_bytes(b"o" * 700_000)
    new.write_bytes(b"n" * 700_000)
    changed = old.lstat().st_ctime
    assert store.is_full()
    store.sweep(now=changed + 50)  # over the limit, but visitors are being served with both
    assert old.exists()
    store.sweep(now=changed + 70)  # the oldest go
    assert not old.exists()
    assert new.exists()
    store.sweep(now=changed + 500)
    assert os.listdir(store.uploads) == ["page.png"]
    assert secret.read_text() == "stays"


def test_a_full_store_makes_room_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, Limits(keep_seconds=1000, folder_mb=1))
    for name in ("first", "second", "third"):
        (store.uploads / name).write_bytes(b"o" * 400_000)
    assert store.is_full()
    later = time.time() + 70
    monkeypatch.setattr(time, "time", lambda: later)
    store._measured = (-1.0, 0)  # a second has passed
    assert not store.is_full()
    assert len(os.listdir(store.uploads)) == 1, "down to three quarters of its limit"


def test_a_store_leaves_nothing_behind() -> None:
    with open_store(Limits()) as store:
        (store.new_result() / "x").write_text("x")
        assert store.root.stat().st_mode & 0o077 == 0
    assert not store.root.exists()


def test_what_a_killed_server_left_is_deleted(tmp_path: Path) -> None:
    mine, dead, other = (tmp_path / f"semdepth_demo_{n}" for n in (f"{os.getpid()}_a", "99999999_b", "notes"))
    for folder in (mine, dead, other):
        folder.mkdir()
    delete_left_behind(tmp_path)
    assert mine.exists()
    assert other.exists()
    assert not dead.exists()


@pytest.mark.parametrize("fusion", ["none", "depth-only"])
def test_an_image_becomes_pictures_files_and_points(store: Store, tmp_path: Path, fusion: str) -> None:
    path = tmp_path / "große Straße.png"
    picture(size=(100, 200)).save(path)
    result = show_image(untrained(fusion), store, path, 65.0, 1.5)
    assert all(file.stat().st_size > 0 for file in result.downloads)
    depth = np.load(result.downloads[0])
    assert depth.shape == (48, 96)  # scaled down
    assert "scaled down from 200 × 100" in result.summary
    read, camera = read_back(result.folder)
    np.testing.assert_array_equal(read.depth, depth)
    assert camera[0, 2] == (96 - 1) / 2
    assert (result.segmentation is None) == (fusion == "depth-only") == (read.labels is None)
    with pytest.raises(InputError, match="deleted meanwhile"):
        read_back(tmp_path)
    with pytest.raises(InputError, match="field of view"):
        show_image(untrained(fusion), store, path, 200.0, None)


def test_sizes_and_fields_of_view() -> None:
    wide = np.zeros((10, 400, 3), np.uint8)
    assert shrink(wide, 100).shape == (2, 100, 3)
    assert shrink(wide, 400) is wide
    assert shrink(np.zeros((1, 4000, 3), np.uint8), 100).shape == (1, 100, 3)
    predictor = untrained()
    assert default_fov(predictor) == 65.0
    predictor.intrinsics = np.array([[64.0, 0, 63.5], [0, 64, 31.5], [0, 0, 1]])
    assert default_fov(predictor) == 90.0


def film(path: Path, frames: int, size: tuple[int, int] = (64, 128)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = size[1], size[0]
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(np.asarray(picture(1, size)), 2 * k, axis=1), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_video_comes_back_beside_its_depth(store: Store, tmp_path: Path) -> None:
    result = show_video(untrained(), store, film(tmp_path / "drive.mp4", 6))
    assert "6 frames" in result.summary
    assert result.still.stat().st_size > 0
    with av.open(str(result.movie)) as container:
        assert container.streams.video[0].width == 2 * 128 or container.streams.video[0].width == 2 * 96
        assert sum(1 for _ in container.decode(video=0)) == 6


def test_long_and_large_videos_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="over 2 s"):
        show_video(untrained(), store, film(tmp_path / "long.mp4", 25))
    with pytest.raises(InputError, match="over 2 s"):
        show_video(untrained(), store, without_length(film(tmp_path / "says_nothing.mkv", 25)))
    assert not any(store.results.iterdir()), "refused before anything is predicted"
    tight = Store(tmp_path / "tight", Limits(video_pixels=1000))
    with pytest.raises(InputError, match="megapixels"):
        show_video(untrained(), tight, film(tmp_path / "large.mp4", 1))


@pytest.mark.parametrize(
    "text", [b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"MZ" * 99]
)
def test_playlists_are_no_videos(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(text)
    with pytest.raises(InputError, match="whatever its name says"):
        require_container(tmp_path / "clip.mp4")


def test_names_tell_images_from_videos() -> None:
    assert is_video(Path("a.MP4"))
    assert not is_video(Path("a.JPG"))
    for name in ("a.exe", "a", ".png", "a.svg", "a.gif\n"):
        with pytest.raises(InputError, match="neither"):
            is_video(Path(name))


def test_the_guard_turns_away_what_the_page_never_asks(tmp_path: Path) -> None:
    async def app(*_: object) -> None: ...

    guard = Guard(app, Store(tmp_path, Limits(upload_mb=1, uploading=2, folder_mb=1)))
    assert guard.refusal("GET", "/gradio_api/file=http://example.org/x", None)[0] == 403
    assert guard.refusal("GET", "/gradio_api/file=/a\0.png", None)[0] == 403
    assert guard.refusal("GET", "/gradio_api/proxy=http://a.hf.space/x", None)[0] == 403
    assert guard.refusal("GET", "/", None) is None
    assert guard.refusal("POST", "/gradio_api/upload", 10_000) is None
    assert guard.refusal("POST", "/gradio_api/upload", None)[0] == 411
    assert guard.refusal("POST", "/gradio_api/upload", 2**21)[0] == 413
    assert guard.refusal("POST", "/gradio_api/queue/join", 2**22)[0] == 413
    assert guard.refusal("POST", "/gradio_api/queue/join", None)[0] == 411  # in pieces without end
    assert guard.refusal("POST", "/gradio_api/queue/join", 100) is None
    guard.uploading = 2
    assert guard.refusal("POST", "/gradio_api/upload", 10_000)[0] == 503
    guard.uploading = 0
    (guard.store.uploads / "much").write_bytes(b"0" * 2_000_000)
    guard.store._measured = (-1.0, 0)
    assert guard.refusal("POST", "/gradio_api/upload", 10_000)[0] == 503


def test_examples_are_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semdepth.apps.demo_site.examples.SCENES", {"street A": SCENES["street A"]})
    first = render_examples(tmp_path, (16, 32))
    assert [name for _, name in first] == ["street A"]
    times = [path.stat().st_mtime_ns for path, _ in first]
    assert [path.stat().st_mtime_ns for path, _ in render_examples(tmp_path, (16, 32))] == times


def test_bad_options_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--weights=/nowhere", "--port=7861"]) == 2
    assert main(["demo", "--port=99999"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
