"""The rules' maps against what they say, pixel by pixel."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semdepth.labels import IGNORE, SKY, THING
from semdepth.losses.pair_rules import among, columns_of, is_uniform, is_upright
from semdepth.losses.regions import Points, connected_regions, run_ends

ROAD, CAR = 0, THING[2]
LABELS = arrays(
    np.uint8,
    st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 7)),
    elements=st.sampled_from([ROAD, SKY[0], CAR, IGNORE]),
)


def around(labels: np.ndarray, b: int, y: int, x: int, reach: int) -> set[int]:
    """Return the labels within a pixel above and below, and ``reach`` to the sides; the image's edge goes on as it is."""
    _, height, width = labels.shape
    rows = [min(max(y + d, 0), height - 1) for d in (-1, 0, 1)]
    columns = [min(max(x + d, 0), width - 1) for d in range(-reach, reach + 1)]
    return {int(labels[b, r, c]) for r in rows for c in columns}


@given(LABELS)
def test_rule_1_looks_at_nine_pixels_or_at_three(labels: np.ndarray) -> None:
    maps = is_upright(torch.from_numpy(labels)), is_uniform(torch.from_numpy(labels))
    for reach, found in enumerate(maps):
        for place in np.ndindex(labels.shape):
            assert bool(found[place]) == (len(around(labels, *place, reach)) == 1)


@given(LABELS, st.data())
def test_rule_6_knows_where_things_and_sky_are_in_a_column(labels: np.ndarray, data: st.DataObject) -> None:
    large = data.draw(arrays(np.bool_, labels.shape))
    found = columns_of(torch.from_numpy(labels), torch.from_numpy(large))
    height = labels.shape[1]
    for b, x in np.ndindex(labels.shape[0], labels.shape[2]):
        column, counts = labels[b, :, x], large[b, :, x]
        things = np.flatnonzero(np.isin(column, THING) & counts)
        solid = np.flatnonzero(~np.isin(column, (*SKY, IGNORE)) & counts)
        sky = np.flatnonzero((column == SKY[0]) & counts)
        assert found.first_thing[b, x] == (things[0] if len(things) else height)
        assert found.first_solid[b, x] == (solid[0] if len(solid) else height)
        assert found.last_sky[b, x] == (sky[-1] if len(sky) else -1)


@given(LABELS)
def test_a_run_ends_where_its_region_does(labels: np.ndarray) -> None:
    region, _ = connected_regions(torch.from_numpy(labels))
    b, y, x = (torch.from_numpy(axis.ravel()) for axis in np.indices(labels.shape))
    points = Points(b[:, None], y[:, None], x[:, None], y[:, None], torch.ones_like(y[:, None], dtype=torch.bool))
    for dim in (1, 2):
        first, last = run_ends(region, points, dim)
        for k in range(len(b)):
            line = region[b[k], :, x[k]] if dim == 1 else region[b[k], y[k]]
            low = high = int(y[k] if dim == 1 else x[k])
            while low > 0 and line[low - 1] == line[low]:
                low -= 1
            while high + 1 < len(line) and line[high + 1] == line[high]:
                high += 1
            assert (int(first[k, 0]), int(last[k, 0])) == (low, high)


def test_groups_of_classes_keep_the_labels_shape() -> None:
    labels = torch.tensor([[[ROAD, CAR], [SKY[0], IGNORE]]], dtype=torch.uint8)
    assert among(labels, THING).tolist() == [[[False, True], [False, False]]]
    assert among(labels[:, :0], THING).shape == (1, 0, 2)
