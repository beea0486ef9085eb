import numpy as np
import pytest

from semdepth.data.kitti import velodyne_depth
from semdepth.data.lidar import _last, read_scan
from semdepth.runtime import InputError

# The calibration of conftest: f = 50, centre (39.5, 11.5); lidar x, y, z = camera z, −x, −y.


def test_equals_published_depth_exactly(shared):
    date = shared / "data" / "kitti_raw" / "2011_09_26"
    scans = date / "2011_09_26_drive_0000_sync" / "velodyne_points" / "data"
    golden = np.load(shared / "reference" / "velodyne_depth.npz")
    assert len(golden.files) == 2
    for name in golden.files:
        depth = velodyne_depth(date, scans / f"{name}.bin")
        assert depth.dtype == np.float32
        np.testing.assert_array_equal(depth, golden[name])


def pixel(x: float, y: float, depth: float) -> list[float]:
    """The lidar point that lands on pixel (x, y): the projection is rounded, then 1 is taken off."""
    return [depth, -(x + 1 - 39.5) * depth / 50, -(y + 1 - 11.5) * depth / 50, 0.5]


def test_depth_along_the_axis_lands_on_its_pixel(raw_drive, write_scan, tmp_path):
    date = raw_drive().parent
    scan = write_scan(tmp_path / "a.bin", [pixel(10, 5, 8.0), pixel(70, 20, 30.0)])
    depth = velodyne_depth(date, scan)
    assert depth.shape == (24, 80)
    assert depth[5, 10] == pytest.approx(8.0)
    assert depth[20, 70] == pytest.approx(30.0)
    assert np.count_nonzero(depth) == 2


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_nearest_of_several_points_counts(raw_drive, write_scan, tmp_path, order):
    points = [pixel(10, 5, d) for d in (9.0, 4.0, 20.0)]
    scan = write_scan(tmp_path / "a.bin", [points[i] for i in order])
    assert velodyne_depth(raw_drive().parent, scan)[5, 10] == pytest.approx(4.0)


def test_published_row_end_collision_is_kept(raw_drive, write_scan, tmp_path):
    """The last pixel of a row and the first of the next share an index; the first point's pixel takes the nearer."""
    scan = write_scan(tmp_path / "a.bin", [pixel(79, 5, 9.0), pixel(0, 6, 4.0)])
    depth = velodyne_depth(raw_drive().parent, scan)
    assert depth[5, 79] == pytest.approx(4.0)
    assert depth[6, 0] == pytest.approx(4.0)


def test_points_behind_and_outside_are_dropped(raw_drive, write_scan, tmp_path):
    behind = [-8.0, 0.0, 0.0, 0.5]
    scan = write_scan(tmp_path / "a.bin", [behind, pixel(-1, 5, 8.0), pixel(80, 5, 8.0), [0.0, 0.0, 0.0, 0.0]])
    assert not velodyne_depth(raw_drive().parent, scan).any()


def test_partial_record_is_refused(tmp_path):
    scan = tmp_path / "a.bin"
    scan.write_bytes(b"\0" * 40)
    with pytest.raises(InputError, match=r"a\.bin: .*16 bytes"):
        read_scan(scan)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_are_refused(tmp_path, write_scan, bad):
    with pytest.raises(InputError, match=r"a\.bin: .*not finite"):
        read_scan(write_scan(tmp_path / "a.bin", [[1.0, bad, 0.0, 0.0]]))


def test_missing_and_empty_scans_are_refused(tmp_path):
    with pytest.raises(InputError, match="not found"):
        read_scan(tmp_path / "a.bin")
    (tmp_path / "a.bin").touch()
    with pytest.raises(InputError, match="empty"):
        read_scan(tmp_path / "a.bin")


@pytest.mark.parametrize("size", [375, 376, 1242, 1])
def test_what_is_inside_is_told_before_rounding(size: int) -> None:
    """Points are rounded after those outside are left out; halves, which round to even, are where the two could differ."""
    near = [half + shift for half in (0.5, size - 0.5, size, size + 0.5, size + 1.5) for shift in (-1e-9, 0.0, 1e-9)]
    near += [float(np.nextafter(value, side)) for value in near for side in (-np.inf, np.inf)]
    for place in (*near, np.nan, np.inf, -np.inf, -0.0):
        rounded = np.round(place) - 1
        assert bool(0 <= rounded < size) == bool(0.5 < place <= _last(size)), place
