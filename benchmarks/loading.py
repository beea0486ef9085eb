"""Measure how fast triplets are loaded: prepared cache and shards against decoding in workers, in one run, taking turns.

    python benchmarks/loading.py KITTI_RAW_DRIVE/image_02/data

The frames are re-encoded as PNG (KITTI's own format) in a temporary folder, so nobody profits from the JPEGs. Every round
runs every loader once; reported are the medians over rounds, so that a machine that others share disturbs all alike. The
figure that counts, ``ratio``, has the same work on both sides: clean and jittered float triplets in [0, 1] on two cores of the
processor. In training the augmentation runs on the device, so a loader has only to deliver bytes: the other rows.
Writes docs/results/performance.json (its key "load") and prints the table for docs/results/performance.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from reference.loading import ReferenceTriplets
from torch.utils.data import DataLoader, Dataset, RandomSampler

from semdepth.data.cache import PreparedFrames
from semdepth.data.cache_writer import prepare
from semdepth.data.records import FrameRecord
from semdepth.data.shard_writer import write_shards
from semdepth.data.shards import ShardFrames
from semdepth.data.transforms import AugmentConfig, augment, to_unit_range
from semdepth.data.video import FrameDataset
from semdepth.structures import FrameBatch, stack_frames

SIZE, BATCH, WORKERS = (192, 640), 12, 2
RESULT = Path(__file__).parents[1] / "docs" / "results" / "performance.json"
Loader = Callable[[int], Iterator[object]]
"""Number of batches → the batches."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, help="folder of consecutive frames, e.g. KITTI's image_02/data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8, help="of each loader in each round")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)  # processes and threads of the loaders share the cores, not each operation
    with tempfile.TemporaryDirectory() as folder:
        loaders, sizes = build(options.frames, Path(folder))
        rates: dict[str, list[float]] = {name: [] for name in loaders}
        costs: dict[str, list[float]] = {name: [] for name in loaders}
        for turn in range(options.rounds):
            for name, loader in loaders.items():
                before = processor_time()
                rates[name].append(measure(loader, options.batches))
                costs[name].append(1e3 * (processor_time() - before) / (options.batches * BATCH))
                print(f"round {turn + 1}: {name}: {rates[name][-1]:.1f}/s, {costs[name][-1]:.1f} ms each", flush=True)
    report(rates, costs, sizes, options.out)


def build(source: Path, folder: Path) -> tuple[dict[str, Loader], dict[str, int]]:
    """Return the loaders by name, and the bytes that each kind of storage takes."""
    frames = []
    for path in sorted(source.iterdir()):
        frames.append(folder / "png" / f"{path.stem}.png")
        frames[-1].parent.mkdir(exist_ok=True)
        Image.open(path).convert("RGB").save(frames[-1])
    records = [
        FrameRecord(f"drive/{i:04d}/l", frames[i], np.eye(3), (frames[i - 1], frames[i + 1]), (-1, 1))
        for i in range(1, len(frames) - 1)
    ]
    plain = FrameDataset(records, *SIZE)
    kept = FrameDataset(records, *SIZE, cache=True)
    stored = prepare(kept, folder / "cache", labels="none")
    shards = write_shards(kept, folder / "shards", labels="none", records=16)
    cache = PreparedFrames(folder / "cache", SIZE, labels="none")
    streamed = ShardFrames(folder / "shards", SIZE, labels="none")
    loaders: dict[str, Loader] = {
        "reference": by_workers(ReferenceTriplets(frames, SIZE), None),
        "cache, augmented on the processor": lambda batches: augmented_by_threads(cache, batches),
        "cache, bytes, no workers": by_workers(cache, stack_frames, 0),
        "cache, bytes": by_workers(cache, stack_frames),
        "shards, bytes": lambda batches: iter(
            DataLoader(streamed.stream(BATCH, steps=batches), batch_size=None, num_workers=WORKERS)
        ),
        "plain reader, bytes": by_workers(plain, stack_frames),
    }
    sizes = {"PNG frames": sum(path.stat().st_size for path in frames), "cache": stored.bytes, "shards": shards.bytes}
    return loaders, sizes


def by_workers(dataset: Dataset, collate: Callable | None, workers: int = WORKERS) -> Loader:
    """Return a loader of random batches by worker processes."""

    def load(batches: int) -> Iterator[object]:
        sampler = RandomSampler(dataset, replacement=True, num_samples=batches * BATCH)  # type: ignore[arg-type]
        return iter(DataLoader(dataset, BATCH, sampler=sampler, num_workers=workers, collate_fn=collate))

    return load


def augmented_by_threads(dataset: PreparedFrames, batches: int) -> Iterator[FrameBatch]:
    """Yield batches that as many threads as there are workers elsewhere read, make float and augment."""

    def make(number: int) -> FrameBatch:
        generator = torch.Generator().manual_seed(number)
        chosen = torch.randint(len(dataset), (BATCH,), generator=generator).tolist()
        return augment(to_unit_range(dataset.__getitems__(chosen)[0]), generator, AugmentConfig())

    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(make, range(batches))


def measure(loader: Loader, batches: int) -> float:
    """Return triplets a second, counted once every worker has delivered (their start is not counted)."""
    loaded = loader(batches)
    for _ in range(WORKERS):
        next(loaded)
    start = time.perf_counter()
    rest = sum(1 for _ in loaded)
    return rest * BATCH / (time.perf_counter() - start)


def processor_time() -> float:
    """Return the seconds that processors have worked for this process and the workers that it has ended."""
    gc.collect()  # ends the workers of loaders that are done with
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def report(rates: dict[str, list[float]], costs: dict[str, list[float]], sizes: dict[str, int], out: Path) -> None:
    """Print the table and put it into the file of results, whose other keys stay."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    spent = {name: statistics.median(values) for name, values in costs.items()}
    reference, ours = medians["reference"], medians["cache, augmented on the processor"]
    print("\n| loader | triplets/s | spread | × reference | processor ms a triplet |\n|---|---:|---:|---:|---:|")
    for name, median in medians.items():
        spread = f"{min(rates[name]):.1f} – {max(rates[name]):.1f}"
        print(f"| {name} | {median:.1f} | {spread} | {median / reference:.1f} | {spent[name]:.1f} |")
    print("\n" + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items()))
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    found["load"] = {
        "ratio": round(ours / reference, 2),
        "ours": round(ours, 1),
        "reference": round(reference, 1),
        "unit": "triplets/s",
        "all": {name: round(median, 1) for name, median in medians.items()},
        "processor_ms": {name: round(cost, 1) for name, cost in spent.items()},
        "bytes": sizes,
        "machine": f"{os.cpu_count()} cores of {processor()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}",
        "date": date.today().isoformat(),
        "command": shlex.join(["python", "benchmarks/loading.py", "DRIVE/image_02/data", *sys.argv[2:]]),
    }
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    temporary.replace(out)
    print(f"Written: {out}")


def processor() -> str:
    """Return the processor's name."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
