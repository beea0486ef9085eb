import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from semdepth.data.make3d import make3d, read_laser_grid
from semdepth.data.video import FrameDataset, read_ground_truth
from semdepth.runtime import InputError


def test_every_image_with_its_grid(make3d_tree):
    records = make3d(make3d_tree)
    assert [r.name for r in records] == ["math7/p-282t0", "math7/p-313t0", "op57/p-108t000"]
    assert {r.name.rsplit("/", 2)[0] for r in records} == {"math7", "op57"}
    assert all(r.sources == () and r.labels is None for r in records)


def test_image_and_grid_are_cut_to_the_same_central_rows(make3d_tree, upright_drive):
    records = make3d(make3d_tree)
    item = FrameDataset(records, 48, 96)[0]
    whole = np.asarray(Image.open(records[0].image))
    np.testing.assert_array_equal(item.target[0].permute(1, 2, 0), whole[40:88])  # 48 of 128 rows, 96 columns: 2×1
    truth = read_ground_truth(records[0])
    assert truth.shape == (21, 305)
    true = upright_drive.depth[0, 0].numpy()
    rows = ((np.arange(55) + 0.5) / 55 * 128).astype(int)[17:38]
    columns = ((np.arange(305) + 0.5) / 305 * 96).astype(int)
    expected = true[rows[:, None], columns]
    np.testing.assert_allclose(truth, np.where(expected > 0, expected, 81.0), rtol=1e-6)


def test_the_crop_is_the_published_one():
    """Rows 710–1562 of 2272, 17–38 of 55 (Godard et al.)."""
    from semdepth.data.make3d import KEPT_ROWS
    from semdepth.data.records import kept_rows

    assert kept_rows(KEPT_ROWS, 2272) == slice(710, 1562)
    assert kept_rows(KEPT_ROWS, 55) == slice(17, 38)


def test_archives_unpacked_each_into_its_folder(make3d_tree, tmp_path):
    shutil.copytree(make3d_tree / "Test134", tmp_path / "Test134Img")
    shutil.copytree(make3d_tree / "Gridlaserdata", tmp_path / "Test134Depth" / "Gridlaserdata")
    assert len(make3d(tmp_path)) == 3


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_a_grid_cut_off_anywhere_is_refused(tmp_path, compressed, share):
    path = tmp_path / "depth_sph_corr-a.mat"
    grid = np.random.default_rng(0).uniform(1, 81, (55, 305, 4))
    savemat(path, {"Position3DGrid": grid}, do_compression=compressed)
    np.testing.assert_allclose(read_laser_grid(path), grid[..., 3], rtol=1e-6)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"depth_sph_corr-a\.mat: ") as caught:
        read_laser_grid(path)
    assert "\n" not in str(caught.value)


def test_bytes_after_the_data_do_no_harm(tmp_path):
    """As in one file of the published archive."""
    path = tmp_path / "a.mat"
    savemat(path, {"Position3DGrid": np.full((55, 305, 4), 5.0)}, do_compression=True)
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    assert (read_laser_grid(path) == 5).all()


def test_a_header_that_contradicts_the_data_is_refused(tmp_path):
    """SciPy 1.17 reads beyond its memory there (found by benchmarks/fuzz.py): the process ended."""
    path = tmp_path / "a.mat"
    savemat(path, {"Position3DGrid": np.full((55, 305, 4), 5.0)})
    content = bytearray(path.read_bytes())
    rows = content.index((55).to_bytes(4, "little") + (305).to_bytes(4, "little"))
    content[rows : rows + 4] = (2).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is 2×305×4 of double, not 55×305×4"):
        read_laser_grid(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"Depth": np.ones((55, 305, 4))}, "has no variable Position3DGrid"),
        ({"Position3DGrid": np.ones((55, 305))}, "is 55×305 of double"),
        ({"Position3DGrid": np.ones((305, 55, 4))}, "is 305×55×4"),
        ({"Position3DGrid": np.ones((55, 305, 4), dtype=np.int32)}, "of int32"),
        ({"Position3DGrid": np.full((55, 305, 4), np.nan)}, "negative or not finite"),
        ({"Position3DGrid": np.full((55, 305, 4), -1.0)}, "negative or not finite"),
        ({"Position3DGrid": np.array([["text"]])}, "not 55×305×4 numbers"),
        (b"MATLAB 7.3 MAT-file" + b" " * 105 + b"\x00\x02IM" + b"\x89HDF", "cannot be read"),
        (b"<html>404</html>" * 20, "cannot be read"),
        (b"", "is empty"),
        (None, "not found"),
    ],
)
def test_other_grids_are_refused(tmp_path, content, says):
    path = tmp_path / "a.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        savemat(path, content)
    with pytest.raises(InputError, match=r"a\.mat: ") as caught:
        read_laser_grid(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_without_grid_or_of_another_shape_is_refused(make3d_tree, tmp_path):
    shutil.copytree(make3d_tree, tmp_path / "make3d")
    image = tmp_path / "make3d" / "Test134" / "img-math7-p-282t0.jpg"
    Image.new("RGB", (128, 96)).save(image)
    with pytest.raises(InputError, match=r"img-math7-p-282t0\.jpg: is 128×96"):
        FrameDataset(make3d(tmp_path / "make3d"), 48, 96)[0]
    (tmp_path / "make3d" / "Gridlaserdata" / "depth_sph_corr-op57-p-108t000.mat").unlink()
    with pytest.raises(InputError, match=r"depth_sph_corr-op57-p-108t000\.mat: laser grid not found"):
        make3d(tmp_path / "make3d")
    shutil.rmtree(tmp_path / "make3d" / "Gridlaserdata")
    with pytest.raises(InputError, match="Gridlaserdata: folder of laser grids not found"):
        make3d(tmp_path / "make3d")
    with pytest.raises(InputError, match="Make3D not found"):
        make3d(tmp_path / "nowhere")
