"""``semdepth predict`` of videos, and of what a camera sees."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track

from semdepth.apps.predict_job import Job, say
from semdepth.runtime import InputError, logger


def predict_video(path: Path, stem: Path, job: Job, stabilise: bool, frames_too: bool) -> None:
    """Write a video's depth beside it.

    Raises:
        InputError: if it cannot be read from the start, or nothing can be written.
    """
    from semdepth.movie import open_movie, read_frames

    movie, damaged = open_movie(path), [0]

    def note(error: InputError) -> None:
        damaged[0] += 1
        if damaged[0] == 1:
            logger.warning("%s", error)

    frames = (frame for frame in read_frames(movie, note) if frame.number % job.every == 0)
    expected = None if movie.expected is None else -(-movie.expected // job.every)
    shown = track(frames, path.name, total=expected)
    said = _write_shots(shown, movie.fps / job.every, stem, job, stabilise, frames_too)
    lost = f", {damaged[0]} damaged places passed over" if damaged[0] else ""
    say(said.replace(" frames", f" frames{lost}", 1))


def predict_webcam(number: int, stem: Path, job: Job, stabilise: bool, frames_too: bool) -> None:
    """Write what a camera sees, and its depth, until Ctrl-C.

    Raises:
        InputError: if there is no such camera, or nothing can be written.
    """
    from semdepth.movie import read_camera

    Console().print("recording; Ctrl-C ends it", highlight=False)
    with until_interrupted() as stopped:
        frames = (frame for frame in read_camera(number) if frame.number % job.every == 0)
        watched = take_until(stopped, frames)
        say(_write_shots(watched, 30.0, stem, job, stabilise, frames_too))


def _write_shots(frames: Iterable, fps: float, stem: Path, job: Job, stabilise: bool, frames_too: bool) -> str:
    """Write the video of some frames; return what to say of it."""
    from semdepth.inference.video import Shot, predict_frames, write_video

    metric = job.metric()

    def finished() -> Iterator[Shot]:
        shots = predict_frames(job.predictor, frames, batch=job.batch, flip=job.flip, stabilise=stabilise)
        for shot in shots:
            prediction = shot.prediction if metric is None else metric(f"{shot.number:06d}", shot.prediction)
            if frames_too:
                job.write(stem / f"{shot.number:06d}", shot.pixels, prediction)
                if metric is not None:
                    metric.note(stem)
            yield Shot(shot.number, shot.seconds, shot.pixels, prediction)

    path = stem.with_name(f"{stem.name}_depth.mp4")
    report = write_video(path, finished(), fps)
    unit = "depth up to scale" if metric is None else metric.summary()
    speed = f"{report.seconds:.1f} s of video in {report.took:.1f} s ({report.real_time:.2f} × real time)"
    return f"{report.frames} frames, {unit}, {speed}: {path}"


def take_until(stopped: Callable[[], bool], frames: Iterable) -> Iterator:
    """Yield frames until it is time to stop."""
    for frame in frames:
        if stopped():
            return
        yield frame


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a question, so that what was recorded is finished properly."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
