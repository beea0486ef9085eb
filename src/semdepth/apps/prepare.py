"""``semdepth prepare``."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semdepth.data.frame_selection import MotionConfig
from semdepth.data.lens import Lens, choose_framing, choose_lens
from semdepth.data.prepare import PreparedSet, whole_folder, write_frames
from semdepth.movie import Movie, open_movie
from semdepth.runtime import InputError, logger, parse_json

RECIPE = "recipe.yaml"
RECORD = "prepare.json"
"""The file in a prepared folder that says what it was made from, and what came of it."""
FEW = 100
"""With fewer targets than this, a network learns little from scratch."""


def prepare(
    source: Path, out: Path | None = None, intrinsics: str | None = None, fov_deg: float | None = None,
    distortion: str | None = None, long_side: int = 640, motion: float = MotionConfig.least,
    longest_gap: float = MotionConfig.longest_gap, fps: float = 10.0,
) -> None:  # fmt: skip
    """Make a set to learn from out of a video, or of a folder of images.

    Frames are stood upright, taken where the camera has moved enough since the one before, cut into sequences where the
    scene changes or the camera stands still, brought to a training size, and written with the camera's intrinsics and a
    recipe; the command to train with is printed. The folder appears whole or not at all; a folder that is there already
    is not made again.

    The camera: --intrinsics, or --fov_deg, or the focal length that the camera wrote into the images of a folder (EXIF).
    If none is known, 65° along the longer side is a first guess, and training learns the focal length (network.intrinsics:
    learnt); for that the camera must turn now and then, not only move straight.

    Args:
        source: A video, or a folder of consecutive images (in the order of the numbers in their names).
        out: The folder to write; none: prepared/NAME.
        intrinsics: fx,fy,cx,cy in pixels of the upright frames; or learnt: what else is known is a first guess.
        fov_deg: Horizontal field of view of the upright frames in degrees.
        distortion: k1,k2,p1,p2[,k3] as OpenCV's calibration gives them, e.g. --distortion=-0.28,0.07,0,0 (with the equals
            sign: k1 is mostly negative), with --intrinsics; the images are straightened.
        long_side: Longer side of the images in pixels, a multiple of 32; small frames are not enlarged.
        motion: Least motion between frames, as a share of the longer side (median flow).
        longest_gap: Seconds without that much motion after which the camera counts as standing, and a sequence ends.
        fps: Frame rate at which the images of a folder were taken; a video knows its own.

    Examples:
        semdepth prepare clip.mp4                             # writes prepared/clip, says how to train
        semdepth prepare clip.mp4 --out DIR --fov-deg 81      # a field of view that is known
        semdepth prepare photos --fps 30 --intrinsics learnt  # consecutive images of an unknown camera
        semdepth prepare clip.mp4 --intrinsics 720,720,620,188 --distortion=-0.28,0.07,0,0
    """
    out = out if out is not None else Path("prepared") / source.resolve().stem
    config = MotionConfig(least=motion, longest_gap=longest_gap)
    movie = open_movie(source, fps)
    lens = choose_lens(
        movie.size, intrinsics=intrinsics, fov_deg=fov_deg, distortion=distortion, first_image=next(iter(movie.images), None)
    )  # fmt: skip
    framing = choose_framing(movie.size, long_side)
    settings = {"source": _fingerprint(movie), "motion": asdict(config), "long_side": long_side, "camera": _plain(lens)}
    report = _done_before(out, settings)
    if report is None:
        with whole_folder(out) as folder:
            made = _write(movie, folder, lens, framing, config)
            report = summary(made, lens)
            (folder / RECIPE).write_text(recipe(out, made, lens), encoding="utf-8")
            record = {"settings": settings, "report": report}
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if made.targets < FEW:
            logger.warning("%s: %d frames to learn from are few; film for minutes, or start from other weights "
                           "(trainer.initial_weights)", out, made.targets)  # fmt: skip
    else:
        logger.info("%s: was prepared like this before; nothing to do", out)
    print_lines = [*report, f"Written: {out}", f"Train:   semdepth train --config {shlex.quote(str(out / RECIPE))}"]
    Console().print("\n".join(print_lines), highlight=False, soft_wrap=True, markup=False)


def _write(movie: Movie, folder: Path, lens: Lens, framing: Any, config: MotionConfig) -> PreparedSet:
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("reading", total=movie.expected)
        made = write_frames(
            movie, folder, lens, framing, config, progress=lambda done: bar.update(task, completed=done)
        )
        bar.update(task, completed=made.read, total=made.read)
    return made


def summary(made: PreparedSet, lens: Lens) -> list[str]:
    """Return what is printed about a prepared set, a line each."""
    (height, width), matrix = made.size, made.intrinsics
    learnt = "; a first guess, the focal length is learnt" if lens.learnt else ""
    bent = ", distortion undone" if lens.distortion else ""
    kept = f"{made.kept} kept in {len(made.sequences)} sequences ({made.targets} with both neighbours)"
    lines = [f"Frames:  {made.read} read, {kept}"]
    lines += [f"         {count} dropped: {why}" for why, count in made.dropped.items()]
    ends = {"scene changes": made.cuts, "times at rest": made.standing, "too fast": made.jumps}
    if any(ends.values()):
        lines.append("Breaks:  " + ", ".join(f"{count} {what}" for what, count in ends.items() if count))
    lines.append(f"Motion:  {made.motion:.1%} of the longer side between frames (median)")
    lines.append(f"Images:  {width}×{height}")
    lines.append(
        f"Camera:  fx {matrix[0, 0]:.1f}  fy {matrix[1, 1]:.1f}  cx {matrix[0, 2]:.1f}  cy {matrix[1, 2]:.1f} "
        f"({lens.origin}{bent}{learnt})"
    )
    return lines


def recipe(out: Path, made: PreparedSet, lens: Lens) -> str:
    """Return a recipe (YAML) that trains on a prepared set."""
    plain: dict[str, Any] = {
        "run": f"runs/{out.resolve().name}",
        "data": {
            "name": "folder",
            "root": str(out.resolve()),
            "height": made.size[0],
            "width": made.size[1],
            "labels": "none",
        },
        "network": {"encoder": "resnet18", "intrinsics": "learnt" if lens.learnt else "given"},
        "optim": {"learning_rate": 2e-4, "pose_first": 100},
        "trainer": {"batch": min(8, made.targets), "steps": 4000},
    }
    head = [
        "# Written by semdepth prepare: a start, not tuned to this video. network.pretrained: true (image weights from the hub)",
        "# or trainer.initial_weights helps a short video most.",
    ]
    return "\n".join([*head, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)])


def _plain(lens: Lens) -> dict[str, Any]:
    matrix = [[round(float(v), 6) for v in row] for row in lens.intrinsics]
    return {**asdict(lens), "intrinsics": matrix, "distortion": list(lens.distortion)}


def _fingerprint(movie: Movie) -> dict[str, Any]:
    """Return what tells a source from another, or from itself after a change."""
    files = movie.images or (movie.path,)
    states = [path.stat() for path in files]
    newest = max(state.st_mtime_ns for state in states)
    told = {"fps": movie.fps} if movie.images else {}  # a video's is its own
    return told | {
        "path": str(movie.path.resolve()),
        "files": len(files),
        "bytes": sum(state.st_size for state in states),
        "changed": newest,
    }


def _done_before(out: Path, settings: dict[str, Any]) -> list[str] | None:
    """Return the report of an earlier prepare into ``out``, None if there is nothing.

    Raises:
        InputError: if ``out`` holds something else.
    """
    record = out / RECORD
    if not record.exists():
        return None
    try:
        found = parse_json(record.read_text(encoding="utf-8"))
        same, report = found["settings"] == json.loads(json.dumps(settings)), [str(line) for line in found["report"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record}: cannot be read ({error}); delete the folder or give another --out") from None
    if not same:
        raise InputError(
            f"{out}: was prepared from another video or with other options; give another --out, or delete it"
        )
    return report
