"""The parts of an audit that read files: images, intrinsics, labels, confidence, ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from semdepth.data.findings import Each, Finding, evenly, from_error
from semdepth.data.records import FrameRecord, GridDepth, LidarDepth, kept_rows
from semdepth.data.video import ASPECT_TOLERANCE, read_ground_truth
from semdepth.images import image_size, read_confidence, read_labels
from semdepth.labels import CLASSES, IGNORE, NUM_CLASSES, palette
from semdepth.runtime import InputError

Sizes = dict[Path, tuple[int, int]]
"""(H, W) of the images that could be read."""
RAW_IDS = frozenset(c.label_id for c in CLASSES)
FOCAL = (0.2, 3.0)
"""Focal lengths between these multiples of the width are plausible: 136° to 19° of view."""
CENTRE = (0.3, 0.7)
"""A principal point lies between these shares of width and height."""
FAR = 200.0
"""Metres beyond which no lidar sees."""


def check_images(records: Sequence[FrameRecord], each: Each) -> tuple[Sizes, Finding]:
    """Decode images, targets and neighbours; return their sizes."""
    paths = list(dict.fromkeys(path for record in records for path in (record.image, *record.sources)))
    sizes, errors = {}, []
    for path in each(paths, "images"):
        try:
            sizes[path] = image_size(path)
        except InputError as error:
            errors.append(error)
    if errors:
        return sizes, from_error("images", errors[0], f"{len(errors)} of {len(paths)} cannot be read, e.g. ")
    by_folder: dict[Path, Counter[tuple[int, int]]] = {}
    for path, size in sizes.items():
        by_folder.setdefault(path.parent, Counter())[size] += 1
    for folder, found in by_folder.items():
        if len(found) > 1:
            text = f"{folder}: images of one sequence differ in size: {_sizes(found)}"
            return sizes, Finding("images", "problem", text, "resize them alike, or put each video into its own folder")
    return sizes, Finding("images", "ok", f"{len(paths)} read, {_sizes(Counter(sizes.values()))}")


def _sizes(found: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{width}×{height}" for (height, width), _ in found.most_common(4)) + (" …" * (len(found) > 4))


def check_intrinsics(records: Sequence[FrameRecord], sizes: Sizes) -> Finding:
    """Compare the intrinsics with the images, and with what cameras are like."""
    focal = []
    for record in records:
        if record.image not in sizes:
            continue
        height, width = sizes[record.image]
        stated = record.image_size or (height, width)
        if abs((width / height) / (stated[1] / stated[0]) - 1.0) > ASPECT_TOLERANCE:
            text = f"{record.image}: is {width}×{height}, its calibration speaks of {stated[1]}×{stated[0]}"
            return Finding(
                "intrinsics", "problem", text, "give the original images, or a calibration of the cropped ones"
            )
        found = np.asarray(record.intrinsics)
        fx, fy, cx, cy = found[0, 0], found[1, 1], found[0, 2], found[1, 2]
        text = f"{record.image}: fx {fx:.1f}, fy {fy:.1f}, cx {cx:.1f}, cy {cy:.1f} for {stated[1]}×{stated[0]}"
        if not (CENTRE[0] < cx / stated[1] < CENTRE[1] and CENTRE[0] < cy / stated[0] < CENTRE[1]):
            mend = f"the centre is far off: are they of images of about {2 * cx:.0f}×{2 * cy:.0f}? Scale them to these"
            return Finding("intrinsics", "problem", text, mend)
        if not FOCAL[0] < fx / stated[1] < FOCAL[1]:
            return Finding("intrinsics", "problem", text, "give the focal length in pixels (not in mm) of these images")
        if not 0.9 < fx / fy < 1.1:
            return Finding(
                "intrinsics", "warning", text, "pixels are hardly ever that far from square; check fx and fy"
            )
        focal.append(np.degrees(2 * np.arctan(stated[1] / 2 / fx)))
    if not focal:
        return Finding("intrinsics", "warning", "not compared: no image can be read", "mend the images first")
    angles = "–".join(dict.fromkeys(f"{angle:.0f}" for angle in (min(focal), max(focal))))
    return Finding("intrinsics", "ok", f"fit the images; {angles}° of view from left to right")


def check_labels(records: Sequence[FrameRecord], sizes: Sizes, each: Each) -> Finding:
    """Read labels: are they trainIds, of the image's size, and do they say anything?"""
    labelled = [record for record in records if record.labels is not None]
    if not labelled:
        return Finding("labels", "ok", "none asked for (labels: none)")
    counts, errors = np.zeros(256, dtype=np.int64), []
    for record in each(labelled, "labels"):
        assert record.labels is not None
        try:
            values = read_labels(record.labels, record.labels_are_ids)
        except InputError as error:
            errors.append((record.labels, error))
            continue
        counts += np.bincount(values.ravel(), minlength=256)
        if record.image in sizes and values.shape != sizes[record.image]:
            return _wrong_size("labels", record.labels, values.shape, sizes[record.image])
    if errors:
        before = f"{len(errors)} of {len(labelled)} cannot be used, e.g. "
        return _diagnose(*errors[0], before)
    known = counts[:NUM_CLASSES]
    if not known.any():
        mend = "write them again: the segmentation network, or the conversion to trainIds, has failed"
        return Finding("labels", "problem", f"all pixels of {len(labelled)} are {IGNORE} (ignore)", mend)
    top = ", ".join(f"{CLASSES[i].name} {known[i] / counts.sum():.0%}" for i in np.argsort(-known)[:3])
    text = f"{len(labelled)} read, trainIds of {np.count_nonzero(known)} classes: {top}"
    ignored = counts[IGNORE] / counts.sum()
    if np.count_nonzero(known) < 3 or ignored > 0.5:
        return Finding("labels", "warning", f"{text}; {ignored:.0%} ignore", "look at some: streets show more classes")
    return Finding("labels", "ok", text)


def _diagnose(path: Path, error: InputError, before: str) -> Finding:
    """Say what labels are that are no trainIds: raw Cityscapes ids, or colours."""
    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError):
        return from_error("labels", error, before)
    if mode in ("RGB", "RGBA"):
        share = np.isin(_code(pixels[..., :3].reshape(-1, 3)), _code(palette()[:NUM_CLASSES])).mean()
        what = "Cityscapes' colours" if share > 0.5 else "colours"
        text = f"{before}{path}: holds {what}, not classes (mode {mode})"
        return Finding(
            "labels", "problem", text, "give the one-channel PNGs of trainIds (…_labelTrainIds.png), not the coloured"
        )
    values = np.unique(pixels) if mode in ("L", "P") else np.array([], dtype=np.uint8)
    wrong = [int(v) for v in values if v >= NUM_CLASSES and v != IGNORE]
    if wrong and all(v <= 33 for v in wrong) and set(wrong) & RAW_IDS:
        text = f"{before}{path}: holds {', '.join(map(str, wrong[:6]))}: raw Cityscapes ids (0–33), not trainIds"
        return Finding(
            "labels", "problem", text, "convert them to trainIds 0–18, 255 = ignore (26 car → 13, 33 bicycle → 18)"
        )
    return from_error("labels", error, before)


def _code(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    return np.asarray(red * 65536 + green * 256 + blue)


def check_confidence(records: Sequence[FrameRecord], sizes: Sizes, each: Each) -> Finding:
    """Read the confidence of labels: is there any, and does it vary?"""
    known = [record for record in records if record.confidence is not None]
    if not known:
        return Finding("confidence", "ok", "none: every label counts alike")
    means, spread = [], 0
    for record in each(known, "confidence"):
        assert record.confidence is not None
        try:
            values = read_confidence(record.confidence, record.confidence_is_entropy)
        except InputError as error:
            return from_error("confidence", error)
        if record.image in sizes and values.shape != sizes[record.image]:
            return _wrong_size("confidence", record.confidence, values.shape, sizes[record.image])
        means.append(float(values.mean()) / 255)
        spread = max(spread, int(np.ptp(values)))
    kind = "entropy" if known[0].confidence_is_entropy else "confidence"
    text = f"{len(known)} read ({kind} PNGs), on average {np.mean(means):.2f}"
    if spread == 0:
        mend = "0–255 must stand for 0–1; write them again, or remove the folder"
        return Finding("confidence", "warning", f"{text}, the same everywhere", mend)
    if np.mean(means) < 0.5:
        mend = "labels are seldom that unsure: is an entropy folder called confidence, or the reverse?"
        return Finding("confidence", "warning", text, mend)
    return Finding("confidence", "ok", text)


def check_ground_truth(records: Sequence[FrameRecord], sample: int, sizes: Sizes, each: Each) -> Finding:
    """Read ground truth: how many frames have it, how many pixels, and are these metres?"""
    judged = [record for record in records if record.depth is not None]
    if not judged:
        return Finding("ground truth", "ok", "none: frames can be learnt from, not judged on")
    known = evenly(judged, sample)
    shares, medians = [], []
    for record in each(known, "ground truth"):
        try:
            depth = read_ground_truth(record)
        except InputError as error:
            return from_error("ground truth", error)
        if record.image in sizes and not isinstance(record.depth, GridDepth):  # a laser's grid has a shape of its own
            height, width = _kept_size(record, sizes[record.image])
            if abs((width / height) / (depth.shape[1] / depth.shape[0]) - 1.0) > ASPECT_TOLERANCE:
                return _wrong_size("ground truth", record.image, (height, width), (depth.shape[0], depth.shape[1]))
        shares.append(float((depth > 0).mean()))
        if (depth > 0).any():
            medians.append(float(np.median(depth[depth > 0])))
    cached = sum(isinstance(r.depth, LidarDepth) and r.depth.cached is not None for r in records)
    text = f"{len(judged)} of {len(records)} frames, {len(known)} read: {np.mean(shares):.1%} of the pixels are known"
    if not medians:
        return Finding("ground truth", "problem", text, "the files hold no depth; write or download them again")
    text += f", median {np.median(medians):.1f} m" + (f"; {cached} from PNGs made of lidar" if cached else "")
    if np.median(medians) > FAR or np.median(medians) < 0.5:
        return Finding(
            "ground truth", "warning", text, "no street is like that: is the scale of the PNGs metres × 256?"
        )
    if min(shares) < 0.002:
        return Finding("ground truth", "warning", f"{text}; at worst {min(shares):.2%}", "look at the sparsest frames")
    return Finding("ground truth", "ok", text)


def _kept_size(record: FrameRecord, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (H, W) of what is used of a map of ``size``."""
    rows = kept_rows(record.rows, size[0])
    return rows.stop - rows.start, size[1]


def _wrong_size(topic: str, path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> Finding:
    text = f"{path}: is {found[1]}×{found[0]}, what belongs to it {wanted[1]}×{wanted[0]}"
    return Finding(topic, "problem", text, "what belongs to a frame must have its size; write it again at that size")
