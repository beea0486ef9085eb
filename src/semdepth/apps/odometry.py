"""``semdepth odometry``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semdepth.apps.benchmark_record import made_by
from semdepth.apps.evaluate import require_writable
from semdepth.apps.odometry_cloud import open_surveyor, survey, write_cloud
from semdepth.data.sequences import FrameSequence, open_sequences
from semdepth.evaluation.odometry import (
    KITTI_LENGTHS,
    OdometryErrors,
    Poses,
    chain_motions,
    check_lengths,
    judge_trajectory,
    straight_ahead,
    travelled,
)
from semdepth.evaluation.report import markdown_table, plain, write_text
from semdepth.evaluation.trajectory_files import kitti_lines, plot_paths, tum_lines
from semdepth.inference.motion import MotionPredictor, load_motion
from semdepth.inference.opening import find_weights
from semdepth.runtime import InputError, logger

PREDICTED = "predicted"
BASELINE = "straight ahead"
LONGEST = 1e9
"""A path longer than this, in whatever unit, is none: weights that have run away."""
Judged = dict[str, OdometryErrors]
"""Errors by the path's name: the predicted one, and the one that goes straight ahead at constant speed."""


def odometry(
    run: Path, sequence: Path, sequences: tuple[str, ...] = (), camera: int = 2, poses: Path | None = None,
    lengths: tuple[float, ...] = KITTI_LENGTHS, cloud: int = 0, camera_height: float | None = None,
    intrinsics: tuple[float, float, float, float] | None = None, fov_deg: float | None = None,
    out: Path = Path("odometry"), device: str = "auto",
) -> None:  # fmt: skip
    """Write the path of the camera through a sequence, and judge it where the true path is known.

    The pose network of the run gives the motion between consecutive frames; chained, they are the path, in a scale of
    their own: it is fitted to the true path by a similarity (Umeyama) before it is judged. Written are trajectory.txt
    (KITTI: the 3×4 matrix world_from_camera a line), trajectory_tum.txt where times.txt tells the times, trajectory.png
    (the path from above), odometry.json and odometry.md; with several sequences, a folder for each.

    Figures: ATE (root mean square of the position's error after alignment), RPE (error of the motion from frame to
    frame), KITTI's segment errors (over the lengths that fit into the sequence), and the 5-frame snippets of Zhou 2017;
    beside them those of a path straight ahead at constant speed, which never looks at an image.

    With a cloud, cloud.ply holds what the frames show, each where the camera was: the nearer half of every frame, without
    the sky and without what can move (extra points). With the camera's height, both it and the path are in metres.

    Args:
        run: A run folder (its best weights) or a .safetensors file with a pose network.
        sequence: A KITTI odometry root, a folder of consecutive frames, or of such folders, as prepare writes.
        sequences: KITTI odometry: which sequences, e.g. '["09"]'; none: all that have images of the camera.
        camera: KITTI odometry: 0, 1 grey; 2, 3 colour.
        poses: A folder's true poses, 12 numbers a line, one line an image; KITTI odometry brings its own.
        lengths: Metres of the segments, e.g. '[10,20]' for a short sequence; the default is KITTI's.
        cloud: Also write the points of every so-many-th frame in one cloud; 0: none.
        camera_height: With a cloud: metres of the camera above the road; the weights must have learnt labels.
        intrinsics: With a cloud: fx, fy, cx, cy in pixels of the images; none: what the weights know.
        fov_deg: With a cloud: horizontal field of view in degrees, in place of intrinsics.
        out: The folder that receives the files.
        device: auto, cpu, cuda, mps.

    Examples:
        semdepth odometry RUN DIR --sequences '["09","10"]'                 # KITTI odometry's root
        semdepth odometry RUN prepared/clip --out path                      # your own video: nothing to judge it by
        semdepth odometry RUN prepared/clip --cloud 2 --camera-height 1.2   # and its street as one cloud, in metres
        semdepth odometry RUN FRAMES --poses poses.txt --lengths '[10,20]'  # a short drive, its path known
    """
    check_lengths(lengths)
    if cloud < 0:
        raise InputError(f"cloud {cloud}: take every so-many-th frame, 1 for all; 0: no cloud")
    if not cloud and (camera_height, intrinsics, fov_deg) != (None, None, None):
        raise InputError("camera_height, intrinsics and fov_deg serve the cloud: give --cloud, e.g. 2")
    found = open_sequences(sequence, sequences=sequences, camera=camera, poses=poses)
    for item in found:
        if len(item.images) < 2:
            raise InputError(f"{item.images[0]}: is the only frame of {item.name}; a path needs at least two")
    predictor, weights = load_motion(run, device), find_weights(run)
    surveyor = open_surveyor(run, found, device, camera_height, intrinsics, fov_deg) if cloud else None
    out, console = require_writable(out), Console()
    for item in found:
        folder = out / item.name if len(found) > 1 else out
        path = predict_path(predictor, item)
        points, unit = None, "up to scale"
        if surveyor is not None:
            points, path, unit = survey(surveyor, item, path, cloud)
        length = float(travelled(path)[-1])
        if not np.isfinite(path).all() or length > LONGEST:
            raise InputError(
                f"{weights}: the path through {item.name} is longer than {LONGEST:g}; train the weights anew"
            )
        about = {"weights": str(weights), "sequence": str(sequence), "name": item.name, "frames": len(path)}
        about |= {"length": length, "unit": unit} | made_by()
        write_path(folder, item, path)
        also = write_cloud(folder, points, item.name)
        errors = judge_path(folder, item, path, lengths, unit)
        write_figures(folder, errors, about)
        if errors:
            console.print(figures_table(errors), highlight=False, soft_wrap=True)
        said = f"{item.name}, {len(path)} frames, {length:.4g} long ({unit}): {folder}{also}"
        console.print(said, highlight=False, soft_wrap=True)


def predict_path(predictor: MotionPredictor, sequence: FrameSequence) -> Poses:
    """Return the (N, 4, 4) path of a sequence, in its own scale and the first camera's axes."""
    columns = (TextColumn(sequence.name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task(sequence.name, total=len(sequence.images) - 1)
        return chain_motions(predictor.motions(sequence.images, progress=lambda: bar.advance(task)))


def write_path(folder: Path, sequence: FrameSequence, path: Poses) -> None:
    """Write the path as it was predicted.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        write_text(folder / "trajectory.txt", kitti_lines(path))
        if sequence.times is not None:
            write_text(folder / "trajectory_tum.txt", tum_lines(path, sequence.times))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); give another --out") from None


def judge_path(folder: Path, sequence: FrameSequence, path: Poses, lengths: tuple[float, ...], unit: str) -> Judged:
    """Judge the path beside the straight one, and draw it; nothing is judged where there is no true path, or none to go by."""
    errors: Judged = {}
    truth, drawn = sequence.world_from_camera, path
    if truth is not None:
        try:
            errors[PREDICTED], drawn = judge_trajectory(truth, path, lengths)
            errors[BASELINE], _ = judge_trajectory(truth, straight_ahead(len(path)), lengths)
        except InputError as error:
            logger.warning("%s: not judged: %s", sequence.name, error)
    if truth is None or not errors:
        plot_paths({PREDICTED: path}, folder / "trajectory.png", unit)
    else:
        plot_paths({"ground truth": truth, f"{PREDICTED}, aligned": drawn}, folder / "trajectory.png")
    return errors


def write_figures(folder: Path, errors: Judged, about: dict[str, Any]) -> None:
    """Write ``odometry.json`` and ``odometry.md``.

    Raises:
        InputError: if the folder cannot be written.
    """
    sections = ["# Odometry", "\n".join(f"- {key}: {value}" for key, value in about.items())]
    sections.append(figures_table(errors) if errors else "Not judged: the path only.")
    whole = {"about": about, "errors": {name: plain(asdict(value)) for name, value in errors.items()} or None}
    try:
        write_text(folder / "odometry.md", "\n\n".join(sections) + "\n\n![The path from above](trajectory.png)\n")
        write_text(folder / "odometry.json", json.dumps(whole, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); give another --out") from None


def figures_table(errors: Judged) -> str:
    """Return the figures as a Markdown table, a column for each path, and what they rest on."""
    columns = [_figures(value) for value in errors.values()]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    main = errors[PREDICTED]
    missing = [f"{length:g}" for length in main.lengths if length not in {s.length for s in main.segments}]
    notes = [f"{main.frames} frames, {main.path_length:.1f} m; aligned by a similarity of scale {main.scale:.4g}."]
    if missing:
        notes.append(f"No segment of {', '.join(missing)} m fits into the sequence.")
    if main.straight:
        notes.append("The path is a straight line: the cameras' axes settled the roll about it.")
    return f"{markdown_table(['', *errors], rows)}\n{' '.join(notes)}"


def _figures(errors: OdometryErrors) -> dict[str, str]:
    """Return the figures as they are printed, by their names."""
    cells = {
        "ATE, RMSE (m)": f"{errors.ate_rmse:.3f}",
        "ATE, largest (m)": f"{errors.ate_max:.3f}",
        "RPE translation, RMSE (m a frame)": f"{errors.rpe_translation_rmse:.4f}",
        "RPE rotation, RMSE (° a frame)": f"{errors.rpe_rotation_rmse:.4f}",
    }
    if errors.snippet is not None:
        cells["ATE of 5-frame snippets (m)"] = f"{errors.snippet.mean:.4f} ± {errors.snippet.std:.4f}"
    for s in errors.segments:
        name = f"segments of {s.length:g} m: {s.segments} (%, °/100 m)"
        cells[name] = f"{s.translation_percent:.2f}, {s.rotation_deg_per_100m:.2f}"
    if errors.segments:
        mean = f"{errors.segment_translation_percent:.2f}, {errors.segment_rotation_deg_per_100m:.2f}"
        cells["all segments (%, °/100 m)"] = mean
    return cells
