from pathlib import Path

import numpy as np
import pytest
import trimesh

from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.inference.point_cloud import PointCloud, flying, point_cloud, write_glb, write_ply
from semdepth.runtime import InputError

CAMERA = np.array(((100.0, 0, 63.5), (0, 110.0, 31.5), (0, 0, 1)))


def road(height: int = 96, width: int = 256) -> np.ndarray:
    """A camera 1.5 m above a road that reaches to 150 m, and a wall there."""
    below = np.arange(height) - height / 3
    depth = np.where(below > 0, 1.5 * 120 / np.maximum(below, 1e-6), np.inf)
    return np.broadcast_to(np.minimum(depth, 150)[:, None], (height, width)).astype(np.float32)


def smeared_box(background: np.ndarray) -> np.ndarray:
    """A box at 6 m in front of it, its edges smeared as resizing does."""
    inside = np.zeros(background.shape)
    inside[35:70, 100:150] = 1
    for axis in (0, 1):
        inside = sum(np.roll(inside, k, axis) for k in (-1, 0, 1)) / 3
    return (1 / (inside / 6 + (1 - inside) / background)).astype(np.float32)


def test_points_project_to_their_pixels() -> None:
    random = np.random.default_rng(0)
    depth = random.uniform(2, 50, (64, 128)).astype(np.float32)
    pixels = random.integers(0, 256, (64, 128, 3), dtype=np.uint8)
    cloud = point_cloud(pixels, depth, CAMERA, drop_edges=0)
    assert len(cloud) == 64 * 128
    assert cloud.points.dtype == np.float32
    seen = cloud.points @ CAMERA.T
    y, x = np.mgrid[:64, :128]
    np.testing.assert_allclose(seen[:, 0] / seen[:, 2], x.ravel(), atol=1e-3)
    np.testing.assert_allclose(seen[:, 1] / seen[:, 2], y.ravel(), atol=1e-3)
    np.testing.assert_array_equal(cloud.points[:, 2], depth.ravel())
    np.testing.assert_array_equal(cloud.colours, pixels.reshape(-1, 3))


def test_what_makes_no_point() -> None:
    depth = np.full((6, 8), 5, dtype=np.float32)
    depth[0] = (0, np.nan, np.inf, -1, 90, 5, 5, 5)
    pixels = np.zeros((6, 8, 3), dtype=np.uint8)
    assert len(point_cloud(pixels, depth, CAMERA, drop_edges=0)) == 44
    assert len(point_cloud(pixels, depth, CAMERA, drop_edges=0, max_depth=80)) == 43
    assert len(point_cloud(pixels, depth, CAMERA, drop_edges=0, step=3)) == 2 * 3 - 2


def test_a_slanted_road_stays_whole_and_a_smeared_edge_goes() -> None:
    background = road()
    assert flying(background, 0.1).mean() < 0.02  # nothing but the crease at its far end
    depth = smeared_box(background)
    gone = flying(depth, 0.1)
    between = (depth > 6.5) & (depth < background * 0.9)
    assert gone[between].mean() > 0.75
    assert gone[~between].mean() < 0.03


def test_scale_changes_nothing() -> None:
    depth = smeared_box(road())
    np.testing.assert_array_equal(flying(depth, 0.1), flying(depth * 32, 0.1))


@pytest.mark.parametrize("kind", ["ply", "glb"])
def test_files_come_back_the_same(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    cloud = PointCloud(random.normal(size=(50, 3)).astype(np.float32), random.integers(0, 256, (50, 3), dtype=np.uint8))
    path = tmp_path / "new" / f"cloud.{kind}"
    (write_ply if kind == "ply" else write_glb)(path, cloud)
    read = trimesh.load(path)
    read = next(iter(read.geometry.values())) if kind == "glb" else read
    turned = cloud.points * ((1, -1, -1) if kind == "glb" else (1, 1, 1))
    np.testing.assert_array_equal(np.asarray(read.vertices, dtype=np.float32), turned.astype(np.float32))
    np.testing.assert_array_equal(np.asarray(read.colors)[:, :3], cloud.colours)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_bad_input(tmp_path: Path) -> None:
    pixels, depth = np.zeros((6, 8, 3), dtype=np.uint8), np.ones((6, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="do not fit"):
        point_cloud(pixels[:5], depth, CAMERA)
    with pytest.raises(InputError, match="step 0"):
        point_cloud(pixels, depth, CAMERA, step=0)
    with pytest.raises(InputError, match="focal"):
        point_cloud(pixels, depth, np.zeros((3, 3)))
    with pytest.raises(InputError, match="no point is left"):
        write_ply(tmp_path / "a.ply", point_cloud(pixels, depth * 0, CAMERA))
    (tmp_path / "file").write_text("")
    cloud = point_cloud(pixels, depth, intrinsics_from_fov(60, (6, 8)).numpy())
    with pytest.raises(InputError, match="cannot be written"):
        write_glb(tmp_path / "file" / "a.glb", cloud)
