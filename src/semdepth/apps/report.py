"""``semdepth report``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rich.console import Console

from semdepth.apps.report_data import look_again, worst_and_best
from semdepth.apps.report_page import Report, page
from semdepth.apps.run_folder import EVALUATION, RunFolder, read_run_folder
from semdepth.evaluation.report import write_text
from semdepth.runtime import InputError, choose_device
from semdepth.training.ablation_summary import read_run
from semdepth.training.recorder import read_curves

PAGE = "report.html"


def report(
    runs: list[Path], out: Path | None = None, images: int = 4, frames: int = 64, device: str = "auto"
) -> None:  # fmt: skip
    """Write one HTML page about one or several runs: open it in a browser, send it to somebody, it needs nothing else.

    On it: how each run was made, its errors with 95 % intervals beside the baselines, curves, bars by class and by
    complexity of the scene, the worst and the best images with error maps, whether the uncertainty can be trusted; of several
    runs also the paired bootstrap differences to the first. Judge them first, alike, with semdepth evaluate RUN. The pictures
    are predicted anew from the data that they were judged on; where that is gone, the page says so. Of runs that were not
    judged, for want of ground truth, the page shows how they were made, their curves, and the newest of training's pictures.

    Args:
        runs: Run folders, the one to compare with first.
        out: The page; none: report.html in the first run's folder.
        images: How many of the worst and of the best images to show.
        frames: Frames, evenly spread, that the uncertainty is measured on; 0 leaves it out.
        device: auto, cpu, cuda, mps.

    Examples:
        semdepth report runs/demo                                      # writes runs/demo/report.html
        semdepth report runs/full runs/depth-only --out compared.html  # the differences to runs/full, too
    """
    if images < 0 or frames < 0:
        raise InputError(f"images {images}, frames {frames}: must not be negative")
    choose_device(device)
    found = named([read_run_folder(path) for path in runs])
    judged = is_judged(found)
    refuse_unlike(found)
    out = out or runs[0] / PAGE
    if out.is_dir():
        raise InputError(f"{out}: is a folder; name the page to write, e.g. {out / PAGE}")
    first = next(iter(found.values()))
    worst, best = worst_and_best(first, images) if judged else ([], [])
    content = page(
        Report(
            runs=found,
            finished={name: read_run(run.path / EVALUATION) for name, run in found.items()} if judged else {},
            curves={name: read_curves(run.path) for name, run in found.items()},
            seen={name: look_again(run, [*worst, *best], frames, device) for name, run in found.items()}
            if judged
            else {},
            worst=worst,
            best=best,
            made=_made(runs),
        )
    )
    try:
        write_text(out, content)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None
    Console().print(f"The page: {out} ({len(content) / 1e6:.1f} MB)", highlight=False, soft_wrap=True)


def is_judged(runs: dict[str, RunFolder]) -> bool:
    """Return whether the runs have been judged.

    Raises:
        InputError: if some have and others have not.
    """
    missing = [run.path for run in runs.values() if run.evaluation is None]
    if missing and len(missing) < len(runs):
        raise InputError(f"{missing[0]}: has not been judged yet, others have; first semdepth evaluate {missing[0]}")
    return not missing


def named(runs: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """Return the runs by name: the folder's, or where two are alike the whole path.

    Raises:
        InputError: if none is given, or one twice.
    """
    if not runs:
        raise InputError("no run given; name a run folder, e.g. semdepth report runs/demo")
    paths = [run.path.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise InputError(f"{next(run.path for run in runs if paths.count(run.path.resolve()) > 1)}: is given twice")
    short = [run.name for run in runs]
    return {name if short.count(name) == 1 else str(run.path): run for name, run in zip(short, runs, strict=True)}


def refuse_unlike(runs: dict[str, RunFolder]) -> None:
    """Refuse runs that were not judged alike.

    Raises:
        InputError: if protocols, flipping or images differ.
    """
    (first_name, first), *others = runs.items()
    for name, run in others:
        for what in ("protocol", "median_scaling", "flip"):
            one, other = ((r.evaluation or {}).get(what) or False for r in (first, run))
            if one != other:
                raise InputError(
                    f"{first_name} and {name} were judged differently ({what} {one} and {other}); judge both alike with "
                    "semdepth evaluate RUN --protocol …"
                )
        one, other = ([row["name"] for row in (r.evaluation or {"rows": ()})["rows"]] for r in (first, run))
        if one != other:
            raise InputError(
                f"{first_name} and {name} were judged on different images; judge both alike with semdepth evaluate RUN --data.*"
            )


def _made(runs: Sequence[Path]) -> str:
    try:
        version = metadata.version("semdepth")
    except metadata.PackageNotFoundError:  # run from a source tree
        version = "from a source tree"
    torch = metadata.version("torch")
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"semdepth report {' '.join(map(str, runs))} · semdepth {version}, torch {torch} · {when}"
