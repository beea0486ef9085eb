"""The demo in a real browser: upload, result, probe, download; at a desk's and at a phone's width."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semdepth.apps.demo_site.limits import Limits

from .demo_server import Server, picture, serving, untrained

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("gradio", reason="GRADIO MISSING: the web demo is NOT tested")
    with serving(tmp_path_factory.mktemp("demo"), untrained(), Limits(side=96)) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="PLAYWRIGHT MISSING: the demo's page is NOT tested")
    if CHROMIUM is None:
        pytest.skip("CHROMIUM MISSING: the demo's page is NOT tested (apt install chromium)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_upload_result_probe_download(browser: Any, server: Server, tmp_path: Path, width: int) -> None:
    photo, foreign = tmp_path / f"my street {width}.png", []
    picture(width).save(photo)
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.set_default_timeout(60_000)
    page.on("request", lambda request: foreign.append(request.url) if _is_foreign(request.url) else None)
    page.goto(server.url)
    page.locator("#sd-slider img").first.wait_for()
    page.locator("#sd-drop input[type=file]").set_input_files(photo)
    stem = photo.stem.replace(" ", "_")
    page.locator(f"#sd-slider img[src*='{stem}']").first.wait_for()

    page.locator("#sd-slider img").first.scroll_into_view_if_needed()
    box = page.locator("#sd-slider img").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.locator("#sd-tip", has_text="up to scale").wait_for()

    page.get_by_role("tab", name="3-D").click()
    page.locator("#sd-cloud canvas").wait_for()  # a viewer that is there, not only its frame
    page.get_by_role("tab", name="Probe").click()
    page.locator(f"#sd-probe img[src*='{stem}']").click()
    page.locator("#sd-reading", has_text="Depth at (").wait_for()
    with page.expect_download() as waiting:
        page.get_by_text("Depth .npy").click()
    depth = np.load(waiting.value.path())
    assert depth.shape == (48, 96)
    assert (depth > 0).all()
    assert waiting.value.suggested_filename == f"{stem}_depth.npy"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert foreign == []
    if folder := os.environ.get("SEMDEPTH_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"demo_{width}.png"), full_page=True)
    page.close()


def test_a_bad_file_gets_a_message_and_the_page_goes_on(browser: Any, server: Server, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(60_000)
    page.goto(server.url)
    page.locator("#sd-slider img").first.wait_for()
    (tmp_path / "bad.png").write_bytes(b"not an image")
    page.locator("#sd-drop input[type=file]").set_input_files(tmp_path / "bad.png")
    page.get_by_text("bad.png: image is in no image format known here").wait_for()
    page.locator("#sd-examples button").nth(1).click()
    page.locator("#sd-slider img[src*='example_1']").first.wait_for()
    page.close()


def _is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "http://localhost", "ws://127.0.0.1", "data:", "blob:"))
