"""The demo's server over HTTP: what it answers, what it refuses, and that it lives on."""

import io
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from semdepth.apps.cli import main
from semdepth.apps.demo_site.limits import Limits
from semdepth.models.weights import save_weights

from .demo_server import CLIENT, Server, picture, serving, untrained

pytest.importorskip("gradio", reason="GRADIO MISSING: the web demo is NOT tested (pip install '.[demo]')")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = Limits(side=96, upload_mb=1, video_seconds=2)
    with serving(tmp_path_factory.mktemp("demo"), untrained(), limits) as started:
        yield started


def png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    picture(seed).save(stream, "PNG")
    return stream.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a kilobyte that states ``side``² pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_upload_result_download(server: Server) -> None:
    path = server.upload(png(), "street.png").json()[0]
    event, data = server.show(path, 65.0, None)
    assert event == "complete", data
    assert "Depth up to scale" in data
    assert "road" in data or "sd-legend" in data
    files = [part["url"] for part in _files(json.loads(data))]
    kinds = {url.rpartition(".")[2] for url in files}
    assert {"npy", "png", "ply", "glb"} <= kinds
    for url in files:
        answer = CLIENT.get(url)
        assert answer.status_code == 200
        assert answer.content


def test_the_page_is_served_with_a_policy_that_keeps_it_at_home(server: Server) -> None:
    answer = CLIENT.get(server.url)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "googleapis" not in answer.text
    assert "google-analytics" not in answer.text


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"not an image", "photo.png", "in no image format"),
        (png()[:500], "cut.png", "cannot be decoded"),
        (b"", "empty.png", "empty"),
        (bomb(), "bomb.png", "megapixels"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", ""),
        (b"#!/bin/sh\n", "run.sh", ""),
        (b"#EXTM3U\n/etc/passwd\n", "list.mp4", "whatever its name says"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 64, "broken.mp4", "video"),
    ],
)  # fmt: skip
def test_bad_files_get_a_sentence_and_the_server_lives_on(server: Server, data: bytes, name: str, words: str) -> None:
    answer = server.upload(data, name)
    if answer.status_code == 200:
        event, said = server.show(answer.json()[0])
        assert event == "error", said
        assert words in said
        assert str(server.store.root) not in said
        assert "Traceback" not in said
    assert CLIENT.get(server.url).status_code == 200


def test_too_large_uploads_are_refused(server: Server) -> None:
    answer = server.upload(b"\0" * 3_000_000, "large.png")
    assert answer.status_code == 413
    assert "over 1 MB" in answer.text


@pytest.mark.parametrize("numbers", [(0.0, None), (500.0, None), (65.0, -1.0), (float("1e308"), 1e308)])
def test_senseless_cameras_get_a_sentence(server: Server, numbers: tuple[float, float | None]) -> None:
    path = server.upload(png(), "street.png").json()[0]
    event, said = server.show(path, *numbers)
    assert event == "error"
    assert "Traceback" not in said


OUTSIDE = [
    "/etc/passwd", "//etc/passwd", "../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "file:///etc/passwd", "/proc/self/environ", "/etc/passwd%00.png", "\\etc\\passwd", "~/.bashrc", "pyproject.toml",
    "．．/．．/etc/passwd", "http://127.0.0.1:1/x", "https:/example.org/x", "{root}/results/../../../etc/passwd",
    "{uploads}/../../../etc/passwd", "{uploads}/link", "{root}/results", "{results}", "{source}",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_its_folder_is_readable(server: Server, path: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0 secret")
    link = server.store.uploads / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    own = next(server.store.results.rglob("*.npz"))
    names = {"root": server.store.root, "uploads": server.store.uploads, "results": own, "source": Path(__file__)}
    path = path.format(**names)
    for prefix in ("gradio_api/file=", "file=", "gradio_api/file/", "static/", "assets/", "gradio_api/proxy="):
        for form in {path, quote(path, safe="%")}:
            with CLIENT.stream("GET", server.url + prefix + form) as answer:
                body = answer.read()
            assert b"root:x:0:0" not in body, (prefix, form)
            if prefix == "gradio_api/file=":
                assert answer.status_code in (400, 403, 404), (prefix, form)
    event, said = server.show(path)
    assert event == "error"
    assert "root:x" not in said
    link.unlink()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.png",
        "/etc/evil.png",
        "..\\evil.png",
        "a\x00.png",
        "\u202egnp.exe.png",
        "…/…",
        "x" * 300 + ".png",
        "..",
    ],
)
def test_names_of_uploads_lead_nowhere(server: Server, name: str) -> None:
    answer = server.upload(png(5), name)
    for stored in answer.json() if answer.status_code == 200 else []:
        assert Path(stored).resolve().is_relative_to(server.store.uploads)
        assert server.show(stored)[0] in ("complete", "error")
    assert CLIENT.get(server.url).status_code == 200


def test_ten_visitors_at_once_are_served_in_turn(server: Server) -> None:
    answers: list[str] = []
    lock = threading.Lock()

    def visit(k: int) -> None:
        data = b"junk" if k % 8 == 7 else png(k)
        sent = server.upload(data, f"{k}.png")
        event, said = server.show(sent.json()[0])
        with lock:
            answers.append(event)
            assert (event == "complete") == (k % 8 != 7), said

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(visit, range(40)))
    assert sorted(set(answers)) == ["complete", "error"]
    assert answers.count("complete") == 35


def test_uploads_are_swept(server: Server) -> None:
    path = Path(server.upload(png(77), "private.png").json()[0])
    assert path.exists()
    server.store.sweep(now=path.lstat().st_ctime + server.store.limits.keep_seconds + 1)
    assert not path.exists()
    event, said = server.show(str(path))
    assert event == "error", said
    assert CLIENT.get(server.url).status_code == 200
    assert server.show(server.upload(png(78), "next.png").json()[0])[0] == "complete"


def test_the_command_serves_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gradio

    network = untrained("depth-only").network
    save_weights(tmp_path / "run" / "best.safetensors", network, extra={"image_size": [64, 128]})
    picture().save(tmp_path / "example.png")
    monkeypatch.setattr("semdepth.apps.demo.render_examples", lambda _: [(tmp_path / "example.png", "example")])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    answers = []
    monkeypatch.setattr(gradio.Blocks, "block_thread", lambda page: answers.append(CLIENT.get(page.local_url)))
    assert main(["demo", f"--weights={tmp_path / 'run'}", "--port=0"]) == 0
    assert answers[0].status_code == 200
    assert "Weights: run." in answers[0].text
    assert "semdepth demo: http://127.0.0.1:" in capsys.readouterr().out
    assert not list(tmp_path.glob("semdepth_demo_*"))


def _files(value: object) -> list[dict]:
    if isinstance(value, dict):
        if "path" in value and "url" in value:
            return [value]
        return [found for part in value.values() for found in _files(part)]
    return [found for part in value for found in _files(part)] if isinstance(value, list) else []
