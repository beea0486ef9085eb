"""``semdepth predict``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from semdepth.apps.cluster import ClusterConfig
from semdepth.apps.cluster_jobs import Tally
from semdepth.apps.predict_guide import LabelsOf, guide, require_one_guide
from semdepth.apps.predict_inputs import find_inputs
from semdepth.apps.predict_job import Job, say
from semdepth.apps.predict_on_cluster import PredictWork, digest_of, predict_on_cluster
from semdepth.apps.predict_resume import Settings, already_there
from semdepth.apps.predict_video import predict_video, predict_webcam
from semdepth.hub import hub_address
from semdepth.images import read_image
from semdepth.inference.cameras import Cameras, cameras_of
from semdepth.inference.opening import find_weights
from semdepth.inference.outputs import DEFAULT, NEED_CAMERA, parse_outputs
from semdepth.inference.predictor import Labels, load
from semdepth.models.folding import Arithmetic
from semdepth.runtime import InputError, counted, logger


def predict(
    inputs: list[str], weights: str | None = None, out: Path = Path("predictions"), save: str | None = None,
    device: str = "auto", flip: bool = False, every: int = 1, batch: int = 8, stabilise: bool = False,
    camera_height: float | None = None, intrinsics: tuple[float, float, float, float] | None = None,
    fov_deg: float | None = None, max_depth: float | None = None, overwrite: bool = False, precision: Arithmetic = "fp32",
    labels: Path | None = None, segmenter: str | None = None, cluster: ClusterConfig = ClusterConfig(),
) -> None:  # fmt: skip
    """Write the depth of images, of all images in folders and below, of videos, or of what a camera sees.

    For each image NAME: NAME_depth.npy (float32, the image's own size), NAME_depth.png (16 bit, depth × 256),
    NAME_disparity.png (a picture: near is bright) and NAME_panel.png (image and predictions side by side), or what
    --save lists. Images that differ only in their suffix keep it: a.bmp beside a.png becomes a_bmp_depth.npy. Of a KITTI
    tree only the folders image_NN count; what was predicted before is no input. What cannot be read is passed over and
    counted. A command that was stopped goes on where it was: images whose files are all there, newer than the image and made
    with the same weights and options from the same folder (predict.json in OUT says which), are left out and counted.

    For each video NAME: NAME_depth.mp4, the video beside its disparity, upright, at its own
    times and without sound; with --save also those files of every frame, in a folder NAME. Memory does not grow with the
    length. webcam records to webcam_depth.mp4 until Ctrl-C.

    Depth is up to scale, unless the camera's height above the road is given: then the road that the network sees tells
    the scale, filtered by the median of the last 15 images (in the order of their names, or of a video; images without
    road take the scale of those before). The panels say which it is, and so does metric_scale.csv, image by image
    (frame by frame of a video, in its folder NAME, with --save).

    Point clouds and metres need the camera: its intrinsics, its field of view, or weights that know their own camera.

    Weights with SSFA, such as those in the box, are guided by the classes that they see themselves. In streets unlike those
    they have learnt from, another segmenter sees them better: it guides with --segmenter, or with --labels from files.

    Collections too big for one machine go over a Ray cluster, and survive the death of its workers (docs/scaling.md): images
    only; what is there is not done again.

    Args:
        inputs: Images, folders, quoted globs ('shots/**/*.jpg'), videos, webcam or webcam:1; all before the options.
        weights: A run folder (its best weights) or a weights file.
        out: The folder that receives the files.
        save: What to write, with commas between: depth_npy, depth_png, depth_exr, disparity, labels (trainIds), uncertainty
            (16 bit, entropy × 65535), panel, ply, glb; none: depth_npy,depth_png,disparity,panel, of a video only the video.
        device: auto, cpu, cuda, mps.
        flip: Also predict the mirrored image: the mean of both disparities (evaluate --flip blends them as Godard 2017).
        every: Of folders, globs and videos take every so-many-th image.
        batch: How many images the network sees at once.
        stabilise: Videos: take a third of the flicker off, at the price of some accuracy; good to look at, not to measure.
        camera_height: Metres of the camera above the road, for depth in metres; the weights must have learnt labels.
        intrinsics: fx, fy, cx, cy in pixels of the images, e.g. '[721.5,721.5,609.6,172.9]'.
        fov_deg: Horizontal field of view in degrees, in place of intrinsics.
        max_depth: Point clouds: leave out what is farther.
        overwrite: Predict again what is there already, as is done with a camera_height, under a guide, and with videos, always.
        precision: bf16: several times as fast on a GPU, or a processor that has it (AMX, AVX-512 BF16); depth is off by
            up to a hundredth.
        labels: Images: a folder of label PNGs (trainIds, 255 = unknown) with the images' names, as semdepth label writes them,
            to guide the depth.
        segmenter: A hub id or a folder, as for semdepth label, whose labels guide the depth.
        cluster: Workers on Ray in place of this process.

    Examples:
        semdepth predict photos clip.mp4 --weights RUN --out depth  # all images of a folder, and a video
        semdepth predict drive --camera-height 1.65 --fov-deg 81    # in metres
        semdepth predict photo.jpg --save ply,glb --fov-deg 60      # coloured points, for any 3-D viewer
        semdepth predict drive --segmenter nvidia/segformer-b1-finetuned-cityscapes-1024-1024  # guided by its labels
    """
    for name, number in (("every", every), ("batch", batch)):
        if number < 1:
            raise InputError(f"{name} {number}: must be at least 1")
    outputs = DEFAULT if save is None else parse_outputs(save)
    if (intrinsics, fov_deg) != (None, None) and camera_height is None and not NEED_CAMERA & set(outputs):
        raise InputError("intrinsics and fov_deg serve metres and point clouds: give --camera_height or --save ply")
    Cameras(intrinsics, fov_deg)
    found = find_inputs(inputs, out)
    if cluster.address and (found.videos or found.webcams or camera_height is not None):
        raise InputError(
            "cluster: takes images only, and no camera_height, which needs them in order; leave cluster out"
        )
    guided = require_one_guide(labels, segmenter, found, bool(cluster.address))
    path = find_weights(weights)
    predictor = load(path, "cpu" if cluster.address else device, precision=precision)
    labels_of = guide(predictor, labels, segmenter, device) if guided else None
    cameras = cameras_of(predictor, intrinsics, fov_deg)
    job = Job(predictor, cameras, outputs, batch, flip, every, camera_height, max_depth)
    alone = len(found.images) + len(found.videos) + len(found.webcams) == 1
    failed = 0
    if cluster.address:
        source = str(weights) if weights and hub_address(weights) else str(path.absolute())
        work = PredictWork(source, digest_of(source), outputs, flip, intrinsics, fov_deg, max_depth, device, precision)
        chosen = dict(list(found.images.items())[::every])
        tally = predict_on_cluster(cluster, work, chosen, inputs, out, batch)
        failed = _report(tally, len(chosen), len(found.images), out)
    elif found.images:
        options: dict[str, object] = {"flip": flip, "intrinsics": intrinsics, "fov_deg": fov_deg, "max_depth": max_depth,
                   "camera_height": camera_height}  # fmt: skip
        options |= {"labels": str(labels), "segmenter": segmenter} if guided else {}
        # Notes from before there was a choice stay good.
        options |= {} if precision == "fp32" else {"precision": precision}
        settings = Settings(out, path, found.root, options)
        # In metres an image's scale is filtered with those before it: all of them have to be seen.
        anew = overwrite or guided or camera_height is not None
        there = set() if anew else already_there(found.images, outputs, settings)
        failed += predict_images(found.images, there, job, settings, alone, labels_of)
    for video, stem in found.videos.items():
        try:
            predict_video(video, stem, job, stabilise, frames_too=save is not None)
        except InputError as error:
            if alone or not str(error).startswith(f"{video}:"):
                raise
            logger.warning("%s", error)
            failed += 1
    for number, stem in found.webcams.items():
        predict_webcam(number, stem, job, stabilise, frames_too=save is not None)
    if failed == len(found.images) + len(found.videos) and failed:
        raise InputError(f"{', '.join(inputs)}: none of {failed} files can be read; give PNG, JPEG or MP4 files")


def predict_images(
    images: dict[Path, Path],
    done: set[Path],
    job: Job,
    settings: Settings,
    alone: bool,
    labels_of: LabelsOf | None = None,
) -> int:
    """Predict images in batches and write their files, but for those that are done; return how many could not be read.

    Raises:
        InputError: if the only one cannot be read, or a file cannot be written.
    """
    metric, failed = job.metric(), 0
    chosen = list(images)[:: job.every]
    missing = [path for path in chosen if path not in done]
    waiting: deque[tuple[Path, npt.NDArray[np.uint8]]] = deque()
    guides: deque[Labels] = deque()

    def readable() -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal failed
        for path in track(missing, "predicting", disable=len(missing) < 3):
            try:
                pixels = read_image(path)
                if labels_of is not None:
                    guides.append(labels_of(path))
                waiting.append((path, pixels))
            except InputError as error:
                if alone:
                    raise
                logger.warning("%s", error)
                failed += 1
                continue
            yield waiting[-1][1]

    def given() -> Iterator[Labels]:
        while True:
            yield guides.popleft()

    labels = None if labels_of is None else given()
    for prediction in job.predictor.predict_many(readable(), batch=job.batch, flip=job.flip, labels=labels):
        path, pixels = waiting.popleft()
        final = prediction if metric is None else metric(path.name, prediction)
        job.camera(pixels)  # what is not known is said before anything is written
        settings.note()
        if metric is not None:
            metric.note(settings.out)
        job.write(images[path], pixels, final)
    if failed == len(chosen):
        return len(images)
    passed = f", {failed} passed over" if failed else ""
    if len(missing) < len(chosen):
        passed += f", {len(chosen) - len(missing)} were there already (--overwrite true predicts them again)"
    unit = "depth up to scale" if metric is None else metric.summary()
    say(f"{counted(len(missing) - failed, 'image')}{passed}, {unit}: {settings.out}")
    return failed


def _report(tally: Tally, chosen: int, given: int, out: Path) -> int:
    """Say what a cluster did; return how many images failed, all of those given if all that were chosen."""
    if len(tally.failed) == chosen:
        return given
    said = [f"{counted(tally.new, 'image')} predicted"]
    said += [f"{tally.there} were there"] if tally.there else []
    said += [f"{len(tally.failed)} passed over"] if tally.failed else []
    said += [f"{tally.begun_again} batches begun again, since their worker died"] if tally.begun_again else []
    say(f"{', '.join(said)}, depth up to scale: {out}")
    return len(tally.failed)
