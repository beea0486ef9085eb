"""The programs of ``pooling``: the largest of 3×3 pixels, two apart, the border padded by one."""

import numpy as np

from semdepth.compiled import part, program


@part
def _largest_of_rows(plane, first, last, value, row):
    """Write the first largest of every column's values in the rows from ``first`` to ``last``, and its row."""
    width = plane.shape[1]
    top = plane[first]
    for j in range(width):
        value[j + 1], row[j + 1] = top[j], first
    for near in range(first + 1, last + 1):
        line = plane[near]
        for j in range(width):
            larger = line[j] > value[j + 1] or np.isnan(line[j])
            value[j + 1] = line[j] if larger else value[j + 1]
            row[j + 1] = np.int32(near) if larger else row[j + 1]


@program
def largest(images, pooled, places, start, stop):
    """Write the rows ``start`` to ``stop`` of all planes (N, H, W) pooled, (N, h, w), and where each maximum stands in its nine.

    Of several that are as large it is the first, row by row, as torch has it.
    """
    height = images.shape[1]
    rows, columns = pooled.shape[1], pooled.shape[2]
    # The columns beside the image stay below all rows, so that what stands in them never comes first.
    value, row = np.full(2 * columns + 1, -np.inf, np.float32), np.full(2 * columns + 1, 2**30, np.int32)
    for place in range(start, stop):
        n, i = place // rows, place % rows
        _largest_of_rows(images[n], max(2 * i - 1, 0), min(2 * i + 1, height - 1), value, row)
        above, out, kinds = np.int32(2 * i - 1), pooled[n, i], places[n, i]
        for j in range(columns):
            best, best_row, best_column = value[2 * j + 1], row[2 * j + 1], np.int32(1)
            other, other_row = value[2 * j], row[2 * j]
            taken = other > best or (other == best and other_row <= best_row) or np.isnan(other)
            best, best_row = (other, other_row) if taken else (best, best_row)
            best_column = np.int32(0) if taken else best_column
            other, other_row = value[2 * j + 2], row[2 * j + 2]
            taken = other > best or (other == best and other_row < best_row) or np.isnan(other)
            best, best_row = (other, other_row) if taken else (best, best_row)
            best_column = np.int32(2) if taken else best_column
            out[j], kinds[j] = best, np.uint8(3 * (best_row - above) + best_column)


@program
def spread(grads, places, out, start, stop):
    """Write the planes ``start`` to ``stop`` of the gradient by the images: each pooled value's goes where it stood."""
    _, rows, columns = grads.shape
    for n in range(start, stop):
        out[n, :, :] = 0.0
        for i in range(rows):
            for j in range(columns):
                kind = np.int64(places[n, i, j])
                out[n, 2 * i - 1 + kind // 3, 2 * j - 1 + kind % 3] += grads[n, i, j]
