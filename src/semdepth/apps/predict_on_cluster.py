"""``semdepth predict --cluster.address``: what its workers do, and how outputs of one run are told from another's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from semdepth.apps.cluster import ClusterConfig, run_on_cluster
from semdepth.apps.cluster_jobs import Job, Tally, sweep
from semdepth.apps.cluster_progress import shown
from semdepth.inference import files
from semdepth.inference.cameras import Cameras, cameras_of
from semdepth.inference.exported import files_of
from semdepth.inference.files import whole_file
from semdepth.inference.opening import find_weights
from semdepth.inference.outputs import NEED_CAMERA, SUFFIXES, write_prediction
from semdepth.inference.predictor import Predictor, load
from semdepth.models.folding import Arithmetic
from semdepth.runtime import InputError, parse_json
from semdepth.structures import Prediction

RECORD = "predictions.json"
"""In the folder of the outputs: what they were made with."""


@dataclass(frozen=True)
class PredictWork:
    """A network, to be loaded by each worker, and what is written of each image."""

    weights: str
    digest: str
    """SHA-256 of the weights file that the command has read."""
    outputs: tuple[str, ...]
    flip: bool = False
    intrinsics: tuple[float, float, float, float] | None = None
    fov_deg: float | None = None
    max_depth: float | None = None
    device: str = "auto"
    precision: Arithmetic = "fp32"

    def start(self) -> PredictWorker:
        """Load the network.

        Raises:
            InputError: if it cannot be had, or is another than the command's.
        """
        if digest_of(self.weights) != self.digest:
            raise InputError(f"{self.weights}: a worker's machine has other weights than this; give all the same")
        predictor = load(self.weights, self.device, precision=self.precision)
        return PredictWorker(self, predictor, cameras_of(predictor, self.intrinsics, self.fov_deg))


@dataclass(frozen=True)
class PredictWorker:
    """Writes predictions."""

    work: PredictWork
    predictor: Predictor
    cameras: Cameras

    def is_done(self, job: Job) -> bool:
        """Whether all files are there; each appears whole or not at all."""
        return all(_holds_something(path) for path in output_files(job.place, self.work.outputs))

    def compute(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Prediction]:
        """Return the predictions of images, which the network sees together."""
        return list(self.predictor.predict_many(images, batch=len(images), flip=self.work.flip))

    def write(self, job: Job, pixels: npt.NDArray[np.uint8], result: Any) -> None:
        """Write the files of an image."""
        size = (pixels.shape[0], pixels.shape[1])
        camera = self.cameras.matrix(size) if NEED_CAMERA & set(self.work.outputs) else None
        write_prediction(job.place, pixels, result, self.work.outputs, camera, self.work.max_depth)


def predict_on_cluster(
    config: ClusterConfig, work: PredictWork, images: Mapping[Path, Path], inputs: Sequence[str], out: Path, batch: int
) -> Tally:
    """Write the predictions of all images that have none.

    Args:
        config: where.
        work: with what.
        images: with the path that the names of their files start with.
        inputs: what the user gave; part of what ``out`` is claimed for.
        out: the folder.
        batch: images that the network sees at once.

    Raises:
        InputError: as ``run_on_cluster`` and ``claim`` do.
    """
    claim(out, work, inputs)
    jobs = [Job(image.absolute(), stem.absolute()) for image, stem in images.items()]
    with shown("predicting", len(jobs)) as progress:
        tally = run_on_cluster(config, work, jobs, batch, progress)
    sweep([path for stem in images.values() for path in output_files(stem, work.outputs)])
    return tally


def claim(out: Path, work: PredictWork, inputs: Sequence[str]) -> None:
    """Make a folder ready for these predictions: files of other weights, options or images are not to pass for them.

    Raises:
        InputError: if it holds other things, or cannot be written.
    """
    kept = asdict(work)
    for name in ("weights", "outputs", "device"):
        del kept[name]
    if kept["precision"] == "fp32":  # folders from before there was another do not say so
        del kept["precision"]
    record = json.loads(json.dumps(kept | {"inputs": [str(Path(text).absolute()) for text in inputs]}))
    path = out / RECORD
    try:
        found = parse_json(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError):
        found = {}
    if found == record:
        return
    if found is not None or (out.is_dir() and any(out.iterdir())):
        what = "predictions of other weights, options or images" if found is not None else "files of something else"
        raise InputError(f"{out}: holds {what}; give another --out, or the command that wrote it")
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def digest_of(weights: str) -> str:
    """Return the SHA-256 of a weights file.

    Raises:
        InputError: if it cannot be found or read.
    """
    return files.digest_of(files_of(find_weights(weights)))


def output_files(stem: Path, outputs: Sequence[str]) -> list[Path]:
    """Return the files that an image becomes."""
    return [stem.with_name(f"{stem.name}_{SUFFIXES[output]}") for output in outputs]


def _holds_something(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
