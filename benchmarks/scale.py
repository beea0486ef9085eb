"""Measure what large collections are made of: bytes a frame, time to list and to open files, memory and time an image.

    python benchmarks/scale.py KITTI_RAW_ROOT --weights RUN

Times are processor time of this process, so that a machine that others share disturbs little. Nothing here needs Ray.
Writes docs/results/scaling.json; docs/scaling.md works with its numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch

from semdepth.apps.cli import main as semdepth
from semdepth.apps.cluster import packed
from semdepth.apps.cluster_jobs import Job
from semdepth.apps.predict_inputs import find_images
from semdepth.data.label_files import label_tasks
from semdepth.images import read_image
from semdepth.inference.outputs import SUFFIXES, write_prediction
from semdepth.inference.predictor import load

RESULT = Path(__file__).parents[1] / "docs" / "results" / "scaling.json"
LISTED, TIMED = 20_000, 8
PARTS = ("sizes", "driver", "predict", "files")


def main() -> None:
    """Measure and write, part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="KITTI raw's tree with noisy labels")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = json.loads(options.out.read_text()) if options.out.exists() else {}
    for part in options.parts:
        loaded = os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as folder:
            measured = {
                "sizes": lambda: sizes(options.root, Path(folder)),
                "driver": driver,
                "predict": lambda: prediction(options.root, options.weights, Path(folder)),
                "files": lambda: files(Path(folder)),
            }[part]()
            result[part] = measured | {"load": round(loaded), "date": date.today().isoformat()}
        print(part, json.dumps(result[part], ensure_ascii=False), flush=True)
        result["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
        result["command"] = "python benchmarks/scale.py KITTI --weights RUN"
        options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def sizes(root: Path, folder: Path) -> dict[str, float]:
    """Return kB a frame: as recorded, and as ``semdepth cache`` writes it at 640×192 with labels and entropy."""
    images = find_images(root, folder)
    found = {"images as they are": kilobytes(images) / len(images)}
    for name, extra in (("prepared", []), ("shards", ["--shards=64"])):
        given = [f"--data.root={root}", "--data.height=192", "--data.width=640", "--data.cameras=[2]", *extra]
        assert semdepth(["cache", str(folder / name), *given]) == 0
        written = [path for path in (folder / name).rglob("*") if path.is_file()]
        found[name] = kilobytes(written) / len(images)
    return rounded(found)


def files(folder: Path) -> dict[str, float]:
    """Return the processor ms that a folder of many small files costs, a file: to write, list and open; and of one file."""
    many = folder / "many"
    many.mkdir()
    block = bytes(4096)

    def make() -> None:
        for i in range(LISTED):
            (many / f"{i:08d}.png").write_bytes(block)

    found = {"write": processor(make) / LISTED}
    found["names"] = processor(lambda: sum(1 for _ in os.scandir(many))) / LISTED
    some = [many / f"{i:08d}.png" for i in np.random.default_rng(0).integers(0, LISTED, 2000)]
    found["open and read"] = processor(lambda: [path.read_bytes() for path in some]) / len(some)
    whole = folder / "whole.tar"
    whole.write_bytes(block * len(some))
    found["read out of one file"] = processor(lambda: in_pieces(whole, len(block))) / len(some)
    begun = time.perf_counter()
    found["list as predict does"] = processor(lambda: find_images(many, folder / "out")) / LISTED
    found["list as predict does, s for all"] = time.perf_counter() - begun
    return {"files": LISTED} | rounded(found)


def driver() -> dict[str, float]:
    """Return the memory that the command itself needs, in bytes an image."""
    tracemalloc.start()
    images = [Path(f"/data/drives/2030_01_01/drive_{i // 1000:05d}/{i % 1000:010d}.png") for i in range(4_000)]
    tasks = label_tasks("folder", images)
    jobs = [Job(task.image, task.labels) for task in tasks]
    rows = [packed(jobs[i : i + 8]) for i in range(0, len(jobs), 8)]
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return rounded({"B an image": used / len(images), "of them handed to Ray": sum(map(len, rows)) / len(images)})


def prediction(root: Path, weights: Path, folder: Path) -> dict[str, float]:
    """Return processor ms an image to decode, to predict and to write, and the kB of each output."""
    predictor = load(weights, "cpu")
    chosen = find_images(root, folder)[:TIMED]
    images: list = []
    found = {"ms to decode": processor(lambda: images.extend(read_image(path) for path in chosen))}
    predictions: list = []
    found["ms to predict, batches of 4"] = processor(
        lambda: predictions.extend(predictor.predict_many(images, batch=4))
    )
    for name in ("depth_npy", "depth_png", "disparity", "panel"):
        stems = [folder / name / str(i) for i in range(len(images))]
        jobs = list(zip(stems, images, predictions, strict=True))
        found[f"ms to write {name}"] = processor(
            lambda jobs=jobs, name=name: [write_prediction(*j, (name,)) for j in jobs]
        )
        written = [stem.with_name(f"{stem.name}_{SUFFIXES[name]}") for stem in stems]
        found[f"kB of {name}"] = kilobytes(written)
    height, width = predictor.image_size
    return {"network's input": f"{width}×{height}"} | rounded({k: v / len(images) for k, v in found.items()})


def in_pieces(path: Path, size: int) -> None:
    """Read a file piece by piece."""
    with path.open("rb") as stream:
        while stream.read(size):
            pass


def kilobytes(paths: Sequence[Path]) -> float:
    """Return the size of files."""
    return sum(path.stat().st_size for path in paths) / 1000


def processor(work: Callable[[], object]) -> float:
    """Return the processor time that it takes, in ms."""
    begun = time.process_time()
    work()
    return 1000 * (time.process_time() - begun)


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Return three digits of each."""
    return {name: float(f"{value:.3g}") for name, value in values.items()}


if __name__ == "__main__":
    main()
