"""What ``semdepth predict --camera_height`` adds: metres, filtered over the images, and a table of how they came about."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from semdepth.evaluation.report import write_text
from semdepth.geometry.ground import ScaleFilter
from semdepth.inference.metric import RoadCamera, in_metres, require_segmentation, road_plane
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError
from semdepth.structures import Prediction

TABLE = "metric_scale.csv"
COLUMNS = (
    "image", "unit", "scale", "scale_of_image", "camera_height_in_network_units", "inliers", "road_pixels",
    "pitch_deg", "roll_deg", "why_no_plane",
)  # fmt: skip


def road_camera(
    height: float | None, intrinsics: tuple[float, float, float, float] | None, fov_deg: float | None
) -> RoadCamera | None:
    """Return the camera that the options describe; None: depth stays up to scale.

    Raises:
        InputError: if they contradict each other.
    """
    if height is not None:
        return RoadCamera(height, intrinsics, fov_deg)
    if intrinsics is not None or fov_deg is not None:
        raise InputError("intrinsics and fov_deg only serve depth in metres; give --camera_height with them")
    return None


class MetricScale:
    """Brings the predictions of consecutive images to metres."""

    def __init__(self, camera: RoadCamera, network: DepthNetwork) -> None:
        """Take the camera of all images, and the network that predicts them.

        Raises:
            InputError: if the network does not see what is road.
        """
        require_segmentation(network)
        self._camera, self._filter = camera, ScaleFilter()
        self._rows: list[list[str]] = []

    def __call__(self, name: str, prediction: Prediction) -> Prediction:
        """Return the next prediction, up to scale, in metres if its image or one before it shows the road."""
        plane = road_plane(prediction, self._camera)
        found = plane.scale(self._camera.height)
        scale = self._filter(found)
        known = math.isfinite(scale)
        numbers = (scale, found, plane.height, plane.inliers, plane.points, plane.pitch_deg, plane.roll_deg)
        cells = [f"{value:.6g}" if math.isfinite(value) else "" for value in numbers]
        self._rows.append([name, "metres" if known else "up to scale", *cells, plane.reason or ""])
        return in_metres(prediction, scale) if known else prediction

    def write(self, out: Path) -> None:
        """Write the table of the images so far.

        Raises:
            InputError: if the folder cannot be written.
        """
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *self._rows])
        try:
            write_text(out / TABLE, stream.getvalue())
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None

    def summary(self) -> str:
        """Say how many images are in metres."""
        metric = sum(row[1] == "metres" for row in self._rows)
        fitted = sum(not row[-1] for row in self._rows)
        if metric == 0:
            return "depth up to scale: no image shows enough level road"
        rest = len(self._rows) - metric
        kept = f", {rest} up to scale (no road so far)" if rest else ""
        return f"depth in metres: {metric} ({fitted} by their own road){kept}, see {TABLE}"
