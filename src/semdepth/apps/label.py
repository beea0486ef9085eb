"""``semdepth label``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from rich.text import Text

from semdepth import visualise
from semdepth.apps.cluster import ClusterConfig
from semdepth.apps.label_on_cluster import LabelWork, label_on_cluster
from semdepth.apps.prepare import RECIPE
from semdepth.data.catalog import DataConfig, list_records
from semdepth.data.label_files import (
    LabelTask,
    claim_folders,
    label_in_batches,
    label_tasks,
    require_place,
    segmenter_record,
)
from semdepth.data.label_sets import ClassMap
from semdepth.data.pseudo_labels import Precision, Segmenter, load_segmenter
from semdepth.images import read_confidence, read_image, read_labels
from semdepth.labels import CLASSES, IGNORE, NUM_CLASSES
from semdepth.runtime import InputError, counted, logger

SAMPLE = 40
"""From so many images the summary is taken."""
MOST_IGNORED = 0.5
"""A larger share of pixels without a label is worth a warning."""


def label(
    data: DataConfig, segmenter: str = "", batch: int = 4, size: tuple[int, int] | None = None, train_ids: bool = False,
    precision: Precision = "float32", panels: int = 4, overwrite: bool = False, device: str = "auto",
    cluster: ClusterConfig = ClusterConfig(),
) -> None:  # fmt: skip
    """Write noisy labels for a data set with a pretrained segmenter, beside the frames, where training looks for them.

    Any semantic or universal segmenter of transformers will do (SegFormer, UPerNet, BEiT, Mask2Former, OneFormer …) whose
    class names reach Cityscapes' 19: those of Cityscapes, Mapillary Vistas, ADE20K or COCO do. Every image that the data's
    options choose is labelled, neighbours or not: PNGs of trainIds (255 = no such class) and of their entropy, at the
    image's size. An interrupted run goes on with the same command. Images that cannot be read are passed over and named.

    Collections too big for one machine go over a Ray cluster, and survive the death of its workers (docs/scaling.md).

    Args:
        data: The frames, as for train; labels, offsets, height, width and ground truth are of no account.
        segmenter: A hub id (owner/name), or a folder with config.json, preprocessor_config.json and weights.
        batch: Images that go through the segmenter together.
        size: Height and width that images are resized to for it; none: as its image processor says, often a square.
        train_ids: Its 19 outputs have no names but are Cityscapes' trainIds in order.
        precision: float32, bfloat16 or float16 (faster on GPUs).
        panels: So many images, evenly spread, are drawn with their labels and entropy, to look at.
        overwrite: Move labels that another segmenter wrote aside (replaced_1 beside them); else they are a reason to stop.
        device: auto, cpu, cuda, mps.
        cluster: Workers on Ray in place of this process.

    Examples:
        semdepth label --data.root DIR --segmenter nvidia/segformer-b5-finetuned-cityscapes-1024-1024 --size '[384,1248]'
        semdepth label --data.root DIR --segmenter FOLDER --precision float16 --batch 16  # from the disk, on a GPU
        semdepth label --data.root DIR --segmenter ID --cluster.address auto --cluster.workers 16 --cluster.gpus 0.5
    """
    if not segmenter:
        raise InputError(
            "--segmenter not given; name a hub id, e.g. nvidia/segformer-b5-finetuned-cityscapes-1024-1024, or a folder"
        )
    if batch < 1 or panels < 0 or (size is not None and min(size) < 1):
        raise InputError("label: batch and size must be at least 1, panels at least 0")
    require_place(data.name)
    tasks = label_tasks(data.name, [record.image for record in list_records(unlabelled(data))])
    folders = list(dict.fromkeys(task.folder for task in tasks))
    own = "cpu" if cluster.address else device
    loaded = load_segmenter(segmenter, device=own, size=size, train_ids=train_ids, precision=precision)
    console = Console()
    _say(console, f"{segmenter} ({loaded.model_type}), its classes as Cityscapes':\n{mapping_lines(loaded.classes)}")
    for aside in claim_folders(folders, segmenter_record(loaded, import_module("semdepth").__version__), overwrite):
        logger.info("labels of another segmenter were moved to %s", aside)
    if cluster.address:
        source = str(Path(segmenter).absolute()) if Path(segmenter).exists() else segmenter
        work = LabelWork(source, loaded.identity, size, train_ids, precision, device)
        new, failures = _on_cluster(console, cluster, work, tasks, batch)
    else:
        new, failures = _in_this_process(console, loaded, tasks, batch)
    written = [task for task in tasks if task not in failures]
    pictures = write_panels(written, panels)
    report(console, written, new, folders, pictures, data)
    if failures:
        first = next(iter(failures.values()))
        raise InputError(f"{len(failures)} of {len(tasks)} images have no labels; the first: {first}")


def _in_this_process(
    console: Console, segmenter: Segmenter, tasks: Sequence[LabelTask], batch: int
) -> tuple[int, dict[LabelTask, str]]:
    """Return how many images were labelled, and why others could not be."""
    waiting = [task for task in track(tasks, "looking for labels", console=console) if not task.is_done()]
    failures: dict[LabelTask, str] = {}

    def note(task: LabelTask, error: InputError) -> None:
        failures[task] = str(error)

    with Progress(*_columns(), console=console) as bar:
        shown = bar.add_task("labelling", total=len(tasks), completed=len(tasks) - len(waiting), new=0)
        done = 0
        for count in label_in_batches(segmenter, waiting, batch, note):
            done += count
            bar.update(shown, advance=count, new=done)
    return len(waiting) - len(failures), failures


def _on_cluster(
    console: Console, cluster: ClusterConfig, work: LabelWork, tasks: Sequence[LabelTask], batch: int
) -> tuple[int, dict[LabelTask, str]]:
    """Return the same of workers on Ray."""
    tally = label_on_cluster(cluster, work, tasks, batch)
    if tally.begun_again:
        _say(console, f"{tally.begun_again} batches were begun again, since their worker died")
    return tally.new, {t: tally.failed[t.image.absolute()] for t in tasks if t.image.absolute() in tally.failed}


def unlabelled(data: DataConfig) -> DataConfig:
    """Return the options under which every image is listed, with nothing that a data set without labels lacks."""
    lonely = replace(data, labels="none", offsets=(), require_depth=False)
    if data.name == "kitti_raw":
        return replace(lonely, ground_truth="none")
    known = data.intrinsics is not None or data.fov_deg is not None
    if data.name != "folder" or known or data.root is None or (data.root / "intrinsics.txt").exists():
        return lonely
    return replace(lonely, fov_deg=60.0)  # any will do: labels need no camera


def mapping_lines(classes: ClassMap) -> str:
    """Return what became of a segmenter's classes, a line for each of the 19 that is reached."""
    by_class, lost = classes.by_class(), classes.unmatched()
    lines = [f"  {name:<13} ← {', '.join(names)}" for name, names in by_class.items() if names]
    missing = [name for name, names in by_class.items() if not names]
    lines.append(
        f"  {len(classes.reached)} of {NUM_CLASSES} are reached" + (f"; not {', '.join(missing)}" if missing else "")
    )
    if lost:
        more = f", … ({len(lost)} such)" if len(lost) > 12 else ""
        lines.append(f"  ignored (255): {', '.join(lost[:12])}{more}")
    return "\n".join(lines)


def write_panels(tasks: Sequence[LabelTask], count: int) -> list[Path]:
    """Draw labels over images, with their entropy, into ``panels`` beside the labels.

    Args:
        tasks: whose files are written.
        count: so many of them, evenly spread.

    Returns:
        The pictures.

    Raises:
        InputError: if they cannot be written.
    """
    written = []
    for task in _spread(tasks, count):
        image, labels = read_image(task.image), visualise.colourise_labels(read_labels(task.labels))
        uncertainty = visualise.colourise_uncertainty(read_confidence(task.entropy, is_entropy=False) / 255)
        cells = {
            "image": image,
            "labels over it": visualise.overlay(image, labels),
            "labels": labels,
            "entropy": uncertainty,
        }
        path = task.folder / "panels" / task.labels.name
        visualise.write_png(path, visualise.panel(list(cells.values()), titles=list(cells), columns=2))
        written.append(path)
    return written


def report(
    console: Console, tasks: Sequence[LabelTask], new: int, folders: Sequence[Path], pictures: Sequence[Path],
    data: DataConfig,
) -> None:  # fmt: skip
    """Say of the images that have labels how many are new, what they are like, and what to do next."""
    there = f", {len(tasks) - new} were there" if new < len(tasks) else ""
    others = f" and {len(folders) - 1} folders like it" if len(folders) > 1 else ""
    _say(console, f"{counted(new, 'image')} labelled{there}: {folders[0]}{others}")
    if pictures:
        _say(console, f"Look at {pictures[0].parent} ({len(pictures)} panels)")
    if tasks:
        _say(console, summary(tasks))
    prepared = data.root / RECIPE if data.root is not None else None
    given = f"--data.name {data.name} --data.root {shlex.quote(str(data.root))}"
    if prepared is not None and prepared.is_file():
        given = f"--config {shlex.quote(str(prepared))}"
    _say(console, f"Next: semdepth train {given} --data.labels noisy --network.fusion ssfa --run runs/labels")


def summary(tasks: Sequence[LabelTask]) -> str:
    """Return the shares of the classes and the mean entropy of labels, over at most ``SAMPLE`` images."""
    counts, entropy = np.zeros(256, dtype=np.int64), []
    for task in _spread(tasks, SAMPLE):
        counts += np.bincount(read_labels(task.labels).ravel(), minlength=256)
        entropy.append(float(read_confidence(task.entropy, is_entropy=False).mean() / 255))
    shares = {c.name: counts[c.train_id] / counts.sum() for c in CLASSES} | {"ignored": counts[IGNORE] / counts.sum()}
    if shares["ignored"] > MOST_IGNORED:
        logger.warning(
            "%.0f %% of the pixels have no label: does this segmenter know such streets? look at the panels",
            100 * shares["ignored"],
        )
    largest = sorted(shares.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} {share:.1%}" for name, share in largest if share >= 0.001)
    return f"Pixels of {counted(len(entropy), 'image')}: {listed}; mean entropy {np.mean(entropy):.2f}"


def _spread(tasks: Sequence[LabelTask], count: int) -> list[LabelTask]:
    """Return at most so many tasks, from the first to the last."""
    indices = np.linspace(0, len(tasks) - 1, min(count, len(tasks))).round().astype(int).tolist()
    return [tasks[index] for index in indices]


def _say(console: Console, text: str) -> None:
    """Print names and paths as they are."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


class _Rate(ProgressColumn):
    """Images a second, of those labelled now."""

    def render(self, task: Task) -> Text:
        """Return e.g. ``3.2 images/s``."""
        new, elapsed = task.fields["new"], task.elapsed or 0.0
        return Text(f"{new / elapsed:.1f} images/s" if new and elapsed else "")


def _columns() -> tuple[ProgressColumn, ...]:
    return TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()
