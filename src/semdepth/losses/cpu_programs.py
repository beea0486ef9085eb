"""The programs that a CPU runs for ``cpu_kernels``, compiled by Numba; each works off some rows of many images, row by row.

What a row needs stays in the processor's nearest cache. ``n`` counts the sources of all targets, ``count`` are those of one;
rows are counted through all images, ``start`` is the first to work off and ``stop`` the first not to. ``matrices`` holds 12
numbers a source, those of ``geometry.warp.projection``. All is float32, and no products are joined with sums: equal images tie.
"""

import numpy as np

from semdepth.compiled import part, program

_F = np.float32
ZERO, HALF, ONE, TWO, NINTH = _F(0), _F(0.5), _F(1), _F(2), _F(1 / 9)


@part
def _seen_from(matrix, row, depth, nearest, seen):
    """Write what a row's points move by per unit of depth (x, y, z), where the source sees them, in [-1, 1], and how deep."""
    ray_x, ray_y, ray_z, x, y, deep = seen[0], seen[1], seen[2], seen[3], seen[4], seen[5]
    v = _F(row)
    start_x, start_y, start_z = matrix[1] * v + matrix[2], matrix[5] * v + matrix[6], matrix[9] * v + matrix[10]
    for i in range(depth.size):
        u = _F(i)
        ray_x[i], ray_y[i], ray_z[i] = matrix[0] * u + start_x, matrix[4] * u + start_y, matrix[8] * u + start_z
        deep[i] = ray_z[i] * depth[i] + matrix[11]
        z = deep[i] if deep[i] > nearest else nearest
        x[i] = (ray_x[i] * depth[i] + matrix[3]) / z
        y[i] = (ray_y[i] * depth[i] + matrix[7]) / z


@part
def _clipped(place, size, stride, fraction, inner, first, step):
    """Clip coordinates in [-1, 1] to the outer pixel centres: fraction, whether it was inside, pixel and way to the next."""
    last, top, stride, none = _F(size - 1), np.int32(size - 1), np.int32(stride), np.int32(0)
    for i in range(place.size):
        p = (place[i] + ONE) * HALF * last
        inner[i] = ONE if ZERO < p < last else ZERO
        p = p if p > ZERO else ZERO  # of a NaN, the number: it must not become an address
        p = p if p < last else last
        pixel = np.int32(p)
        fraction[i] = p - _F(pixel)
        first[i] = pixel * stride
        step[i] = stride if pixel < top else none


@part
def _look_up(matrix, row, depth, height, nearest, seen, between, corner):
    """Write where a row's points are seen: ``_seen_from``, and of x and y (4, W) fraction and inside, and (4, W) ``corner``."""
    width = depth.size
    _seen_from(matrix, row, depth, nearest, seen)
    _clipped(seen[3], width, 1, between[0], between[1], corner[0], corner[1])
    _clipped(seen[4], height, width, between[2], between[3], corner[2], corner[3])


@part
def _warp_row(source, x, y, along, down, corner, row, warped):
    """Write a row of (C, H, W): bilinear, the border repeated; a NaN shows."""
    left, right, upper, lower = corner[0], corner[1], corner[2], corner[3]
    for c in range(source.shape[0]):
        image, out = source[c].ravel(), warped[c, row]
        for i in range(out.size):
            # (Without a sign, an index is not looked at for being counted from the end.)
            at, to_right, to_lower = np.uint32(upper[i] + left[i]), np.uint32(right[i]), np.uint32(lower[i])
            first, second = image[at], image[at + to_right]
            third, fourth = image[at + to_lower], image[at + to_lower + to_right]
            above, below = first + (second - first) * along[i], third + (fourth - third) * along[i]
            out[i] = above + (below - above) * down[i] + ZERO * (x[i] + y[i])


@part
def _reflected(row, height):
    """Return the rows above and below, reflected at the first and last one."""
    return (row - 1 if row > 0 else 1), (row + 1 if row < height - 1 else height - 2)


@part
def _column_sums(image, target, row, sums):
    """Write the sums over three rows of (H, W) x, y, x², y² and xy, reflected at both ends: (5, W + 2)."""
    height, width = image.shape
    upper, lower = _reflected(row, height)
    a, b, c = image[upper], image[row], image[lower]
    p, q, r = target[upper], target[row], target[lower]
    for i in range(width):
        a_i, b_i, c_i = a[i] - HALF, b[i] - HALF, c[i] - HALF
        sums[0, i + 1] = a_i + b_i + c_i
        sums[2, i + 1] = a_i * a_i + b_i * b_i + c_i * c_i
    for i in range(width):
        p_i, q_i, r_i = p[i] - HALF, q[i] - HALF, r[i] - HALF
        sums[1, i + 1] = p_i + q_i + r_i
        sums[3, i + 1] = p_i * p_i + q_i * q_i + r_i * r_i
    for i in range(width):
        sums[4, i + 1] = (a[i] - HALF) * (p[i] - HALF) + (b[i] - HALF) * (q[i] - HALF) + (c[i] - HALF) * (r[i] - HALF)
    for k in range(5):
        sums[k, 0], sums[k, width + 1] = sums[k, 2], sums[k, width - 1]


@part
def _mean(sums, k, i):
    return (sums[k, i] + sums[k, i + 1] + sums[k, i + 2]) * NINTH


@part
def _ssim_parts(sums, i, c1, c2):
    """Return at a column the centred means of x and y, and A, B, D, E of ``SSIM = A·B / (D·E)`` (see ``fused``)."""
    centred_x, centred_y = _mean(sums, 0, i), _mean(sums, 1, i)
    mean_x, mean_y = centred_x + HALF, centred_y + HALF
    variance_x = _mean(sums, 2, i) - centred_x * centred_x
    variance_y = _mean(sums, 3, i) - centred_y * centred_y
    covariance = _mean(sums, 4, i) - centred_x * centred_y
    a, d = TWO * (mean_x * mean_y) + c1, mean_x * mean_x + mean_y * mean_y + c1
    return centred_x, centred_y, a, TWO * covariance + c2, d, variance_x + variance_y + c2


@part
def _error_row(image, target, row, c1, c2, share, sums, out):
    """Write a row of ``share·(1 − SSIM)/2 + (1 − share)·|x − y|``, the mean over channels."""
    channels = image.shape[0]
    out[:] = ZERO
    for c in range(channels):
        _column_sums(image[c], target[c], row, sums)
        x, y = image[c, row], target[c, row]
        for i in range(out.size):
            _, _, a, b, d, e = _ssim_parts(sums, i, c1, c2)
            distance = HALF - HALF * ((a * b) / (d * e))
            distance = ZERO if distance < ZERO else distance  # written so that NaN stays
            distance = ONE if distance > ONE else distance
            out[i] += share * distance + (ONE - share) * abs(x[i] - y[i])
    out /= _F(channels)


@program
def errors(images, targets, found, c1, c2, share, start, stop):
    """Write the photometric errors of images."""
    _, _, height, width = images.shape
    count = images.shape[0] // targets.shape[0]
    sums = np.empty((5, width + 2), _F)
    for place in range(start, stop):
        n, row = place // height, place % height
        _error_row(images[n], targets[n // count], row, c1, c2, share, sums, found[n, row])


@part
def _rows_ahead(place, row, height, start):
    """Return the rows to work out before ``row``'s neighbours are all there, if those before it have been, from ``start`` on."""
    return range(row + 1 if place > start and row > 0 else max(row - 1, 0), min(row + 2, height))


@program
def warp_and_compare(sources, depths, matrices, targets, warped, found, nearest, c1, c2, share, start, stop):
    """Write what the targets' pixels show in the sources, and the photometric errors of that."""
    _, _, height, width = sources.shape
    count = sources.shape[0] // targets.shape[0]
    seen, between, corner = np.empty((6, width), _F), np.empty((4, width), _F), np.empty((4, width), np.int32)
    sums = np.empty((5, width + 2), _F)
    for place in range(start, stop):
        n, row = place // height, place % height
        for near in _rows_ahead(place, row, height, start):
            _look_up(matrices[n], near, depths[n // count, near], height, nearest, seen, between, corner)
            _warp_row(sources[n], seen[3], seen[4], between[0], between[2], corner, near, warped[n])
        _error_row(warped[n], targets[n // count], row, c1, c2, share, sums, found[n, row])


@part
def _slopes(image, target, row, grad, factor, c1, c2, sums, room, out):
    """Write what reaches a row's windows by their sums of x, x² and xy, spread over their three columns: (3, W).

    ``grad`` is that of the row's errors, ``factor`` what SSIM counts in them; ``sums`` (5, W + 2), ``room`` (3, W + 2).
    """
    width = image.shape[1]
    _column_sums(image, target, row, sums)
    for i in range(width):
        centred_x, centred_y, a, b, d, e = _ssim_parts(sums, i, c1, c2)
        mean_x, mean_y = centred_x + HALF, centred_y + HALF
        inverse = ONE / (d * e)  # one division for four
        by_product = a * inverse
        ssim = by_product * b
        by_square = ssim * d * inverse
        by_mean = (b * mean_y - ssim * mean_x * e) * inverse + centred_x * by_square - centred_y * by_product
        weight = factor * grad[i]
        room[0, i + 1], room[1, i + 1], room[2, i + 1] = -weight * by_mean, weight * by_square, -weight * by_product
    for k in range(3):
        room[k, 0] = room[k, width + 1] = ZERO
        for i in range(width):
            out[k, i] = room[k, i] + room[k, i + 1] + room[k, i + 2]
        out[k, 1] += room[k, 1]  # the windows at the ends hold their neighbour twice
        out[k, width - 2] += room[k, width]


@part
def _by_value(image, target, row, grad, share, spread, out):
    """Write what reaches a row of the image; ``spread`` (3, 3, W) holds the ``_slopes`` of three rows, each at row modulo 3."""
    height, width = image.shape
    own, x, y = spread[row % 3], image[row], target[row]
    for i in range(width):
        centred_x, centred_y = x[i] - HALF, y[i] - HALF
        sign = _F(centred_x > centred_y) - _F(centred_x < centred_y)
        out[i] = sign * grad[i] * share + own[0, i] + centred_x * own[1, i] + centred_y * own[2, i]
    for near in (row - 1, row + 1):
        if 0 <= near < height:
            times = ONE + _F(near == 0 and row == 1) + _F(near == height - 1 and row == height - 2)
            beside = spread[near % 3]
            for i in range(width):
                out[i] += times * (beside[0, i] + (x[i] - HALF) * beside[1, i] + (y[i] - HALF) * beside[2, i])


@part
def _by_place(source, by_value, c, along, down, corner, by_x, by_y):
    """Add what reaches the places at which a channel of (C, H, W) is read, in pixels."""
    left, right, upper, lower = corner[0], corner[1], corner[2], corner[3]
    image = source[c].ravel()
    for i in range(by_value.size):
        at, to_right, to_lower = np.uint32(upper[i] + left[i]), np.uint32(right[i]), np.uint32(lower[i])
        first, second = image[at], image[at + to_right]
        third, fourth = image[at + to_lower], image[at + to_lower + to_right]
        by_x[i] += by_value[i] * ((second - first) * (ONE - down[i]) + (fourth - third) * down[i])
        by_y[i] += by_value[i] * ((third - first) * (ONE - along[i]) + (fourth - second) * along[i])


@part
def _by_point(seen, between, half_width, half_height, nearest, by_point, out):
    """Turn (3, W) ``by_point``, whose first two are by the place, into what reaches the points, and write that by the depth."""
    by_x, by_y, by_z = by_point[0], by_point[1], by_point[2]
    ray_x, ray_y, ray_z, x, y, deep = seen[0], seen[1], seen[2], seen[3], seen[4], seen[5]
    inner_x, inner_y = between[1], between[3]
    for i in range(out.size):
        # Outside, the border is repeated, so nothing changes with the coordinate.
        z = deep[i] if deep[i] > nearest else nearest
        unsound = ZERO * (x[i] + y[i])  # 0, or NaN, which no branch may hide
        q_x, q_y = (inner_x[i] * by_x[i] + unsound) * half_width / z, (inner_y[i] * by_y[i] + unsound) * half_height / z
        q_z = -(q_x * x[i] + q_y * y[i]) if deep[i] >= nearest else unsound
        by_x[i], by_y[i], by_z[i] = q_x, q_y, q_z
        out[i] = q_x * ray_x[i] + q_y * ray_y[i] + q_z * ray_z[i]


@part
def _add_row(by_point, depth, row, totals):
    """Add a row to (3, 3, W) ``totals``: what reaches the points, times d, times d·v, and by itself."""
    v = _F(row)
    for k in range(3):
        for i in range(depth.size):
            scaled = by_point[k, i] * depth[i]
            totals[k, 0, i] += scaled
            totals[k, 1, i] += scaled * v
            totals[k, 2, i] += by_point[k, i]


@part
def _move_totals(totals, by_matrix):
    """Add ``totals`` to the (3, 4) gradient by the projection, in float64, and empty them."""
    for k in range(3):
        for i in range(totals.shape[2]):
            by_matrix[k, 0] += totals[k, 0, i] * i
            by_matrix[k, 1] += totals[k, 1, i]
            by_matrix[k, 2] += totals[k, 0, i]
            by_matrix[k, 3] += totals[k, 2, i]
    totals[:] = ZERO


@program
def gradients(
    grads, warped, targets, sources, depths, matrices, by_depth, by_matrix, nearest, c1, c2, share, start, stop
):  # fmt: skip
    """Write the gradient by every pixel's depth, and add to (N, 3, 4) ``by_matrix`` that by the projection."""
    _, channels, height, width = sources.shape
    count = sources.shape[0] // targets.shape[0]
    factor, rest = share * NINTH / _F(channels), (ONE - share) / _F(channels)
    half_width, half_height = HALF * _F(width - 1), HALF * _F(height - 1)
    seen, between, corner = np.empty((6, width), _F), np.empty((4, width), _F), np.empty((4, width), np.int32)
    sums, room, spread = (
        np.empty((5, width + 2), _F),
        np.empty((3, width + 2), _F),
        np.empty((channels, 3, 3, width), _F),
    )
    by_value, by_point, totals = np.empty(width, _F), np.empty((3, width), _F), np.zeros((3, 3, width), _F)
    for place in range(start, stop):
        n, row = place // height, place % height
        target, depth = targets[n // count], depths[n // count, row]
        for near in _rows_ahead(place, row, height, start):
            for c in range(channels):
                _slopes(warped[n, c], target[c], near, grads[n, near], factor, c1, c2, sums, room, spread[c, near % 3])
        _look_up(matrices[n], row, depth, height, nearest, seen, between, corner)
        by_point[:] = ZERO
        for c in range(channels):
            _by_value(warped[n, c], target[c], row, grads[n, row], rest, spread[c], by_value)
            _by_place(sources[n], by_value, c, between[0], between[2], corner, by_point[0], by_point[1])
        _by_point(seen, between, half_width, half_height, nearest, by_point, by_depth[n, row])
        _add_row(by_point, depth, row, totals)
        if row == height - 1 or place == stop - 1:
            _move_totals(totals, by_matrix[n])
