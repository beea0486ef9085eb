"""The road as a plane: how high the camera stands above it in the unit of the depth, and so the scale to metres.

A camera's height above the road is known in a car and does not change; depth learnt from one camera has no unit. Where
the segmentation sees road, back-projected depth must lie on a plane: ``n·p = h``, n the unit normal from the camera down
to the road, h the camera's height in the depth's unit; ``camera_height / h`` is the scale (as in Xue et al., "Toward
hierarchical self-supervised monocular absolute depth estimation", IROS 2020, who use surface normals in place of labels).

With ``m = n / h`` and a pixel's ray r (p = z·r) the plane is linear in disparity: ``1/z = m·r``. An error of 5 % in depth
is one of 5 % in height, near and far: residuals are relative, and everything here is exactly equivariant to scale.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from semdepth.geometry.camera import invert_intrinsics, map_pixels, require_shape
from semdepth.labels import CLASSES
from semdepth.runtime import InputError

ROAD = next(c.train_id for c in CLASSES if c.name == "road")
WINDOW = 15
"""Frames of the running median."""


@dataclass(frozen=True)
class GroundPlaneConfig:
    """How the road's plane is found."""

    labels: tuple[int, ...] = (ROAD,)
    """trainIds that lie on the plane: road; sidewalk (1) and terrain (9) stand about 10 cm higher or slope."""
    reach: float = 4.0
    """Only points nearer than so many times the near end (5th percentile of depth) of what is labelled road."""
    tolerance: float = 0.05
    """Relative error of depth up to which a point lies on the plane."""
    max_tilt_deg: float = 25.0
    """Planes steeper than this against the camera's x–z plane are no road."""
    min_points: int = 200
    """Fewer pixels of road than this give no plane."""
    min_inliers: float = 0.3
    """A smaller share of points on the plane than this gives none."""
    hypotheses: int = 256
    """Planes through three points each that are tried."""
    points: int = 4096
    """At most so many points are looked at."""
    seed: int = 0
    """Of the points and hypotheses that are drawn."""

    def __post_init__(self) -> None:
        if not self.labels or self.reach <= 1 or not 0 < self.tolerance < 1 or not 0 < self.max_tilt_deg < 90:
            raise InputError("ground plane: needs labels, reach above 1, tolerance in (0, 1), max_tilt_deg in (0, 90)")
        if min(self.min_points, self.points) < 3 or self.hypotheses < 1 or not 0 <= self.min_inliers <= 1:
            raise InputError("ground plane: needs at least 3 points, 1 hypothesis, and min_inliers in [0, 1]")


DEFAULT = GroundPlaneConfig()


@dataclass(frozen=True)
class GroundPlane:
    """The road below one image, or why there is none."""

    normal: tuple[float, float, float]
    """Unit vector from the camera down to the road, in camera axes (x right, y down, z forward); NaN without a plane."""
    height: float
    """Of the camera above the road, in the unit of the depth; NaN without a plane."""
    inliers: float
    """Share of the points looked at that lie on the plane, in [0, 1]."""
    points: int
    """How many pixels of near road there were."""
    reason: str | None = None
    """Why there is no plane; None: there is one."""

    @property
    def pitch_deg(self) -> float:
        """Degrees by which the optical axis points below the road's horizon."""
        return math.degrees(math.atan2(self.normal[2], math.hypot(self.normal[0], self.normal[1])))

    @property
    def roll_deg(self) -> float:
        """Degrees by which the camera is rolled clockwise: above 0, its right side hangs lower."""
        return math.degrees(math.atan2(self.normal[0], self.normal[1]))

    def scale(self, camera_height: float) -> float:
        """Return what the depth is to be multiplied by to be in metres; NaN without a plane.

        Args:
            camera_height: metres above the road.

        Raises:
            InputError: if the height is none of a camera's.
        """
        require_height(camera_height)
        return camera_height / self.height


def require_height(metres: float) -> None:
    """Refuse what is no camera's height above the road.

    Raises:
        InputError: if it is not above 0 and at most 1 km.
    """
    if not 0 < metres <= 1000:
        raise InputError(f"camera height {metres}: give metres above the road, e.g. 1.65")


def fit_ground_plane(
    depth: Tensor, labels: Tensor, intrinsics: Tensor, config: GroundPlaneConfig = DEFAULT
) -> GroundPlane:
    """Fit a plane to what is labelled road, robust against wrong labels and wrong depth.

    RANSAC (Fischler and Bolles 1981) over planes through three points, all at once, then least squares in disparity,
    reweighted by Tukey's biweight. The same input gives the same plane, but for rounding.

    Args:
        depth: (H, W) along the optical axis, any unit, 0 or not finite = unknown.
        labels: (H, W) trainIds, 255 = ignore.
        intrinsics: (3, 3) in pixels of (H, W).
        config: how.

    Raises:
        ValueError: if a shape is wrong.
    """
    require_shape("depth", depth, "H", "W")
    require_shape("labels", labels, *depth.shape)
    require_shape("intrinsics", intrinsics, 3, 3)
    rays, z = _near_road(depth.double(), labels, intrinsics.double(), config)
    count = len(z)
    if count < config.min_points:
        return _no_plane(count, f"only {count} pixels of near road, {config.min_points} are needed")
    generator = torch.Generator().manual_seed(config.seed)
    if count > config.points:
        chosen = torch.randperm(count, generator=generator)[: config.points].to(z.device)
        rays, z = rays[chosen], z[chosen]
    unit = z.median()  # so that no constant below has a unit
    disparity = unit / z
    found = _search(rays, disparity, config, generator)
    if found is None:
        return _no_plane(count, "no plane through the road's points is level enough to be a road")
    plane = _refine(rays, disparity, found, config.tolerance)
    height = float(unit / plane.norm())
    normal = (plane / plane.norm()).tolist()
    inliers = float((_residual(rays, disparity, plane).abs() < config.tolerance).double().mean())
    if not math.isfinite(height) or normal[1] < math.cos(math.radians(config.max_tilt_deg)):
        return _no_plane(count, "the plane through the road's points is not level enough to be a road")
    if inliers < config.min_inliers:
        return _no_plane(count, f"only {inliers:.0%} of the road's points lie on one plane")
    return GroundPlane((normal[0], normal[1], normal[2]), height, inliers, count)


class ScaleFilter:
    """The scale of a sequence: the median of the last frames that have one, frame by frame.

    A network's scale drifts slowly, while the fit to a single frame errs at random; frames without a plane take the scale
    of those before them. Only the past counts, so a sequence can be filtered as it comes.
    """

    def __init__(self, window: int = WINDOW) -> None:
        """Remember the scales of ``window`` frames.

        Raises:
            ValueError: if the window is not positive.
        """
        if window < 1:
            raise ValueError(f"window: expected at least 1, got {window}")
        self._known: deque[float] = deque(maxlen=window)

    def __call__(self, scale: float) -> float:
        """Take the scale of the next frame (NaN = none), and return the filtered one; NaN until there was any."""
        if math.isfinite(scale):
            self._known.append(scale)
        return statistics.median(self._known) if self._known else math.nan


def _no_plane(points: int, reason: str) -> GroundPlane:
    return GroundPlane((math.nan, math.nan, math.nan), math.nan, 0.0, points, reason)


def _near_road(depth: Tensor, labels: Tensor, intrinsics: Tensor, config: GroundPlaneConfig) -> tuple[Tensor, Tensor]:
    """Return the rays (N, 3), z = 1, and depths (N,) of the near pixels labelled road."""
    wanted = torch.tensor(config.labels, device=labels.device)
    road = torch.isin(labels.long(), wanted).to(depth.device) & (depth > 0) & depth.isfinite()
    rays = map_pixels(invert_intrinsics(intrinsics[None].to(depth.device)), (depth.shape[0], depth.shape[1]))[0]
    found, z = rays[:, road].T, depth[road]
    if not len(z):
        return found, z
    nearest = z.sort().values[int(0.05 * (len(z) - 1))]  # torch.quantile takes at most 16 million
    near = z <= config.reach * nearest
    return found[near], z[near]


def _residual(rays: Tensor, disparity: Tensor, planes: Tensor) -> Tensor:
    """Return (…, N), the relative error of depth against planes (…, 3): ``(m·r) / d − 1``."""
    return planes @ rays.T / disparity - 1


def _search(rays: Tensor, disparity: Tensor, config: GroundPlaneConfig, generator: torch.Generator) -> Tensor | None:
    """Return the level plane (3,) through three points that most points lie on; None: no such plane."""
    triple = torch.randint(len(rays), (config.hypotheses, 3), generator=generator).to(rays.device)
    planes, failed = torch.linalg.solve_ex(rays[triple], disparity[triple])
    level = planes[:, 1] > planes.norm(dim=1) * math.cos(math.radians(config.max_tilt_deg))
    planes = planes[(failed == 0) & level & planes.isfinite().all(1)]
    if not len(planes):
        return None
    votes = (_residual(rays, disparity, planes).abs() < config.tolerance).sum(1)
    best: Tensor = planes[votes.argmax()]
    return best


def _refine(rays: Tensor, disparity: Tensor, plane: Tensor, tolerance: float) -> Tensor:
    """Return the plane of least squares over what lies about it, weights by Tukey's biweight."""
    for _ in range(10):
        # Noise in depth is noise in d alone: the fit is linear in it, divided by the expected disparity to be relative.
        expected = (rays @ plane).clamp(min=1e-6)
        error = disparity / expected - 1
        weight = (1 - (error / (2 * tolerance)) ** 2).clamp(min=0)
        left = rays * (weight / expected)[:, None]
        solved: Tensor = torch.linalg.lstsq(left, disparity * weight / expected).solution
        if not solved.isfinite().all() or solved[1] <= 0:
            break
        plane = solved
    return plane
