"""What ``semdepth predict --camera-height`` adds: metres, filtered over the images, and a table of how they came about."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from semdepth.evaluation.report import write_text
from semdepth.geometry.ground import ScaleFilter
from semdepth.inference.cameras import Cameras
from semdepth.inference.metric import RoadCamera, in_metres, require_segmentation, road_plane
from semdepth.models.network import DepthNetwork
from semdepth.runtime import InputError
from semdepth.structures import Prediction

TABLE = "metric_scale.csv"
COLUMNS = (
    "image", "unit", "scale", "scale_of_image", "camera_height_in_network_units", "inliers", "road_pixels",
    "pitch_deg", "roll_deg", "why_no_plane",
)  # fmt: skip


class MetricScale:
    """Brings the predictions of consecutive images to metres."""

    def __init__(self, height: float, cameras: Cameras, network: DepthNetwork) -> None:
        """Take the camera of all images, and the network that predicts them.

        Args:
            height: metres of the camera above the road.
            cameras: intrinsics by image size.
            network: that predicts the images.

        Raises:
            InputError: if the network does not see what is road, or the height is no number above 0.
        """
        RoadCamera(height, fov_deg=60)  # refuses a height that is none
        require_segmentation(network)
        self._height, self._cameras, self._filter = height, cameras, ScaleFilter()
        self._images = self._metric = self._fitted = 0
        self._row: list[str] = []
        self._table: Path | None = None

    def __call__(self, name: str, prediction: Prediction) -> Prediction:
        """Return the next prediction, up to scale, in metres if its image or one before it shows the road."""
        height, width = prediction.depth.shape
        plane = road_plane(prediction, self._cameras.road_camera(self._height, (height, width)))
        found = plane.scale(self._height)
        scale = self._filter(found)
        known = math.isfinite(scale)
        self._images += 1
        self._metric += known
        self._fitted += not plane.reason
        numbers = (scale, found, plane.height, plane.inliers, plane.points, plane.pitch_deg, plane.roll_deg)
        cells = [f"{value:.6g}" if math.isfinite(value) else "" for value in numbers]
        self._row = [name, "metres" if known else "up to scale", *cells, plane.reason or ""]
        return in_metres(prediction, scale) if known else prediction

    def note(self, out: Path) -> None:
        """Write the newest image's row below those of the images before, in a table that is begun anew with the first.

        Raises:
            InputError: if the folder cannot be written.
        """
        try:
            if self._table is None:
                write_text(out / TABLE, _line(COLUMNS))
                self._table = out / TABLE
            with self._table.open("a", encoding="utf-8", newline="") as stream:
                stream.write(_line(self._row))
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None

    def summary(self) -> str:
        """Say how many images are in metres."""
        if self._metric == 0:
            return "depth up to scale: no image shows enough level road"
        rest = self._images - self._metric
        kept = f", {rest} up to scale (no road so far)" if rest else ""
        table = "" if self._table is None else f", see {TABLE}"
        return f"depth in metres: {self._metric} ({self._fitted} by their own road){kept}{table}"


def _line(cells: Sequence[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
