"""``semdepth ablate``."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from semdepth.apps.benchmark_record import made_by
from semdepth.apps.evaluate import facts_of, judged_data
from semdepth.apps.recipes import (
    RUN_CONFIG,
    flatten,
    load_experiment,
    parse_experiment,
    refuse_other_run,
    save_experiment,
)
from semdepth.apps.train import build_trainer
from semdepth.config import Experiment
from semdepth.data.catalog import DataConfig, Frames, open_dataset
from semdepth.data.leaks import refuse_leak
from semdepth.evaluation.report import write_json, write_text
from semdepth.models.weights import load_depth_network, read_header
from semdepth.runtime import InputError, choose_device, parse_json, require_file
from semdepth.training.ablation import PAPER, VARIANTS, Variant, override, variant_of
from semdepth.training.ablation_summary import FinishedRun, markdown, plot, read_run, summarise
from semdepth.training.trainer import Trainer
from semdepth.training.validation import judge, protocol_for

FIXED = ("trainer.steps", "trainer.epochs")
"""What a run that is there must agree in beside what ``save_experiment`` asks for: the schedule depends on it."""
VALIDATION = "validation"


class OutOfTimeError(Exception):
    """The budget is spent; what was begun has a checkpoint."""


class TimedTrainer(Trainer):
    """A trainer that stops between two steps when its time is over, as if interrupted."""

    deadline = float("inf")

    def stops(self, requested: bool) -> bool:
        """Return whether to stop after this step."""
        return super().stops(requested or time.monotonic() > self.deadline)


class Datasets:
    """Opens every set once: runs share what it keeps in memory."""

    def __init__(self) -> None:
        self._open: dict[DataConfig, Frames] = {}

    def __call__(self, config: DataConfig) -> Frames:
        """Return the dataset of ``config``."""
        if config not in self._open:
            self._open[config] = open_dataset(config)
        return self._open[config]


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    variant: Variant
    seed: int
    experiment: Experiment
    sets: dict[str, DataConfig]
    """What it is judged on."""

    @property
    def weights(self) -> Path:
        """The weights after the last step."""
        return self.experiment.run / "weights.safetensors"

    def file(self, name: str) -> Path:
        """Return where the verdict on a set is kept."""
        return self.experiment.run / ("evaluation.json" if name == VALIDATION else f"evaluation_{name}.json")

    def is_judged(self, name: str, frames: Frames) -> bool:
        """Return whether the verdict on a set is there, and of these weights and this data, not of a semdepth evaluate."""
        try:
            found = parse_json(self.file(name).read_text(encoding="utf-8"))
            facts = facts_of(self.weights, self.sets[name], flip=False)
            wanted = facts | {"protocol": protocol_for(frames, self.sets[name]).name}
            return all(found.get(key) == value for key, value in wanted.items())
        except (OSError, ValueError, AttributeError):
            return False


def ablate(
    recipe: Path, variants: tuple[Variant, ...] = PAPER, seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("runs/ablation"), results: Path | None = None, tests: dict[str, DataConfig] | None = None,
    options: tuple[str, ...] = (), minutes: float | None = None,
) -> None:  # fmt: skip
    """Train and judge variants of a recipe over seeds, and write one table.

    Every run has its folder, OUT/VARIANT/seed_N. The same command goes on where it was stopped, also within a run, and
    does not repeat what is done. The last weights of a run are judged, not the best on the validation set. Variants:
    depth-only; two-branch, concat, ssfa (semantics through features); ranking-plain, ranking-robust, ranking (through the
    ranking loss: without its rules, with them, also with uncertainty weights; two branches without fusion); full (ssfa
    and ranking), full-clean-labels. Beyond the paper, only where asked for, each full but for one thing: full-robust (no
    uncertainty weights), zoom, motion-mask, balance-fixed, balance-gradient, balance-learnt (one of the three is the
    recipe's own). Where the recipe learns the balance of the tasks, two branches without fusion are balanced by gradient
    instead. Writes NAME.md, NAME.json and NAME.png, NAME being the recipe's.

    Args:
        recipe: A recipe with validation data and objective.ranking above 0, the weight that the ranking variants use.
        variants: Which variants, e.g. '[depth-only,full]'.
        seeds: Which seeds, e.g. '[0,1,2]'.
        out: Folder of the runs.
        results: Folder of the tables; none: OUT.
        tests: Further sets to judge on, e.g. '{foreign: {root: DIR, labels: exact}}'.
        options: Options of the recipe to change, e.g. '[trainer.steps=3000,data.root=DIR]'.
        minutes: Stop cleanly after so many minutes; run the same command again to go on.

    Examples:
        semdepth ablate recipes/ablation_gpu.yaml                                  # the paper's variants
        semdepth ablate recipes/ablation_gpu.yaml --minutes 60                     # an hour; it goes on another day
        semdepth ablate recipes/ablation_cpu.yaml --variants '[depth-only,full]'   # two of them
        semdepth ablate recipes/ablation_cpu.yaml --options '[trainer.steps=600]'  # shorter runs
    """
    started = time.monotonic()
    deadline = started + 60 * (float("inf") if minutes is None else minutes)
    base = parse_experiment(["--config", str(require_file(recipe, "recipe")), *(f"--{o.lstrip('-')}" for o in options)])
    cells = grid(base, variants, seeds, out, tests or {})
    datasets, console = Datasets(), Console()
    for cell in cells:
        check(cell, datasets)
    try:
        for number, cell in enumerate(cells, start=1):
            console.print(f"Run {number} of {len(cells)}: {cell.variant}, seed {cell.seed}", highlight=False)
            train_and_judge(cell, datasets, deadline)
    except OutOfTimeError:
        console.print("The time is over; run the same command again to go on.", highlight=False)
    write_results(cells, datasets, recipe, results or out, console)


def grid(
    base: Experiment, variants: tuple[Variant, ...], seeds: tuple[int, ...], out: Path, tests: dict[str, DataConfig]
) -> list[Cell]:
    """Return the runs, seed by seed, so that a grid cut short compares all variants.

    Raises:
        InputError: if the recipe or the choice does not make an ablation.
    """
    if base.validation is None:
        raise InputError("ablate: the recipe has no validation data to judge on; set validation.*")
    if base.objective.ranking <= 0 and any("objective.ranking" not in VARIANTS[v] for v in variants):
        raise InputError("ablate: objective.ranking is 0; set the weight that the ranking variants shall use")
    if base.trainer.devices * base.trainer.nodes > 1:
        raise InputError("ablate: trains on one device; set trainer.devices and trainer.nodes to 1")
    if not variants or not seeds or len(set(variants)) < len(variants) or len(set(seeds)) < len(seeds):
        raise InputError("ablate: give at least one variant and one seed, each once")
    if bad := [n for n in tests if n == VALIDATION or not n.replace("_", "").replace("-", "").isalnum()]:
        raise InputError(f"ablate: a test set cannot be called {bad[0]!r}; use letters, digits, - and _")
    size = (base.data.height, base.data.width)
    sets = {name: judged_data(base, data, size) for name, data in ({VALIDATION: base.validation} | tests).items()}
    cells = []
    for seed in seeds:
        for variant in variants:
            run = {"run": out / variant / f"seed_{seed}", "trainer.seed": seed}
            cells.append(Cell(variant, seed, override(variant_of(base, variant), run), sets))
    return cells


def check(cell: Cell, datasets: Datasets) -> None:
    """Find out before the first step of the grid what would stop it later.

    Raises:
        InputError: if data is missing, drives are also judged on, or the run's folder holds a run of another schedule.
    """
    learnt = datasets(cell.experiment.data)
    for name, data in cell.sets.items():
        judged = datasets(data)
        if not cell.experiment.allow_leak:
            refuse_leak(learnt, judged, name if name == VALIDATION else f"tests.{name}")
    if not (cell.experiment.run / RUN_CONFIG).exists():
        return
    old, new = flatten(load_experiment(cell.experiment.run)), flatten(cell.experiment)
    for name in FIXED:
        if old[name] != new[name]:
            raise InputError(
                f"{cell.experiment.run}: holds a run with {name} {old[name]}, not {new[name]}; give another --out"
            )


def train_and_judge(cell: Cell, datasets: Datasets, deadline: float) -> None:
    """Do what is left of one run.

    Raises:
        OutOfTimeError: if the time is over.
        InputError: if files cannot be used.
    """
    refuse_other_run(cell.experiment)
    missing = [name for name in cell.sets if not cell.is_judged(name, datasets(cell.sets[name]))]
    if not missing:
        return
    if time.monotonic() > deadline:
        raise OutOfTimeError
    train_to_the_end(cell, datasets, deadline)
    network, _ = load_depth_network(cell.weights)
    network.to(choose_device(cell.experiment.trainer.accelerator))
    for name in missing:
        frames, data = datasets(cell.sets[name]), cell.sets[name]
        verdict = judge(network, frames, protocol_for(frames, data))
        write_json(verdict, cell.file(name), facts_of(cell.weights, data, flip=False))


def train_to_the_end(cell: Cell, datasets: Datasets, deadline: float) -> None:
    """Train, or go on training, unless that is done."""
    experiment = cell.experiment
    dataset = datasets(experiment.data)
    steps = experiment.trainer.steps or experiment.trainer.epochs * (len(dataset) // experiment.trainer.batch)
    if cell.weights.exists() and read_header(cell.weights).extra.get("step") == steps:
        return
    trainer = build_trainer(experiment, dataset, datasets(cell.sets[VALIDATION]), TimedTrainer)
    save_experiment(experiment)  # only now: a run that is refused leaves nothing behind
    trainer.deadline = deadline
    try:
        trainer.fit()
    except KeyboardInterrupt:
        if time.monotonic() > deadline:
            raise OutOfTimeError from None
        raise


def write_results(cells: list[Cell], datasets: Datasets, recipe: Path, out: Path, console: Console) -> None:
    """Write the table, its numbers and the plot of every set, from the runs that are done.

    Raises:
        InputError: if the folder cannot be written.
    """
    for name in cells[0].sets:
        runs: dict[str, dict[int, FinishedRun]] = {}
        for cell in cells:
            done = runs.setdefault(cell.variant, {})
            if cell.is_judged(name, datasets(cell.sets[name])):
                done[cell.seed] = read_run(cell.file(name))
        count = sum(len(seeds) for seeds in runs.values())
        if count == 0:
            continue
        summary = summarise(runs)
        stem = recipe.stem if name == VALIDATION else f"{recipe.stem}_{name}"
        text = markdown(summary, _facts(cells, name, count) | made_by())
        try:
            write_text(out / f"{stem}.md", text)
            write_text(out / f"{stem}.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
            plot(summary, out / f"{stem}.png")
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}); give another --results") from None
        console.print(f"{count} of {len(cells)} runs: {out / stem}.md", highlight=False, soft_wrap=True)


def _balances(cells: list[Cell]) -> str:
    """Say which variants of two tasks are balanced how: where that differs, a part's gain goes with its balance."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        variants = found.setdefault(cell.experiment.objective.balance.method, [])
        if cell.experiment.network.fusion != "depth-only" and cell.variant not in variants:
            variants.append(cell.variant)
    return "; ".join(f"{method}: {', '.join(variants)}" for method, variants in found.items() if variants) or "one task"


def _facts(cells: list[Cell], name: str, count: int) -> dict[str, str]:
    experiment, data = cells[0].experiment, cells[0].sets[name]
    trainer = experiment.trainer
    length = f"{trainer.steps} steps" if trainer.steps else f"{trainer.epochs} epochs"
    return {
        "runs": f"{count} of {len(cells)} done, each {length} of {trainer.batch} frames at {data.width}×{data.height}",
        "judged on": f"{name}: {data.root or data.name}, the weights after the last step",
        "networks": f"{experiment.network.encoder}, pose {experiment.network.pose_encoder}",
        "balance of the tasks": _balances(cells),
        "ranking weight": str(max(cell.experiment.objective.ranking for cell in cells)),
    }
