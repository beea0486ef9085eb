"""A demo server inside the test's process: an untrained network, tiny examples, a port of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from semdepth.apps.demo import keep_gradio_home
from semdepth.apps.demo_site.limits import Limits
from semdepth.apps.demo_site.store import Store, open_store
from semdepth.inference.predictor import Predictor
from semdepth.models.network import NetworkConfig, build_depth_network

SIZE = (48, 96)
CLIENT = httpx.Client(timeout=120, verify=False, limits=httpx.Limits(max_connections=200))
"""One for all: making one costs more than most requests."""


@dataclass(frozen=True)
class Server:
    url: str
    store: Store

    def upload(self, data: bytes, name: str, kind: str = "image/png") -> httpx.Response:
        return CLIENT.post(f"{self.url}gradio_api/upload", files={"files": (name, data, kind)})

    def show(self, path: str, fov: float | None = 65.0, height: float | None = None) -> tuple[str, str]:
        """Ask for the result of an uploaded file, as the page does; return ``complete`` or ``error`` and the data."""
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        call = CLIENT.post(f"{self.url}gradio_api/call/show", json={"data": [file, fov, height]})
        if call.status_code != 200:
            return "error", call.text
        with CLIENT.stream("GET", f"{self.url}gradio_api/call/show/{call.json()['event_id']}") as answer:
            event = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("data: ") and event in ("complete", "error"):
                    return event, line[6:]
        return "error", "the answer ended"


def untrained(fusion: str = "none") -> Predictor:
    network = build_depth_network(NetworkConfig(encoder="resnet10-small", fusion=fusion, pretrained=False))
    return Predictor(network, (64, 128), "cpu")


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (6, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)


@contextmanager
def serving(folder: Path, predictor: Predictor, limits: Limits) -> Iterator[Server]:
    before = dict(os.environ)
    examples = []
    for k in range(2):
        examples.append((folder / f"example {k}.png", f"example {k}"))
        picture(100 + k).save(examples[-1][0])
    try:
        with open_store(limits) as store:
            keep_gradio_home(store)
            from semdepth.apps.demo_site.page import Site, build_page, serve

            site = Site(predictor, store, tuple(examples), "untrained")
            page = build_page(site)
            try:
                yield Server(serve(page, site, "127.0.0.1", 0), store)
            finally:
                page.close(verbose=False)
    finally:
        os.environ.clear()
        os.environ.update(before)
