"""The programs that a GPU runs for ``gpu_kernels``, written in Triton; each works on a block of pixels of one image.

Images lie flat, channel after channel; ``n`` counts the sources of all targets, ``count`` are those of one. ``rows`` holds 12
numbers a source, the matrix of ``geometry.warp.projection``.
"""

import triton
import triton.language as tl

from semdepth.geometry.camera import NEAREST_DEPTH
from semdepth.losses import photometric

C1, C2 = tl.constexpr(photometric.C1), tl.constexpr(photometric.C2)
SSIM_SHARE = tl.constexpr(photometric.SSIM_SHARE)
NEAREST = tl.constexpr(NEAREST_DEPTH)


@triton.jit
def _pixels(height, width, BLOCK: tl.constexpr):
    """Return this program's pixels: their flat index, row, column, and which of them exist."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    return pixel, pixel // width, pixel % width, pixel < height * width


@triton.jit
def _reflected(place, size):
    """Return a coordinate in [-1, size], reflected at the first and last one."""
    place = tl.abs(place)
    return tl.where(place >= size, 2 * size - 2 - place, place)


@triton.jit
def _seen_from(rows, row, column, d):
    """Return what a pixel's point moves by per unit of depth (x, y, z), where the source sees it, in [-1, 1], and how deep."""
    x, y = column.to(tl.float32), row.to(tl.float32)
    ray_x = tl.load(rows) * x + tl.load(rows + 1) * y + tl.load(rows + 2)
    ray_y = tl.load(rows + 4) * x + tl.load(rows + 5) * y + tl.load(rows + 6)
    ray_z = tl.load(rows + 8) * x + tl.load(rows + 9) * y + tl.load(rows + 10)
    deep = ray_z * d + tl.load(rows + 11)
    z = tl.maximum(deep, NEAREST)
    return ray_x, ray_y, ray_z, (ray_x * d + tl.load(rows + 3)) / z, (ray_y * d + tl.load(rows + 7)) / z, deep


@triton.jit
def _clipped(place, size):
    """Clip a coordinate in [-1, 1] to the outer pixel centres: its fraction, its pixel and the next, whether it was inside."""
    last = (size - 1).to(tl.float32)
    place = (place + 1) * 0.5 * last
    inner = (place > 0) & (place < last)
    place = tl.minimum(tl.maximum(place, 0.0), last)  # of a NaN, the number: it must not become an address
    first = tl.minimum(place.to(tl.int32), size - 1)
    return place - first.to(tl.float32), first, tl.minimum(first + 1, size - 1), inner


@triton.jit
def _corners(image, upper, lower, left, right, width, exists):
    """Return an image's values at the four pixels around a point: upper left and right, lower left and right."""
    return (
        tl.load(image + upper * width + left, mask=exists, other=0.0),
        tl.load(image + upper * width + right, mask=exists, other=0.0),
        tl.load(image + lower * width + left, mask=exists, other=0.0),
        tl.load(image + lower * width + right, mask=exists, other=0.0),
    )


@triton.jit
def warp_kernel(sources, depth, rows, warped, height, width, count, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Write what the target's pixels show in the sources: bilinear, the border repeated."""
    pixel, row, column, exists = _pixels(height, width, BLOCK)
    n, area = tl.program_id(1).to(tl.int64), height * width
    d = tl.load(depth + n // count * area + pixel, mask=exists, other=1.0)
    _, _, _, x, y, _ = _seen_from(rows + 12 * n, row, column, d)
    unsound = 0 * (x + y)  # 0, or NaN
    along, left, right, _ = _clipped(x, width)
    down, upper, lower, _ = _clipped(y, height)
    for c in tl.static_range(CHANNELS):
        image = sources + (n * CHANNELS + c) * area
        first, second, third, fourth = _corners(image, upper, lower, left, right, width, exists)
        above, below = first + (second - first) * along, third + (fourth - third) * along
        tl.store(warped + (n * CHANNELS + c) * area + pixel, above + (below - above) * down + unsound, mask=exists)


@triton.jit
def error_kernel(
    images, targets, errors, slopes, height, width, count,
    CHANNELS: tl.constexpr, SLOPES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write ``0.85·(1 − SSIM)/2 + 0.15·|x − y|``; with SLOPES its derivatives by the window sums of x, x² and xy (``fused``)."""
    pixel, row, column, exists = _pixels(height, width, BLOCK)
    n, area = tl.program_id(1).to(tl.int64), height * width
    error = tl.zeros((BLOCK,), tl.float32)
    for c in tl.static_range(CHANNELS):
        image = images + (n * CHANNELS + c) * area
        target = targets + (n // count * CHANNELS + c) * area
        sum_x = tl.zeros((BLOCK,), tl.float32)
        sum_y = tl.zeros((BLOCK,), tl.float32)
        sum_xx = tl.zeros((BLOCK,), tl.float32)
        sum_yy = tl.zeros((BLOCK,), tl.float32)
        sum_xy = tl.zeros((BLOCK,), tl.float32)
        for i in tl.static_range(-1, 2):
            for j in tl.static_range(-1, 2):
                place = _reflected(row + i, height) * width + _reflected(column + j, width)
                x = tl.load(image + place, mask=exists, other=0.5) - 0.5
                y = tl.load(target + place, mask=exists, other=0.5) - 0.5
                sum_x += x
                sum_y += y
                sum_xx += x * x
                sum_yy += y * y
                sum_xy += x * y
        centred_x, centred_y = sum_x / 9, sum_y / 9
        mean_x, mean_y = centred_x + 0.5, centred_y + 0.5
        a = 2 * mean_x * mean_y + C1
        b = 2 * (sum_xy / 9 - centred_x * centred_y) + C2
        d = mean_x * mean_x + mean_y * mean_y + C1
        e = (sum_xx / 9 - centred_x * centred_x) + (sum_yy / 9 - centred_y * centred_y) + C2
        ssim = a * b / (d * e)
        x = tl.load(image + pixel, mask=exists, other=0.5)
        y = tl.load(target + pixel, mask=exists, other=0.5)
        distance = tl.clamp(0.5 - 0.5 * ssim, 0.0, 1.0, propagate_nan=tl.PropagateNan.ALL)
        error += SSIM_SHARE * distance + (1 - SSIM_SHARE) * tl.abs(x - y)
        if SLOPES:
            by_product = a / (d * e)
            by_square = ssim / e
            by_mean = b * mean_y / (d * e) - ssim * mean_x / d + centred_x * by_square - centred_y * by_product
            share = SSIM_SHARE / (9 * CHANNELS)
            slope = slopes + (3 * n * CHANNELS + c) * area + pixel
            tl.store(slope, -share * by_mean, mask=exists)
            tl.store(slope + CHANNELS * area, share * by_square, mask=exists)
            tl.store(slope + 2 * CHANNELS * area, -share * by_product, mask=exists)
    tl.store(errors + n * area + pixel, error / CHANNELS, mask=exists)


@triton.jit
def _times_seen(place, by, size):
    """Return how often the window at ``by`` holds ``place``, a neighbour or itself, with reflected borders."""
    first = (by == 0) & (place == 1)
    last = (by == size - 1) & (place == size - 2)
    return 1.0 + first.to(tl.float32) + last.to(tl.float32)


@triton.jit
def gradient_kernel(
    grads, slopes, warped, targets, sources, depth, rows, by_depth, by_rows, height, width, count,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient by every pixel's depth, and the sums over this program's pixels of that by the (3, 4) projection."""
    pixel, row, column, exists = _pixels(height, width, BLOCK)
    n, area = tl.program_id(1).to(tl.int64), height * width
    d = tl.load(depth + n // count * area + pixel, mask=exists, other=1.0)
    ray_x, ray_y, ray_z, x, y, deep = _seen_from(rows + 12 * n, row, column, d)
    along, left, right, inner_x = _clipped(x, width)
    down, upper, lower, inner_y = _clipped(y, height)
    own = tl.load(grads + n * area + pixel, mask=exists, other=0.0)
    by_x = tl.zeros((BLOCK,), tl.float32)
    by_y = tl.zeros((BLOCK,), tl.float32)
    for c in tl.static_range(CHANNELS):
        by_mean = tl.zeros((BLOCK,), tl.float32)
        by_square = tl.zeros((BLOCK,), tl.float32)
        by_product = tl.zeros((BLOCK,), tl.float32)
        for i in tl.static_range(-1, 2):
            for j in tl.static_range(-1, 2):
                window_row, window_column = row + i, column + j
                there = exists & (window_row >= 0) & (window_row < height)
                there = there & (window_column >= 0) & (window_column < width)
                place = window_row * width + window_column
                grad = tl.load(grads + n * area + place, mask=there, other=0.0)
                grad *= _times_seen(row, window_row, height) * _times_seen(column, window_column, width)
                slope = slopes + (3 * n * CHANNELS + c) * area + place
                by_mean += grad * tl.load(slope, mask=there, other=0.0)
                by_square += grad * tl.load(slope + CHANNELS * area, mask=there, other=0.0)
                by_product += grad * tl.load(slope + 2 * CHANNELS * area, mask=there, other=0.0)
        value = tl.load(warped + (n * CHANNELS + c) * area + pixel, mask=exists, other=0.5) - 0.5
        wanted = tl.load(targets + (n // count * CHANNELS + c) * area + pixel, mask=exists, other=0.5) - 0.5
        sign = (value > wanted).to(tl.float32) - (value < wanted).to(tl.float32)
        by_value = by_mean + value * by_square + wanted * by_product + sign * own * ((1 - SSIM_SHARE) / CHANNELS)
        image = sources + (n * CHANNELS + c) * area
        first, second, third, fourth = _corners(image, upper, lower, left, right, width, exists)
        by_x += by_value * ((second - first) * (1 - down) + (fourth - third) * down)
        by_y += by_value * ((third - first) * (1 - along) + (fourth - second) * along)
    # Outside, the border is repeated, so nothing changes with the coordinate.
    z = tl.maximum(deep, NEAREST)
    unsound = tl.where(exists, 0 * (x + y), 0.0)  # 0, or NaN, which no branch below may hide
    by_x = (tl.where(inner_x & exists, by_x, 0.0) + unsound) * (0.5 * (width - 1)) / z
    by_y = (tl.where(inner_y & exists, by_y, 0.0) + unsound) * (0.5 * (height - 1)) / z
    by_z = tl.where(deep >= NEAREST, -(by_x * x + by_y * y), unsound)
    tl.store(by_depth + n * area + pixel, by_x * ray_x + by_y * ray_y + by_z * ray_z, mask=exists)
    sums = by_rows + (n * tl.num_programs(0) + tl.program_id(0)) * 12
    for k in tl.static_range(3):
        by_point = by_x if k == 0 else (by_y if k == 1 else by_z)
        tl.store(sums + 4 * k, tl.sum(by_point * d * column.to(tl.float32)))
        tl.store(sums + 4 * k + 1, tl.sum(by_point * d * row.to(tl.float32)))
        tl.store(sums + 4 * k + 2, tl.sum(by_point * d))
        tl.store(sums + 4 * k + 3, tl.sum(by_point))
