"""Kill training with SIGKILL at random moments, go on with the same command, and compare with a run that was let be.

    OMP_NUM_THREADS=1 python benchmarks/kill_training.py runs/killed --kills 20 --seed 0

Writes nothing but the folder; prints a table, and exits with 1 if anything was lost. Every attempt is a fork of this process,
which has imported everything and computed nothing: what a fresh process is after its imports. There is no fault built into the
product: for a kill inside a write, the files of the run are watched from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file

from semdepth.apps.cli import main as run_command
from semdepth.models.weights import read_header
from semdepth.training.checkpoint import CONTENT, checkpoints
from semdepth.training.recorder import read_curves

MOMENTS = ("checkpoint write", "anywhere", "weights write", "anywhere")
"""Taken in turn."""
IMPORTED = (
    "semdepth.apps.synthesise", "semdepth.apps.train", "semdepth.apps.recipes", "semdepth.apps.parser",
    "torch.utils.tensorboard", "transformers.models.auto.modeling_auto", "transformers.models.resnet.modeling_resnet",
)  # fmt: skip
"""Before the forks, so that each of them starts at once."""
POLL = 0.0002
MISSED = 8
"""Steps after which a kill no longer waits for a write to be seen."""
PATIENCE = 900.0
"""Seconds after which an attempt counts as hanging."""
SIZE = ["--data.height=64", "--data.width=64"]
JUDGED = ["--validation.height=64", "--validation.width=64", "--validation.labels=exact", "--allow_leak=true"]
NETWORK = ["--network.encoder=resnet10-small", "--network.pose_encoder=resnet10-small", "--network.fusion=ssfa"]
NETWORK += ["--network.decoder_channels=[8,8,16,16,32]"]
LOOP = ["--trainer.batch=1", "--trainer.workers=0", "--trainer.accelerator=cpu", "--trainer.log_every=5"]
DUE = [
    "--trainer.checkpoint_every=2",
    "--trainer.validate_every=3",
    "--trainer.panel_every=5",
    "--objective.ranking=0.05",
]


@dataclass
class Kill:
    """One kill, and what it left."""

    number: int
    moment: str
    after_s: float
    newest_checkpoint: int
    checkpoints: int
    half_written: list[str]
    unreadable: list[str]


def command(run: Path, world: Path, steps: int) -> list[str]:
    """Return the arguments of one and the same training."""
    judged = [f"--validation.root={world}", "--validation.require_depth=true", *JUDGED]
    options = [*SIZE, *judged, *NETWORK, *LOOP, *DUE]
    return ["train", f"--run={run}", f"--data.root={world}", f"--trainer.steps={steps}", *options]


def start(arguments: list[str], log: Path) -> int:
    """Run a command in a fork; return its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    code = 1
    try:
        code = run_command(arguments)
    finally:
        os._exit(code)


def wait(child: int, until: Callable[[], bool] = lambda: False) -> int | None:
    """Return the exit code of a process that ends by itself; None if ``until`` came true first, or patience ended."""
    begun = time.monotonic()
    while not until() and time.monotonic() - begun < PATIENCE:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL)
    return None


def finish(arguments: list[str], log: Path) -> None:
    """Run a command to its end."""
    code = wait(start(arguments, log))
    if code != 0:
        sys.exit(f"{arguments[0]} ended with {code}, see {log}")


def moment(run: Path, kind: str, chance: random.Random) -> Callable[[], bool]:
    """Return what tells that it is time to kill."""
    folder, prefix = (run / "checkpoints", "step_") if kind == "checkpoint write" else (run, ".weights.safetensors")
    wanted, before, count = chance.randint(2, 3), False, 0  # not the first one: there has to be progress
    last, further, delay, due = newest(run), chance.choice((0, 2, 2, 4)), chance.uniform(0, 2), 0.0

    def anywhere() -> bool:
        nonlocal due
        if not due and newest(run) >= last + further:
            due = time.monotonic() + delay
        return bool(due) and time.monotonic() > due

    def writing() -> bool:
        nonlocal before, count
        names = os.listdir(folder) if folder.is_dir() else []
        now = any(name.startswith(prefix) and name.endswith(".tmp") for name in names)
        count += now and not before
        before = now
        missed = (
            newest(run) >= last + MISSED
        )  # a short write on a busy machine: kill anyway, else the run ends too soon
        return (now and count >= wanted) or missed

    return anywhere if kind == "anywhere" else writing


def newest(run: Path) -> int:
    """Return the step of the newest checkpoint, 0 where there is none."""
    found = checkpoints(run / "checkpoints")
    return int(found[-1].stem.removeprefix("step_")) if found else 0


def unreadable(run: Path) -> list[str]:
    """Return the names of checkpoints and weights that do not load."""
    bad = []
    for path in checkpoints(run / "checkpoints"):
        try:
            if not torch.load(path, map_location="cpu", weights_only=True).keys() >= CONTENT:
                bad.append(path.name)
        except Exception:
            bad.append(path.name)
    for name in ("weights.safetensors", "best.safetensors"):
        if (run / name).exists():
            try:
                load_file(run / name)
                read_header(run / name)
            except Exception:
                bad.append(name)
    return bad


def half_written(run: Path) -> list[str]:
    """Return the temporary files that lie in a run's folder."""
    return sorted(path.name for folder in (run, run / "checkpoints") for path in folder.glob("*.tmp"))


def kill_again_and_again(run: Path, world: Path, steps: int, kills: int, chance: random.Random) -> list[Kill]:
    """Start, kill, look, and again."""
    told: list[Kill] = []
    while len(told) < kills:
        kind = MOMENTS[len(told) % len(MOMENTS)]
        begun = time.monotonic()
        child = start(command(run, world, steps), run.with_suffix(".log"))
        code = wait(child, moment(run, kind, chance))
        if code is not None:
            print(f"the run ended with {code} before kill {len(told) + 1}; give more --steps")
            break
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        after, found = round(time.monotonic() - begun, 2), len(checkpoints(run / "checkpoints"))
        kill = Kill(len(told) + 1, kind, after, newest(run), found, half_written(run), unreadable(run))
        told.append(kill)
        print(kill, flush=True)
    return told


def same_weights(a: Path, b: Path) -> bool:
    """Return whether two weight files hold the same bits and say the same of themselves."""
    one, two = load_file(a), load_file(b)
    same = one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    return same and read_header(a) == read_header(b)


def curves(run: Path) -> list[tuple[int, str, float]]:
    """Return the rows of a run's curves but for the speed."""
    return [row for row in read_curves(run) if row[1] != "train/images_per_second"]


def main() -> None:
    """Make a world, train once in peace and once under fire, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in IMPORTED:
        import_module(name)
    out: Path = options.out
    out.mkdir(parents=True)
    world, whole, killed = out / "world", out / "whole", out / "killed"
    finish(["synthesise", str(world), "--drives=2", "--frames=4", "--height=64", "--width=128"], out / "world.log")
    finish(command(whole, world, options.steps), whole.with_suffix(".log"))
    told = kill_again_and_again(killed, world, options.steps, options.kills, random.Random(options.seed))
    finish(command(killed, world, options.steps), killed.with_suffix(".log"))
    checks = {
        "all kills done": len(told) == options.kills,
        "every file loads after every kill": not any(kill.unreadable for kill in told),
        "weights bit-identical": same_weights(whole / "weights.safetensors", killed / "weights.safetensors"),
        "best bit-identical": same_weights(whole / "best.safetensors", killed / "best.safetensors"),
        "curves equal, no step twice": curves(whole) == curves(killed),
        "two checkpoints kept": len(checkpoints(killed / "checkpoints")) == 2,
        "no half-written file left": not half_written(killed),
    }
    inside = sum(bool(kill.half_written) for kill in told)
    print(
        "\n| # | moment | s after start | newest checkpoint | checkpoints | half-written files |\n|--:|---|--:|--:|--:|---|"
    )
    for kill in told:
        halves = ", ".join(kill.half_written) or "–"
        print(
            f"| {kill.number} | {kill.moment} | {kill.after_s} | {kill.newest_checkpoint} | {kill.checkpoints} | {halves} |"
        )
    print(f"\n{len(told)} kills, {inside} of them inside a write\n" + "\n".join(f"{n}: {v}" for n, v in checks.items()))
    result = {"kills": [asdict(kill) for kill in told], "inside_a_write": inside, "checks": checks}
    (out / "result.json").write_text(json.dumps(result, indent=1))
    sys.exit(0 if all(checks.values()) else 1)


if __name__ == "__main__":
    main()
