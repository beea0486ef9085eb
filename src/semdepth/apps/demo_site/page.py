"""The page itself; the one door to Gradio."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from semdepth.apps.demo_site import legends, look
from semdepth.apps.demo_site.guard import Guard
from semdepth.apps.demo_site.results import (
    VIDEO_SUFFIXES,
    ImageResult,
    default_fov,
    is_video,
    read_back,
    show_image,
)
from semdepth.apps.demo_site.store import Store
from semdepth.apps.demo_site.videos import show_video
from semdepth.images import IMAGE_SUFFIXES
from semdepth.inference.predictor import Predictor
from semdepth.runtime import InputError, logger

HEAD = """<div class="sd-head"><h1>semdepth</h1><p>Depth from a single image or a video. Drop one, or click an example;
then drag the slider, read depth under the pointer, turn the points.</p></div>"""
PROBE = "Click or tap the picture: depth, place and class of that pixel."


@dataclass(frozen=True)
class Site:
    """What a page works with."""

    predictor: Predictor
    store: Store
    examples: tuple[tuple[Path, str], ...]
    """Images to click on, with their names; the first one is shown from the start."""
    weights: str
    """What the page says of the weights."""

    @property
    def segments(self) -> bool:
        """Whether there are classes to show."""
        return self.predictor.network.config.fusion != "depth-only"


@dataclass(frozen=True)
class Shown:
    """What a visitor looks at; kept by the server."""

    source: Path
    folder: Path


def build_page(site: Site) -> gr.Blocks:
    """Return the page, with the first example's result on it; not yet served."""
    fov = default_fov(site.predictor)
    first = show_image(site.predictor, site.store, site.examples[0][0], fov, None)
    with gr.Blocks(title="semdepth", analytics_enabled=False) as page:
        shown = gr.State(Shown(site.examples[0][0], first.folder))
        gr.HTML(HEAD)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                drop, gallery = _inputs(site)
                with gr.Accordion("Camera", open=False):
                    angle = gr.Number(fov, label="Horizontal field of view (degrees)", minimum=1, maximum=170)
                    above = gr.Number(
                        None, label="Height above the road (m)", info="Known for a camera on a car: gives metres.",
                        placeholder="unknown", visible=site.segments,
                    )  # fmt: skip
                    apply = gr.Button("Apply", size="sm")
            with gr.Column(scale=5, min_width=320, elem_id="sd-result"):
                outputs = _results(site, first)
        gr.HTML(_foot(site))
        camera, everything = [angle, above], [*outputs, shown]
        _connect(site, drop, gallery, apply, camera, shown, everything)
    page.queue(max_size=site.store.limits.waiting, default_concurrency_limit=1)
    return page


def serve(page: gr.Blocks, site: Site, host: str, port: int) -> str:
    """Serve the page from a thread of its own, and return its address; port 0 takes any free one.

    Raises:
        InputError: if the port is taken, or the host is none of this machine's.
    """
    site.store.keep_present()
    theme = gr.themes.Default(primary_hue="slate", neutral_hue="slate", font=look.FONT, font_mono=look.FONT_MONO)
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port or _free_port(host), share=False, inbrowser=False, quiet=True,
            prevent_thread_lock=True,
            max_file_size=site.store.limits.upload_mb * 2**20, allowed_paths=[], show_error=False, footer_links=[],
            run_history=False, enable_monitoring=False, pwa=False, mcp_server=False, ssr_mode=False,
            state_session_capacity=200, theme=theme, css=look.CSS, head=look.HEAD, strict_cors=True,
            app_kwargs={"middleware": [_middleware(site.store)], "docs_url": None, "redoc_url": None},
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot be listened on ({error}); choose another --port or --host") from None
    return str(address)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host.strip("[]"), 0))
        return int(listener.getsockname()[1])


def _middleware(store: Store) -> Any:
    from starlette.middleware import Middleware

    return Middleware(Guard, store=store)


def _inputs(site: Site) -> tuple[gr.File, gr.Gallery]:
    kinds = sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    drop = gr.File(label="Image or video", file_types=kinds, height=150, elem_id="sd-drop")
    gallery = gr.Gallery(
        [(str(path), name) for path, name in site.examples], label="Examples", columns=2, height="auto",
        allow_preview=False, interactive=False, object_fit="cover", buttons=[], elem_id="sd-examples",
    )  # fmt: skip
    return drop, gallery


def _results(site: Site, first: ImageResult) -> list[Any]:
    """Lay out what is shown of an image, and return the components in the order of `_values`."""
    summary = gr.Markdown(first.summary, elem_id="sd-summary")
    video = gr.Video(
        visible=False,
        show_label=False,
        interactive=False,
        autoplay=True,
        loop=True,
        buttons=["download"],
        elem_id="sd-video",
    )
    values = _values(site, first)
    with gr.Tabs():
        with gr.Tab("Depth"):
            slider = gr.ImageSlider(
                values[1], label="image | depth", show_label=False, type="filepath", interactive=False, max_height=520,
                buttons=["fullscreen"], elem_classes="sd-read", elem_id="sd-slider",
            )  # fmt: skip
            bar = gr.HTML(values[2])
        with gr.Tab("Probe"):
            probe = _picture(values[3], "sd-probe")
            reading = gr.Markdown(PROBE, elem_id="sd-reading")
        parts: list[Any] = []
        if site.segments:
            with gr.Tab("Classes"):
                parts += [_picture(values[5], "sd-classes"), gr.HTML(values[6])]
            with gr.Tab("Uncertainty"):
                parts += [_picture(values[7], "sd-uncertainty")]
                gr.HTML(legends.uncertainty_bar())
        with gr.Tab("3-D"):
            cloud = gr.Model3D(
                values[8], label="points", show_label=False, interactive=False, height=480, elem_id="sd-cloud",
                clear_color=(0.09, 0.1, 0.12, 1.0), camera_position=(90, 90, None), zoom_speed=0.7,
            )  # fmt: skip
    grid = gr.HTML(values[9], visible="hidden")
    with gr.Row(elem_id="sd-downloads"):
        names = ("Depth .npy", "Depth .png (16 bit)", "Points .ply", "Points .glb")
        downloads = [
            gr.DownloadButton(name, value, size="sm", min_width=130)
            for name, value in zip(names, values[10:], strict=True)
        ]
    return [summary, slider, bar, probe, reading, *parts, cloud, grid, *downloads, video]


def _picture(path: str | None, name: str) -> gr.Image:
    return gr.Image(
        path, type="filepath", show_label=False, interactive=False, buttons=["fullscreen"], elem_id=name,
        elem_classes="sd-read", height="auto",
    )  # fmt: skip


def _values(site: Site, result: ImageResult) -> list[Any]:
    """Return the values of all result components, in the order of the page; those of classes may be None."""
    image, disparity = str(result.image), str(result.disparity)
    parts = [str(result.segmentation), result.classes, str(result.uncertainty)] if site.segments else [None] * 3
    return [
        result.summary, (image, disparity), result.depth_bar, disparity, PROBE, *parts, str(result.cloud), result.grid,
        *map(str, result.downloads),
    ]  # fmt: skip


def _connect(
    site: Site,
    drop: gr.File,
    gallery: gr.Gallery,
    apply: gr.Button,
    camera: list[Any],
    shown: gr.State,
    outputs: list[Any],
) -> None:
    """Say what happens when."""

    def show(path: Path, fov_deg: float | None, height: float | None) -> list[Any]:
        fov_deg = default_fov(site.predictor) if fov_deg is None else fov_deg
        movie, video = (
            (show_video(site.predictor, site.store, path) if is_video(path) else None),
            gr.Video(None, visible=False),
        )
        source = path if movie is None else movie.still
        result = show_image(site.predictor, site.store, source, fov_deg, height or None)
        values = _values(site, result)
        if movie is not None:
            values[0], video = movie.summary, gr.Video(str(movie.movie), visible=True)
        return [*values[:5], *(values[5:8] if site.segments else []), *values[8:], video, Shown(source, result.folder)]

    @_polite
    def show_upload(file: str | None, fov_deg: float | None, height: float | None) -> list[Any]:
        if file is None:
            raise InputError("nothing was uploaded; drop an image or a video")
        if not Path(file).exists():
            raise InputError("the file was deleted while it waited for others; upload it again")
        return show(Path(file), fov_deg, height)

    @_polite
    def show_example(fov_deg: float | None, height: float | None, event: gr.SelectData) -> list[Any]:
        return show(site.examples[int(event.index)][0], fov_deg, height)

    @_polite
    def show_again(last: Shown, fov_deg: float | None, height: float | None) -> list[Any]:
        if not last.source.exists():
            raise InputError("the image has been deleted meanwhile; upload it again")
        again = show(last.source, fov_deg, height)
        again[-2] = gr.update()  # a video stays where it is
        return again

    @_polite
    def read(last: Shown, event: gr.SelectData) -> str:
        prediction, intrinsics = read_back(last.folder)
        x, y = event.index
        return legends.probe_text(prediction, int(x), int(y), intrinsics)

    turn = {"concurrency_id": "predict", "concurrency_limit": 1}
    drop.upload(show_upload, [drop, *camera], outputs, api_name="show", **turn).success(None, js=look.TO_RESULT)
    gallery.select(show_example, camera, outputs, api_visibility="private", **turn).success(None, js=look.TO_RESULT)
    apply.click(show_again, [shown, *camera], outputs, api_visibility="private", **turn)
    probe, reading = outputs[3], outputs[4]
    probe.select(read, shown, reading, api_visibility="private", concurrency_limit=2, show_progress="hidden")


def _polite(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn errors into a message on the page: the visitor's in full, the server's without a word of its insides."""

    @wraps(function)
    def wrapped(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except InputError as error:
            path = next((Path(a) for a in arguments if isinstance(a, str)), Path())
            raise gr.Error(
                legends.complaint(error, path), duration=None, title="Sorry", print_exception=False
            ) from None
        except Exception:
            logger.exception("the demo could not show a result")
            words = "this could not be shown; the server's log says why"
            raise gr.Error(words, duration=None, title="Sorry", print_exception=False) from None

    return wrapped


def _foot(site: Site) -> str:
    limits = site.store.limits
    return (
        f'<div class="sd-foot"><p>Weights: {site.weights}. Images of up to 64 megapixels, scaled down to {limits.side} '
        f"pixels here; videos of up to {limits.video_seconds:g} s; {limits.upload_mb} MB. Uploads and results are deleted "
        f"after {limits.keep_seconds / 60:g} minutes, and when the server stops.</p></div>"
    )
