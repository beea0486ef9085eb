"""Regions of a label map and the borders between them, for a whole batch at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Edges = tuple[Tensor, Tensor, Tensor]
"""N pairs of neighbouring pixels of different label: image (N,), first and second pixel (N, 2), row and column; the
second is right of the first or below it."""


@dataclass(frozen=True)
class Borders:
    """N points on label borders."""

    image: Tensor
    """(N,) int64, the image in the batch."""
    ends: Tensor
    """(N, 2, 2) int64, row and column of the neighbouring pixels of sides 1 and 2."""
    normal: Tensor
    """(N, 2) float unit vectors, row and column, from side 1 to side 2."""
    side: Tensor
    """(N, 2) int64, the labels of sides 1 and 2."""

    def only(self, chosen: Tensor) -> Borders:
        """Return the points where ``chosen`` (N,) is true."""
        return Borders(self.image[chosen], self.ends[chosen], self.normal[chosen], self.side[chosen])

    @property
    def middle(self) -> Tensor:
        """(N, 2) float, row and column, half way between the two pixels."""
        return self.ends.sum(1) / 2


@dataclass(frozen=True)
class Points:
    """N times K pixels along the normals of N border points."""

    image: Tensor
    """(N, 1) int64."""
    row: Tensor
    """(N, K) int64."""
    column: Tensor
    """(N, K) int64."""
    side: Tensor
    """(N, K or 1) int64, the label that ought to be met at the point."""
    inside: Tensor
    """(N, K) bool: the point lies in the image and carries that label."""

    def pick(self, *chosen: int) -> Points:
        """Return only some of the K points."""
        k = list(chosen)
        return Points(self.image, self.row[:, k], self.column[:, k], self.side[:, k], self.inside[:, k])

    def beside(self, more: Points) -> Points:
        """Return these K points and those of ``more``, which belong to the same N border points."""
        both = ((getattr(self, name), getattr(more, name)) for name in ("row", "column", "side", "inside"))
        return Points(self.image, *(torch.cat(pair, 1) for pair in both))

    def at(self, values: Tensor) -> Tensor:
        """Return the values of a (B, H, W, ...) map at the points, (N, K, ...)."""
        if not values.is_contiguous():  # to flatten it would copy all of it
            return values[self.image, self.row, self.column]
        _, height, width = values.shape[:3]
        place = (self.image * height + self.row) * width + self.column
        flat = values.reshape(-1, *values.shape[3:]).index_select(0, place.flatten())
        return flat.reshape(*place.shape, *values.shape[3:])


def connected_regions(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Find the 4-connected regions of equal label, exactly.

    Works on horizontal runs of equal label instead of pixels: there are a few links between neighbouring rows per run,
    so the search for common roots (each root takes the smallest one that it is linked to, then paths are halved) costs
    little beside the passes over the pixels.

    Args:
        labels: (B, H, W) integer labels.

    Returns:
        ``region``: (B, H, W) int64, one number per region, none in two images (numbers are not consecutive), and
        ``area``: (N,) int64, ``area[r]`` is the number of pixels of region ``r``.
    """
    starts = torch.ones_like(labels, dtype=torch.bool)
    starts[:, :, 1:] = labels[:, :, 1:] != labels[:, :, :-1]
    run = (starts.flatten().cumsum(0) - 1).view_as(labels)
    # A link repeats its left neighbour's unless one of its two runs starts here.
    linked = (labels[:, 1:] == labels[:, :-1]) & (starts[:, 1:] | starts[:, :-1])
    upper, lower = run[:, :-1][linked], run[:, 1:][linked]
    first = starts.flatten().nonzero()[:, 0]
    length = torch.diff(first, append=first.new_tensor([labels.numel()]))

    root = torch.arange(len(first), device=labels.device)
    while not torch.equal(a := root[upper], b := root[lower]):
        root = root.scatter_reduce(0, torch.maximum(a, b), torch.minimum(a, b), "amin")
        root = root[root[root]]
    area = torch.zeros_like(length).scatter_add_(0, root, length)
    return root[run], area


def run_ends(region: Tensor, points: Points, dim: int) -> tuple[Tensor, Tensor]:
    """Return the first and the last place of the runs of one region, along a dimension, that points lie in.

    Args:
        region: (B, H, W) of ``connected_regions``.
        points: (N, K) points.
        dim: 1: runs along columns, places are rows; 2: runs along rows, places are columns.

    Returns:
        (N, K) int64 each.
    """
    upright = dim == 1
    lines = region.transpose(1, 2).contiguous() if upright else region
    line, place = (points.column, points.row) if upright else (points.row, points.column)
    _, count, length = lines.shape
    starts = torch.ones_like(lines, dtype=torch.bool)
    starts[:, :, 1:] = lines[:, :, 1:] != lines[:, :, :-1]
    begins = torch.cat([starts.flatten().nonzero()[:, 0], points.row.new_tensor([lines.numel()])])
    run = starts.flatten().cumsum(0)[(points.image * count + line) * length + place] - 1
    first, last = begins[run], begins[run + 1] - 1
    return first % length, last % length


def upright_partners(region: Tensor, points: Points, draw: Tensor) -> Points:
    """Draw for each point another one straight above or below it, with nothing but its own region between them.

    Args:
        region: (B, H, W) of ``connected_regions``.
        points: (N, K) points.
        draw: (N, K) in [0, 1).
    """
    top, bottom = run_ends(region, points, 1)
    row = torch.minimum(top + (draw * (bottom - top + 1)).long(), bottom)
    return Points(points.image, row, points.column, points.side, points.inside)


def middle_points(region: Tensor, borders: Borders) -> tuple[Points, Tensor]:
    """Return for both sides of each border point the middle of the run, along the row, that it lies in, and its width.

    Args:
        region: (B, H, W) of ``connected_regions``.
        borders: N border points.

    Returns:
        (N, 2) points, and (N, 2) int64 the runs' widths in pixels.
    """
    row, column = borders.ends.unbind(2)
    at = Points(borders.image[:, None], row, column, borders.side, torch.ones_like(row, dtype=torch.bool))
    first, last = run_ends(region, at, 2)
    return Points(at.image, row, (first + last) // 2, at.side, at.inside), last - first + 1


def onto_middle_lines(
    points: Points, borders: Borders, region: Tensor, chosen: Tensor, too_wide: float
) -> tuple[Points, Tensor]:
    """Move the points b and c (of a, b, c, d) of narrow things onto their middle lines.

    Args:
        points: (N, 4) points along the normals of the border points.
        borders: N border points.
        region: (B, H, W) of ``connected_regions``.
        chosen: (N, 2) bool, the sides on which it may be done.
        too_wide: pixels; a run as wide as this keeps its points.

    Returns:
        All points, and which of them have been moved, (N, 4) bool.
    """
    middle, width = middle_points(region, borders)
    moved = torch.zeros_like(points.inside)
    moved[:, 1:3] = chosen & (width < too_wide)
    row, column, inside = points.row.clone(), points.column.clone(), points.inside | moved
    row[:, 1:3] = torch.where(moved[:, 1:3], middle.row, row[:, 1:3])
    column[:, 1:3] = torch.where(moved[:, 1:3], middle.column, column[:, 1:3])
    return replace(points, row=row, column=column, inside=inside), moved


def border_edges(labels: Tensor) -> Edges:
    """Return every pair of neighbouring pixels with different labels, ordered by image."""
    right = (labels[:, :, 1:] != labels[:, :, :-1]).nonzero()
    below = (labels[:, 1:] != labels[:, :-1]).nonzero()
    first = torch.cat([right, below])
    step = torch.zeros_like(first[:, 1:])
    step[: len(right), 1] = 1
    step[len(right) :, 0] = 1
    order = first[:, 0].argsort(stable=True)
    first, step = first[order], step[order]
    return first[:, 0], first[:, 1:], first[:, 1:] + step


def border_normals(labels: Tensor, edges: Edges, radius: int) -> Tensor:
    """Estimate the unit normal of the label border at each edge, from the first pixel's region to the second's.

    It points from the mean position of the first label to the mean position of the second, both weighted by a Gaussian
    window about the border point; so it follows the border's course over ``radius`` pixels, not its staircase.

    Args:
        labels: (B, H, W) integer labels.
        edges: N edges of ``border_edges``.
        radius: reach of the window in pixels.

    Returns:
        (N, 2) float32 unit vectors, row and column.
    """
    image, first, second = edges
    height, width = labels.shape[1:]
    step = (second - first).float()
    span = torch.arange(-radius, radius + 2, device=labels.device)
    rows = (first[:, :1] + span).clamp(0, height - 1)[:, :, None]
    columns = (first[:, 1:] + span).clamp(0, width - 1)[:, None, :]
    # One flat index is several times faster than three.
    window = labels.flatten().take((image[:, None, None] * height + rows) * width + columns)
    label_1 = labels[image, first[:, 0], first[:, 1]][:, None, None]
    label_2 = labels[image, second[:, 0], second[:, 1]][:, None, None]
    offset_row, offset_column = span - step[:, :1] / 2, span - step[:, 1:] / 2
    sigma = radius / 2 + 0.5
    bump_row, bump_column = (
        torch.exp(-(offset_row**2) / (2 * sigma**2)),
        torch.exp(-(offset_column**2) / (2 * sigma**2)),
    )
    side = (window == label_2).float() - (window == label_1).float()
    across = torch.einsum("nrc,nr,nc->n", side, bump_row * offset_row, bump_column)
    along = torch.einsum("nrc,nr,nc->n", side, bump_row, bump_column * offset_column)
    normal = torch.stack([across, along], 1)
    length = normal.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-3, normal / length.clamp(min=1e-3), step)


def place_points(labels: Tensor, borders: Borders, side: Tensor, offsets: Tensor) -> Points:
    """Go from border points along their normals.

    Args:
        labels: (B, H, W) integer labels.
        borders: N border points.
        side: (N, K or 1) labels that ought to be met.
        offsets: (N, K) pixels, negative into side 1.
    """
    height, width = labels.shape[1:]
    row = (borders.middle[:, :1] + offsets * borders.normal[:, :1]).round().long()
    column = (borders.middle[:, 1:] + offsets * borders.normal[:, 1:]).round().long()
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    image = borders.image[:, None]
    return Points(image, row, column, side, inside & (labels[image, row, column] == side))
