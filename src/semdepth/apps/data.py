"""``semdepth data``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from semdepth.data.audit import audit, recognise
from semdepth.data.catalog import DataConfig, list_records
from semdepth.data.depth_cache import unique_depths, write_depth
from semdepth.data.findings import Finding
from semdepth.runtime import InputError, logger

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}
DEFAULT = DataConfig()


def data(
    what: Literal["check", "depth"], root: Path, data: DataConfig = DEFAULT, against: Path | None = None,
    full: bool = False, out: Path | None = None,
) -> None:  # fmt: skip
    """Look a dataset over, or project its lidar once.

    check says within a minute whether a folder is ready: frames, neighbours, intrinsics, labels, confidence, ground truth,
    motion; exit code 0 when it is, 2 when something is a problem, with the mend for each. Give it the options that you train
    with. The kind of dataset is recognised where --data.name is not given.

    depth writes the lidar depth of KITTI raw's frames to 16-bit PNGs (metres × 256), which judging then reads in place of the
    scans. What is there is not made again.

    Args:
        what: check or depth.
        root: The dataset's folder.
        data: Options of the dataset, as for train.
        against: check: list of `drive frame side` lines to be judged on; sharing a drive with it is a problem.
        full: check: read every file, not a sample.
        out: depth: folder to write to, which is then --data.depth_cache; none: beside the scans.

    Examples:
        semdepth data check DIR                                                        # recognised by its layout
        semdepth data check DIR --data.split train_files.txt --against test_files.txt  # no drive in both
        semdepth data check DIR --full true                                            # reads every file
        semdepth data depth DIR --data.split test_files.txt                            # once, before judging
    """
    for name, given, belongs in (("against", against, "check"), ("full", full, "check"), ("out", out, "depth")):
        if given and belongs != what:
            raise InputError(f"--{name}: has no meaning for data {what}, only for data {belongs}; leave it out")
    if data.root is not None and data.root != root:
        raise InputError(f"--data.root {data.root}: the folder is given already ({root}); leave it out")
    if what == "check":
        check(recognised(data, root), against, full)
    else:
        depth(data, root, out)


def recognised(config: DataConfig, root: Path) -> DataConfig:
    """Return the options with the folder, and with the kind of dataset that it looks like where that was left open.

    Raises:
        InputError: if the folder is not there, or the options do not fit its kind.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not found, or no folder; give the dataset's folder")
    name = recognise(root) if config.name == DEFAULT.name else config.name
    if name not in (None, config.name):
        said = f"{root} looks like {name}: checked as such (--data.name {name})"
        Console().print(said, highlight=False, soft_wrap=True, markup=False)
    # Single images have no neighbours, which nobody should have to say.
    offsets = () if name == "make3d" and config.offsets == DEFAULT.offsets else config.offsets
    return replace(config, root=root, name=name or config.name, offsets=offsets)


def check(config: DataConfig, against: Path | None, full: bool) -> None:
    """Print what is found.

    Raises:
        InputError: if something is a problem.
    """
    chatter = logging.getLogger("semdepth.data")
    level = chatter.level
    chatter.setLevel(logging.ERROR)  # what the reader would say is in the table
    try:
        findings = audit(config, full=full, against=against, each=shown)
    finally:
        chatter.setLevel(level)
    console = Console()
    console.print(table(findings, f"{config.root} as {config.name}"))
    problems = [finding.topic for finding in findings if finding.state == "problem"]
    if problems:
        raise InputError(
            f"{config.root}: not ready ({', '.join(problems)}); the table says how to mend it (its options "
            "are --data.* here, as for train)"
        )
    warnings = sum(finding.state == "warning" for finding in findings)
    aside = f", with {warnings} warning{'s' * (warnings > 1)}" if warnings else ""
    console.print(f"{config.root}: ready{aside}", highlight=False, soft_wrap=True)


def table(findings: Sequence[Finding], title: str) -> Table:
    """Return the findings as a table, each mend below what it mends."""
    rows = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "", "found"):
        rows.add_column(name, overflow="fold")
    for f in findings:
        mend = f"\n[bold]→[/] {escape(f.mend)}" if f.mend else ""
        rows.add_row(f"[{COLOURS[f.state]}]{f.state}[/]", f.topic, escape(f.text) + mend)
    return rows


def depth(config: DataConfig, root: Path, out: Path | None) -> None:
    """Project the lidar of the frames that the options choose, and keep it.

    Raises:
        InputError: if there is none, or it cannot be written.
    """
    if config.name != "kitti_raw":
        raise InputError(f"data depth: {config.name} has no lidar; only kitti_raw has")
    wanted = replace(config, root=root, offsets=(), labels="none", ground_truth="lidar", require_depth=True)
    depths = unique_depths(list_records(wanted))
    done = write_depth(depths, out, lambda scans: shown(scans, "projecting lidar"))
    for line in done.unusable[:3]:
        logger.warning("%s", line)
    bad = f", {len(done.unusable)} could not be used" if done.unusable else ""
    where = f"{out}: give it as --data.depth_cache" if out else f"{root}, in velodyne_depth_02 (03) beside the scans"
    Console().print(
        f"{done.written} depth maps written, {done.kept} were there{bad}: {where}", highlight=False, soft_wrap=True
    )


def shown(things: Sequence[Any], what: str) -> Iterable[Any]:
    """Go through things with a progress bar."""
    console = Console(stderr=True)
    return track(things, what, transient=True, console=console, disable=not console.is_terminal)
