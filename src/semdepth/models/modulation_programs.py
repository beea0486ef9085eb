"""The programs of ``modulation``, where mean and variance are taken over the channels: row by row, in the nearest cache.

``features`` are (N, C, H, W), N counting the two branches of every image; ``modulation`` is (N / 2, 2, 2, C, h, w), γ and β of
both branches, of the features' size or half of it. With x normalised to ``n = (x − μ)·r``, the result is ``n + γ·n + β``.
"""

import numpy as np

from semdepth.compiled import part, program


@part
def _row_of(coarse, y, room, out):
    """Write a row of (h, w) values at the size of ``out``'s image: the same, or bilinearly doubled."""
    width = coarse.shape[1]
    if out.size == width:
        out[:] = coarse[y]
        return
    quarter, most = out.dtype.type(0.25), out.dtype.type(0.75)
    near = coarse[y // 2]
    other = coarse[max(y // 2 - 1, 0) if y % 2 == 0 else min(y // 2 + 1, coarse.shape[0] - 1)]
    for i in range(width):
        room[i + 1] = most * near[i] + quarter * other[i]
    room[0], room[width + 1] = room[1], room[width]
    for i in range(width):
        out[2 * i] = quarter * room[i] + most * room[i + 1]
        out[2 * i + 1] = most * room[i + 1] + quarter * room[i + 2]


@part
def _add_back(row, y, room, coarse):
    """Add to (h, w) what reaches it of a row at the size of the features, the transpose of ``_row_of``."""
    width = coarse.shape[1]
    if row.size == width:
        coarse[y] += row
        return
    quarter, most = row.dtype.type(0.25), row.dtype.type(0.75)
    last = width - 1
    for i in range(1, last):
        room[i] = quarter * (row[2 * i - 1] + row[2 * i + 2]) + most * (row[2 * i] + row[2 * i + 1])
    # The outermost take part in what lies beyond them. (Of one column both are the same.)
    room[0] = quarter * (row[0] + row[min(2, last + 1)]) + most * (row[0] + row[1])
    room[last] = quarter * (row[2 * last - (last > 0)] + row[2 * last + 1]) + most * (row[2 * last] + row[2 * last + 1])
    near = coarse[y // 2]
    other = coarse[max(y // 2 - 1, 0) if y % 2 == 0 else min(y // 2 + 1, coarse.shape[0] - 1)]
    for i in range(width):
        near[i] += most * room[i]
        other[i] += quarter * room[i]


@program
def modulate(features, modulation, epsilon, modulated, means, scales, start, stop):
    """Write the rows ``start`` to ``stop``, counted through all N, and μ and r of their pixels, (N, H, W)."""
    _, channels, height, width = features.shape
    kind = features.dtype.type
    share, one = kind(1) / kind(channels), kind(1)
    room, gamma, beta = (
        np.empty(width + 2, features.dtype),
        np.empty(width, features.dtype),
        np.empty(width, features.dtype),
    )
    for place in range(start, stop):
        n, y = place // height, place % height
        mean, scale = means[n, y], scales[n, y]
        mean[:], scale[:] = kind(0), kind(0)
        for c in range(channels):
            mean += features[n, c, y]
        mean *= share
        for c in range(channels):
            x = features[n, c, y]
            for i in range(width):
                scale[i] += (x[i] - mean[i]) * (x[i] - mean[i])
        for i in range(width):
            scale[i] = one / np.sqrt(scale[i] * share + epsilon)
        for c in range(channels):
            _row_of(modulation[n // 2, 0, n % 2, c], y, room, gamma)
            _row_of(modulation[n // 2, 1, n % 2, c], y, room, beta)
            x, out = features[n, c, y], modulated[n, c, y]
            for i in range(width):
                normal = (x[i] - mean[i]) * scale[i]
                out[i] = normal + beta[i] + gamma[i] * normal


@program
def gradients(grads, features, modulation, means, scales, to_features, to_modulation, start, stop):
    """Write what reaches the features ``start`` to ``stop`` of N, and add what reaches their γ and β.

    γ gets ``g·n``, β gets g, n gets ``q = g + γ·g``, and x ``r·(q − mean(q) − n·mean(q·n))``.
    """
    _, channels, height, width = features.shape
    kind = features.dtype.type
    share = kind(1) / kind(channels)
    room, gamma = np.empty(width + 2, features.dtype), np.empty(width, features.dtype)
    product, sums, slopes = (
        np.empty(width, features.dtype),
        np.empty(width, features.dtype),
        np.empty(width, features.dtype),
    )
    for n in range(start, stop):
        of_modulation, back = modulation[n // 2, :, n % 2], to_modulation[n // 2, :, n % 2]
        for y in range(height):
            mean, scale = means[n, y], scales[n, y]
            sums[:], slopes[:] = kind(0), kind(0)
            for c in range(channels):
                _row_of(of_modulation[0, c], y, room, gamma)
                g, x, q = grads[n, c, y], features[n, c, y], to_features[n, c, y]
                # (Loops over few arrays: of many, the compiler does not find out that none overlap.)
                for i in range(width):
                    q[i] = g[i] + gamma[i] * g[i]
                for i in range(width):
                    product[i] = (x[i] - mean[i]) * scale[i]
                for i in range(width):
                    slopes[i] += q[i] * product[i]
                for i in range(width):
                    sums[i] += q[i]
                for i in range(width):
                    product[i] *= g[i]
                _add_back(product, y, room, back[0, c])
                _add_back(g, y, room, back[1, c])
            sums *= share
            slopes *= share
            for c in range(channels):
                x, q = features[n, c, y], to_features[n, c, y]
                for i in range(width):
                    normal = (x[i] - mean[i]) * scale[i]
                    q[i] = scale[i] * (q[i] - sums[i] - normal * slopes[i])
