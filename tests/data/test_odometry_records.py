import numpy as np
import pytest
from PIL import Image

from semdepth.data.odometry import kitti_odometry
from semdepth.data.video import FrameDataset
from semdepth.runtime import InputError


def write(root, images="image_2"):
    folder = root / "sequences" / "07"
    (folder / images).mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (20, 8)).save(folder / images / f"{i:06d}.png")
    (folder / "calib.txt").write_text("P0: 10 0 5 0 0 10 4 0 0 0 1 0\nP2: 10 0 5 20 0 10 4 0 0 0 1 0\n")
    (root / "poses").mkdir()
    # The camera turns by 90° to the right at frame 2: its z axis becomes the world's x axis.
    straight, turned = "1 0 0 0 0 1 0 0 0 0 1 {}\n", "0 0 1 {} 0 1 0 0 -1 0 0 2\n"
    (root / "poses" / "07.txt").write_text(straight.format(0) + straight.format(1) + turned.format(0) * 2)
    return folder


def test_real_sequence(shared):
    records = kitti_odometry(shared / "data" / "kitti_odometry", camera=0)
    assert len(records) == 49
    assert records[0].name == "90/000001/0"
    item = FrameDataset(records, 96, 320)[0]
    assert torch_equal_channels(item.target), "grey images have three equal channels"
    forward = item.source_from_target[0, :, 2, 3]
    assert forward[0] > 0.5, "the point ahead was farther away a frame ago"
    assert forward[1] < -0.5, "and will be nearer in the next"


def torch_equal_channels(images):
    return bool((images == images[:, :1]).all())


def test_poses_are_those_of_the_camera(tmp_path):
    """Camera 2 sits 2 m to the left of camera 0 here (P2 holds +20 = f·2): seen from the turned frame, behind it."""
    write(tmp_path)
    records = kitti_odometry(tmp_path)
    np.testing.assert_allclose(records[0].world_from_camera[:, :3, 3], [[-2, 0, 1], [-2, 0, 0], [0, 0, 4]], atol=1e-12)


def test_sequences_without_poses_have_none(tmp_path):
    write(tmp_path)
    (tmp_path / "poses" / "07.txt").unlink()
    assert kitti_odometry(tmp_path, sequences=["07"])[0].world_from_camera is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sequences": ["08"]}, "images of sequence 08 not found"),
        ({"camera": 3}, "no sequence with image_3"),
        ({"camera": 4}, "camera 4"),
        ({"labels": "exact"}, "labels exact"),
        ({"labels": "noisy"}, "no label PNGs"),
        ({"offsets": (-5, 5)}, "neighbours"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, says):
    write(tmp_path)
    with pytest.raises(InputError) as caught:
        kitti_odometry(tmp_path, **options)
    assert says in str(caught.value)


def test_missing_rows_and_short_poses_are_refused(tmp_path):
    folder = write(tmp_path)
    (tmp_path / "poses" / "07.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(InputError, match=r"07\.txt: 1 poses, but frames up to 3"):
        kitti_odometry(tmp_path)
    (folder / "calib.txt").write_text("P0: 10 0 5 0 0 10 4 0 0 0 1 0\n")
    with pytest.raises(InputError, match=r"calib\.txt: no row P2"):
        kitti_odometry(tmp_path)
    with pytest.raises(InputError, match="not found"):
        kitti_odometry(tmp_path / "nowhere")
