"""``semdepth demo``."""

from __future__ import annotations

import html
import os
import signal
import threading
from pathlib import Path

from rich.console import Console

from semdepth.apps.demo_site.examples import cache_folder, render_examples
from semdepth.apps.demo_site.limits import Limits
from semdepth.apps.demo_site.store import Store, open_store
from semdepth.inference.predictor import load
from semdepth.runtime import InputError


def demo(weights: Path | None = None, host: str = "127.0.0.1", port: int = 7860, device: str = "auto") -> None:
    """Serve a page on which images and videos are dropped to see their depth.

    The page shows depth beside the image, classes, uncertainty, a point cloud to turn, and depth under the pointer; all
    of it can be downloaded. Only this machine can open it, unless --host says otherwise. Uploads and results lie in a
    temporary folder, are deleted after ten minutes and when the server ends (Ctrl-C). Nothing is sent anywhere.

    Args:
        weights: A run folder or a .safetensors file; without it, the weights that come in the box.
        host: Address to listen on; 0.0.0.0 lets others in, who then can use this machine to predict.
        port: Port to listen on; 0 takes any free one.
        device: auto, cpu, cuda, cuda:1.

    Examples:
        semdepth demo                               # with the weights in the box; then open http://127.0.0.1:7860
        semdepth demo --weights runs/demo --port 0  # your own weights, on any free port
    """
    if not 0 <= port <= 65535:
        raise InputError(f"port {port}: must lie between 0 and 65535")
    predictor = load(weights, device)
    examples = render_examples(cache_folder())
    with open_store(Limits()) as store:
        keep_gradio_home(store)
        from semdepth.apps.demo_site.page import Site, build_page, serve

        name = "those that come in the box" if weights is None else html.escape(weights.name)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder goes, too
        site = Site(predictor, store, tuple(examples), name)
        page = build_page(site)
        address = serve(page, site, host, port)
        Console().print(f"semdepth demo: {address} (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)


def keep_gradio_home(store: Store) -> None:
    """Have Gradio write into the server's own folder, send nothing, and heed no settings of its own environment."""
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ |= {
        "GRADIO_TEMP_DIR": str(store.uploads),
        "GRADIO_EXAMPLES_CACHE": str(store.uploads),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
