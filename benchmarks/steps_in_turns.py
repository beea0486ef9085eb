"""Two versions of the code take training steps in turns: seconds of each, and the ratio turn by turn.

    git worktree add ../before REVISION
    OMP_NUM_THREADS=2 python benchmarks/steps_in_turns.py "ours, full method" ../before/src src --turns 7

The first argument is a way to train as `semdepth benchmark train` names them; ``--what losses`` leaves the networks out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

WORKER = """
import sys, time, torch
from semdepth.apps.benchmark_steps import build, rendered_batch
from semdepth.runtime import keep_freed_memory
keep_freed_memory()
act = getattr(build(sys.argv[1], "resnet18", rendered_batch((192, 640), 4), torch.device("cpu")), sys.argv[2])
act(), act()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    act()
    print(time.perf_counter() - start, flush=True)
"""


def start(way: str, what: str, source: str) -> subprocess.Popen[str]:
    """Start a process that takes a step for every line it is given, with the code of ``source``."""
    command, environment = [sys.executable, "-c", WORKER, way, what], os.environ | {"PYTHONPATH": source}
    worker = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while (worker.stdout.readline()) != "ready\n":
        if worker.poll() is not None:
            raise SystemExit(f"{source}: {way} did not start; see above")
    return worker


def turn(worker: subprocess.Popen[str]) -> float:
    """Let a process take one step; return its seconds."""
    worker.stdin.write("\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def round_of(workers: list[subprocess.Popen[str]], swapped: bool) -> list[float]:
    """Let both take a step; whoever comes second finds the machine as the first has left it, so they change places."""
    seconds = [turn(worker) for worker in (workers[::-1] if swapped else workers)]
    return seconds[::-1] if swapped else seconds


def main() -> None:
    """Compare the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way")
    parser.add_argument("sources", nargs=2)
    parser.add_argument("--what", choices=["step", "losses"], default="step")
    parser.add_argument("--turns", type=int, default=8)
    asked = parser.parse_args()
    workers = [start(asked.way, asked.what, source) for source in asked.sources]
    before, after = zip(*(round_of(workers, swapped=i % 2 == 1) for i in range(asked.turns)), strict=True)
    for source, seconds in zip(asked.sources, (before, after), strict=True):
        print(f"{source}: {statistics.median(seconds):.3f} s ({min(seconds):.3f} - {max(seconds):.3f})")
    print(f"ratio, turn by turn: {statistics.median(a / b for a, b in zip(before, after, strict=True)):.2f}")
    for worker in workers:
        worker.kill()


if __name__ == "__main__":
    main()
