"""Mutated files through the public readers: each is read, or refused in one line; no traceback, no hang, no unbounded memory.

    OMP_NUM_THREADS=1 python benchmarks/fuzz.py image label --cases 10000 --seed 0 --out runs/fuzz
    OMP_NUM_THREADS=1 python benchmarks/fuzz.py image --only 4711        (one case again, in this process)

A case is a function of (target, seed, number). Cases run in a fork with an address-space limit; one that takes too long, or ends
its process, is recorded and the next fork goes on behind it. What fails is saved under OUT. Targets stand in fuzz_targets.py.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fuzz_targets import TARGETS, Target
from mutations import mutate

from semdepth.runtime import InputError, logger

MEMORY = 3 << 30
"""Bytes of address space that a worker may take beyond what it starts with."""
SECONDS = 60.0
"""Longest a case may take (generous, for busy machines)."""
READ, REFUSED, FAILED = 1, 2, 3


@dataclass
class Outcome:
    """What became of the cases of one target."""

    target: str
    seed: int
    cases: int = 0
    read: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


def case_bytes(target: Target, seeds: Sequence[bytes], seed: int, number: int) -> bytes:
    """Return the content of a case."""
    chance = random.Random(f"{target.name}/{seed}/{number}")
    content = mutate(chance, seeds)
    return target.repair(content) if target.repair is not None and chance.random() < 0.7 else content


def attempt(target: Target, path: Path, content: bytes) -> tuple[int, str]:
    """Read one case; return how it ended, and what was wrong."""
    path.write_bytes(content)
    try:
        target.read(path)
    except InputError as error:
        message = str(error)
        if "\n" in message or len(message) > 2000:
            return FAILED, f"complaint of {len(message.splitlines())} lines, {len(message)} characters"
        return REFUSED, ""
    except BaseException:
        return FAILED, traceback.format_exc()
    return READ, ""


def work(target: Target, seeds: Sequence[bytes], seed: int, numbers: range, shared: mmap.mmap, out: Path) -> None:
    """Go through cases in a process of its own; ``shared`` tells the parent how far it is."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries' own words on damaged files
    logger.disabled = True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{target.suffix}"
        for number in numbers:
            begun = time.monotonic()
            content = case_bytes(target, seeds, seed, number)
            how, wrong = attempt(target, path, content)
            if how == FAILED:
                save_failure(out, target, seed, number, content, wrong)
            shared[number] = how
            shared[-16:] = struct.pack("<qd", number + 1, time.monotonic() - begun)


def save_failure(out: Path, target: Target, seed: int, number: int, content: bytes, wrong: str) -> None:
    """Keep a case that failed, and why."""
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"{target.name}_seed{seed}_case{number}"
    stem.with_suffix(target.suffix).write_bytes(content)
    stem.with_suffix(".txt").write_text(wrong)


def fuzz(target: Target, cases: int, seed: int, out: Path) -> Outcome:
    """Run the cases of a target.

    Args:
        target: what to read, and how.
        cases: how many.
        seed: which.
        out: where failures are kept.
    """
    outcome = Outcome(target.name, seed)
    with tempfile.TemporaryDirectory() as folder:
        seeds = target.seeds(Path(folder))
    shared = mmap.mmap(-1, cases + 16)
    first = 0
    while first < cases:
        shared[-16:] = struct.pack("<qd", first, 0.0)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 1
            try:
                work(target, seeds, seed, range(first, cases), shared, out)
                code = 0
            finally:
                os._exit(code)
        ended = watch(child, shared, outcome)
        (first, _) = struct.unpack("<qd", shared[-16:])
        if first < cases:  # the process went down with this case
            shared[first] = FAILED
            save_failure(out, target, seed, first, case_bytes(target, seeds, seed, first), ended)
            first += 1
    outcome.cases = cases
    ends = list(shared[:cases])
    outcome.read, outcome.refused = ends.count(READ), ends.count(REFUSED)
    outcome.failures = [f"case {number}" for number, how in enumerate(ends) if how == FAILED]
    return outcome


def watch(child: int, shared: mmap.mmap, outcome: Outcome) -> str:
    """Wait for a worker, kill it when a case takes too long; return how it ended."""
    before, since = -1, time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return f"the process ended with {os.waitstatus_to_exitcode(status)}"
        number, seconds = struct.unpack("<qd", shared[-16:])
        outcome.slowest_s = max(outcome.slowest_s, round(seconds, 3))
        if number != before:
            before, since = number, time.monotonic()
        elif time.monotonic() - since > SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"no end after {SECONDS:g} s"
        time.sleep(0.01)


def run_again(target: Target, seed: int, number: int) -> None:
    """Read one case in this process, for a look at its traceback."""
    with tempfile.TemporaryDirectory() as folder:
        content = case_bytes(target, target.seeds(Path(folder)), seed, number)
        print(target.read_or_refuse(Path(folder) / f"case{target.suffix}", content))


def main() -> None:
    """Fuzz the targets that are named, all of them without a name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--only", type=int, help="number of the one case to read")
    options = parser.parse_args()
    failed = False
    for name in options.targets or TARGETS:
        if options.only is not None:
            run_again(TARGETS[name], options.seed, options.only)
            continue
        outcome = fuzz(TARGETS[name], options.cases, options.seed, options.out)
        failed |= bool(outcome.failures)
        print(json.dumps(asdict(outcome)), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
