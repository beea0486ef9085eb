"""``semdepth benchmark evaluate``: judging depth against lidar, ours beside the field's usual loop over images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import astuple
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from semdepth.apps.benchmark_apart import Apart
from semdepth.apps.benchmark_record import record
from semdepth.apps.benchmark_turns import open_reference, take_turns
from semdepth.data.records import FrameRecord, LidarDepth
from semdepth.data.video import FrameDataset
from semdepth.evaluation.evaluator import DepthEvaluator
from semdepth.evaluation.protocols import kitti_eigen
from semdepth.runtime import InputError
from semdepth.training.validation import judge_all

SIZE = (192, 640)
MADE_SCANS = 10
TOLERANCE = 1e-4
"""Of errors, relative: two libraries resize, with coordinates of different precision."""


def evaluate(root: Path | None, images: int, rounds: int, out: Path) -> str:
    """Let both judge the same made-up disparities against the same scans, and record the medians.

    Reading and projecting the scans is in the measured time, the network is not; ours also draws the confidence
    intervals. Threads: OMP_NUM_THREADS.

    Args:
        root: KITTI raw with lidar, whose scans are taken round and round; None: made ones of KITTI's size.
        images: how many are judged.
        rounds: how often both have a turn.
        out: folder of performance.json.

    Returns:
        The ratio, and where the numbers are.

    Raises:
        InputError: if there are no scans, the numbers of both differ, or the file cannot be written.
    """
    if rounds < 1 or images < 1:
        raise InputError("benchmark evaluate: rounds and images must be at least 1")
    open_reference("evaluation")
    with tempfile.TemporaryDirectory() as folder:
        scans = find_scans(make_scans(Path(folder)) if root is None else root)
        judged = [scans[i % len(scans)] for i in range(images)]
        disparities = [street_disparity(seed) for seed in range(8)]
        with ExitStack() as stack:
            rivals = {
                name: stack.enter_context(Apart(prepare, name, judged, disparities, plain=name == "reference"))
                for name in ("reference", "ours")
            }
            check_same(rivals["ours"].result("judge"), rivals["reference"].result("judge"))
            runs = {name: partial(rival.turn, "judge") for name, rival in rivals.items()}
            turns = take_turns(runs, rounds, warm_up=0, clock=lambda run, _: run())  # the check was one
            memory = {name: round(rival.peak_gb(), 2) for name, rival in rivals.items()}
    found = turns.ratio("reference", "ours")
    written = record(
        "evaluate",
        images / turns.median("ours"),
        images / turns.median("reference"),
        "images/s",
        out=out,
        ratio_of_rounds=found,
        seconds_an_image=turns.rows(images),
        peak_gb=memory,
        threads=torch.get_num_threads(),
        images=images,
        scans=len(scans),
        made=root is None,
    )
    ms = {name: 1e3 * turns.median(name) / images for name in turns.wall}
    spent = {name: 1e3 * turns.processor_median(name) / images for name in turns.wall}
    lines = ["| judging | ms an image | processor ms | × reference | peak GB |", "|---|---:|---:|---:|---:|"]
    ratios = {name: turns.ratio("reference", name)["wall"] for name in ms}
    lines += [f"| {name} | {ms[name]:.1f} | {spent[name]:.1f} | {ratios[name]:.2f} | {memory[name]} |" for name in ms]
    return "\n".join([*lines, "", f"As JSON: {written}"])


def prepare(
    name: str, judged: list[tuple[Path, Path]], disparities: list[npt.NDArray[np.float32]]
) -> dict[str, Callable[[], npt.NDArray[np.float64]]]:
    """Return how one of both judges, in the process that it has to itself."""
    judge = ours if name == "ours" else open_reference("evaluation").evaluate
    return {"judge": lambda: judge(judged, disparities)}


def ours(scans: list[tuple[Path, Path]], disparities: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Return the seven mean errors over images."""
    records = [
        FrameRecord(f"drive/{i:010d}/l", scan, np.eye(3), depth=LidarDepth(calib, scan))
        for i, (calib, scan) in enumerate(scans)
    ]

    def predictions() -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        for i in range(len(records)):
            yield i, disparities[i % len(disparities)]

    evaluator = DepthEvaluator(kitti_eigen)
    judge_all(evaluator, FrameDataset(records, *SIZE), predictions())
    return np.array(astuple(evaluator.result().mean))


def check_same(found: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> None:
    """Check that both judged alike.

    Raises:
        InputError: if not.
    """
    if not np.allclose(found, reference, rtol=TOLERANCE, atol=0):
        raise InputError(f"benchmark evaluate: ours {found} and the reference {reference} differ; report this")


def find_scans(root: Path) -> list[tuple[Path, Path]]:
    """Return the date's folder and the scan, for every scan of KITTI raw.

    Raises:
        InputError: if there are none.
    """
    scans = [(path.parents[3], path) for path in sorted(root.glob("*/*_sync/velodyne_points/data/*.bin"))]
    if not scans:
        raise InputError(f"{root}: holds no DATE/DRIVE_sync/velodyne_points/data/*.bin; give the folder of KITTI raw")
    return scans


def make_scans(folder: Path) -> Path:
    """Write a few scans like KITTI's: 64 beams that turn, a ground, a wall all around; 120,000 points each."""
    date = folder / "2011_09_26"
    data = date / "2011_09_26_drive_0000_sync" / "velodyne_points" / "data"
    data.mkdir(parents=True)
    axes = "0 -1 0 0 0 -1 1 0 0"  # lidar: x forward, y left, z up; camera: x right, y down, z forward
    (date / "calib_velo_to_cam.txt").write_text(f"R: {axes}\nT: 0 -0.08 -0.27\n", encoding="utf-8")
    camera = "R_rect_00: 1 0 0 0 1 0 0 0 1\nS_rect_02: 1242 375\nP_rect_02: 721.5 0 609.6 44.9 0 721.5 172.9 0.2 0 0 1 0.003\n"
    (date / "calib_cam_to_cam.txt").write_text(camera, encoding="utf-8")
    for number in range(MADE_SCANS):
        draw = np.random.default_rng(number)
        turn = np.linspace(-np.pi, np.pi, 1875, endpoint=False)
        down = np.radians(np.linspace(-2, 24.8, 64))[:, None]
        wall = 12 + 8 * np.sin(3 * turn + number) + draw.uniform(0, 0.2, (64, turn.size))
        reach = np.minimum(wall / np.cos(down), 1.73 / np.maximum(np.sin(down), 1e-3))
        points = np.stack(
            [
                reach * np.cos(down) * np.cos(turn),
                reach * np.cos(down) * np.sin(turn),
                -reach * np.sin(down),
                draw.uniform(0, 1, reach.shape),
            ],
            axis=-1,
        )
        points.reshape(-1, 4).astype("<f4").tofile(data / f"{number:010d}.bin")
    return folder


def street_disparity(seed: int) -> npt.NDArray[np.float32]:
    """Return a smooth disparity that grows towards the bottom, as a street's does."""
    draw = np.random.default_rng(seed)
    rows, columns = np.linspace(0, 1, SIZE[0])[:, None], np.linspace(0, 6, SIZE[1])[None]
    waves = 0.01 * np.sin(columns + draw.uniform(0, 6)) * np.cos(4 * rows)
    values: npt.NDArray[np.float32] = (0.03 + 0.15 * rows**2 + waves).astype(np.float32)
    return values
