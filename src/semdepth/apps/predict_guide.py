"""What guides ``semdepth predict``: label files that lie ready, or a segmenter that runs beside the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from semdepth.apps.predict_inputs import Inputs
from semdepth.images import read_labels
from semdepth.inference.predictor import Labels, Predictor, Segment
from semdepth.runtime import InputError, require_folder

LabelsOf = Callable[[Path], Labels]
"""From an image's path to its labels."""


def require_one_guide(labels: Path | None, segmenter: str | None, found: Inputs, on_cluster: bool) -> bool:
    """Return whether there is a guide.

    Raises:
        InputError: if there are two, or one that what is predicted cannot have.
    """
    if labels is not None and segmenter is not None:
        raise InputError("labels and segmenter: both guide the depth; give one of them")
    if labels is not None and (found.videos or found.webcams):
        raise InputError("labels: lie ready for images only; give --segmenter for videos and cameras")
    guided = labels is not None or segmenter is not None
    if guided and on_cluster:
        raise InputError("cluster: predicts without a guide; leave out either the cluster, or labels and segmenter")
    return guided


def guide(predictor: Predictor, labels: Path | None, segmenter: str | None, device: str) -> LabelsOf | None:
    """Let a segmenter guide whatever is predicted, or return what finds the labels of an image.

    Raises:
        InputError: if the network cannot be guided, or there is no such segmenter or folder.
    """
    predictor.network.require_guidable()
    if segmenter is not None:
        predictor.guide_with(segment_by(segmenter, device))
    return None if labels is None else labels_beside(labels)


def segment_by(source: str, device: str) -> Segment:
    """Load a segmenter of transformers.

    Raises:
        InputError: if it cannot be had.
    """
    from semdepth.data.pseudo_labels import load_segmenter

    segmenter = load_segmenter(source, device=device)
    return lambda pixels: segmenter.segment([pixels])[0].labels


def labels_beside(folder: Path) -> LabelsOf:
    """Return what finds the labels of an image in a folder: a PNG of its name, as ``semdepth label`` writes them.

    Raises:
        InputError: if there is no such folder; the function, if an image has no usable labels.
    """
    require_folder(folder, "folder of labels", "give where semdepth label wrote them, e.g. DIR/segmentation/data")

    def find(image: Path) -> Labels:
        path = folder / f"{image.stem}.png"
        if not path.is_file():
            raise InputError(f"{path}: no labels for {image}; run semdepth label on the images, or leave --labels out")
        return read_labels(path)

    return find
