"""``semdepth odometry``, ``benchmark scale`` and ``predict --camera_height``, end to end on a tiny rendered world."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from semdepth.apps.cli import main
from semdepth.apps.metric_scale import MetricScale
from semdepth.apps.scale import NETWORK, TRUTH
from semdepth.inference.cameras import Cameras
from semdepth.labels import SKY
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import load_depth_network, load_pose_network, save_weights
from semdepth.structures import Prediction

from .test_bad_input import complaint

CaptureText = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def drive(world: Path) -> Path:
    return min(world.glob("*/*_sync"))


def test_a_drive_whose_path_is_known(run: Path, drive: Path, tmp_path: Path, capsys: CaptureText) -> None:
    frames = tmp_path / "frames"
    shutil.copytree(drive / "image_02/data", frames)
    (frames / "times.txt").write_text("0\n0.1\n0.2\n0.3\n")
    out = tmp_path / "out"
    known = [f"--poses={drive / 'poses_02.txt'}", "--lengths=[0.5,100]", f"--out={out}"]
    assert main(["odometry", str(run), str(frames), *known]) == 0
    assert {p.name for p in out.iterdir()} == {
        "trajectory.txt", "trajectory_tum.txt", "trajectory.png", "odometry.json", "odometry.md",
    }  # fmt: skip
    path = np.loadtxt(out / "trajectory.txt")
    assert path.shape == (4, 12)
    np.testing.assert_allclose(path[0], np.eye(4)[:3].ravel())
    tum = np.loadtxt(out / "trajectory_tum.txt")
    np.testing.assert_allclose(tum[:, 0], [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(tum[:, 1:4], path[:, 3::4], atol=1e-8)
    figures = json.loads((out / "odometry.json").read_text())
    assert set(figures["errors"]) == {"predicted", "straight ahead"}
    assert figures["errors"]["predicted"]["frames"] == 4
    assert figures["errors"]["predicted"]["ate_rmse"] >= 0
    assert figures["errors"]["predicted"]["snippet"] is None
    assert {"weights", "command", "date", "machine"} <= set(figures["about"])
    assert "No segment of 100 m fits" in " ".join((out / "odometry.md").read_text().split())
    assert "ATE, RMSE" in capsys.readouterr().out
    assert Image.open(out / "trajectory.png").width > 100


def test_a_folder_without_poses_gives_the_path_only(run: Path, drive: Path, tmp_path: Path) -> None:
    weights = str(run / "weights.safetensors")
    assert main(["odometry", weights, str(drive / "image_02/data"), f"--out={tmp_path}"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "trajectory.txt", "trajectory.png", "odometry.json", "odometry.md",
    }  # fmt: skip
    assert json.loads((tmp_path / "odometry.json").read_text())["errors"] is None


@pytest.fixture
def road_everywhere(run: Path, tmp_path: Path) -> Path:
    """Weights that start at the ground profile and take all they see for road; the pose network is the run's."""
    network, header = load_depth_network(run / "weights.safetensors")
    network = build_depth_network(replace(network.config, fusion="none"))
    bias = network.class_heads[0].conv.bias
    assert bias is not None
    with torch.no_grad():
        bias[0] = 100.0
    save_weights(tmp_path / "road.safetensors", network, load_pose_network(run / "weights.safetensors"), header.extra)
    return tmp_path / "road.safetensors"


def test_the_cloud_of_a_drive(road_everywhere: Path, drive: Path, tmp_path: Path, capsys: CaptureText) -> None:
    command = ["odometry", str(road_everywhere), str(drive / "image_02/data"), "--cloud=2"]
    paths, clouds = {}, {}
    for unit, height in (("up to scale", []), ("metres", ["--camera-height=1.65"])):
        out = tmp_path / unit
        assert main([*command, *height, f"--out={out}"]) == 0
        about = json.loads((out / "odometry.json").read_text())["about"]
        said = capsys.readouterr().out
        assert about["unit"] == unit
        assert f"{about['length']:.4g} long ({unit})" in said
        assert "with cloud.ply" in said
        paths[unit], clouds[unit] = np.loadtxt(out / "trajectory.txt"), trimesh.load(out / "cloud.ply").vertices
    scale = np.median(clouds["metres"] / clouds["up to scale"])
    assert scale > 1.1
    np.testing.assert_allclose(clouds["metres"], clouds["up to scale"] * scale, rtol=1e-4)
    np.testing.assert_allclose(paths["metres"][:, 3::4], paths["up to scale"][:, 3::4] * scale, rtol=1e-4, atol=1e-9)


def test_a_cloud_without_points_leaves_the_path(
    road_everywhere: Path, drive: Path, tmp_path: Path, capsys: CaptureText
) -> None:
    frames, out = str(drive / "image_02/data"), tmp_path / "out"
    assert main(["odometry", str(road_everywhere), frames, "--cloud=2", f"--out={out}"]) == 0
    assert (out / "cloud.ply").exists()
    network, header = load_depth_network(road_everywhere)
    bias = network.class_heads[0].conv.bias
    assert bias is not None
    with torch.no_grad():
        bias[SKY[0]] = 1000.0
    save_weights(road_everywhere, network, load_pose_network(road_everywhere), header.extra)
    assert main(["odometry", str(road_everywhere), frames, "--cloud=2", f"--out={out}"]) == 0
    assert not (out / "cloud.ply").exists()  # no cloud of another path
    assert (out / "trajectory.txt").exists()
    assert "cloud.ply" not in capsys.readouterr().out.splitlines()[-1]


def test_a_path_that_runs_away(
    run: Path, drive: Path, tmp_path: Path, capsys: CaptureText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semdepth.apps.odometry.LONGEST", 0.0)
    out = tmp_path / "out"
    assert "train the weights anew" in complaint(
        ["odometry", str(run), str(drive / "image_02/data"), f"--out={out}"], capsys
    )
    assert not list(out.iterdir())


def test_a_cloud_of_bad_input(
    run: Path, road_everywhere: Path, drive: Path, tmp_path: Path, capsys: CaptureText
) -> None:
    command = ["odometry", str(run), str(drive / "image_02/data"), f"--out={tmp_path / 'out'}"]
    assert "depth-only" in complaint([*command, "--cloud=1", "--camera-height=1.65"], capsys)
    assert "every so-many-th" in complaint([*command, "--cloud=-1"], capsys)
    assert "give --cloud" in complaint([*command, "--camera-height=1.65"], capsys)
    road = [command[0], str(road_everywhere), *command[2:]]
    for height in ("0", "1e300"):
        assert "metres above the road" in complaint([*road, "--cloud=1", f"--camera-height={height}"], capsys)
    assert "not both" in complaint([*command, "--cloud=1", "--fov-deg=60", "--intrinsics=[9,9,4,4]"], capsys)
    assert "outside the image" in complaint([*command, "--cloud=1", "--intrinsics=[9,9,4000,4]"], capsys)
    assert not (tmp_path / "out").exists()


def test_a_camera_that_stands_still_is_not_judged(run: Path, drive: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.txt"
    still.write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 4)
    frames = str(drive / "image_02/data")
    assert main(["odometry", str(run), frames, f"--poses={still}", f"--out={tmp_path / 'out'}"]) == 0
    assert "Not judged" in (tmp_path / "out" / "odometry.md").read_text()


def test_the_shared_sequence(run: Path, shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "kitti_odometry"
    if not root.is_dir():
        pytest.skip("REAL FRAMES MISSING: odometry on KITTI NOT tested")
    assert main(["odometry", str(run), str(root), "--camera=0", '--sequences=["90"]', f"--out={tmp_path}"]) == 0
    errors = json.loads((tmp_path / "odometry.json").read_text())["errors"]["predicted"]
    assert errors["path_length"] == pytest.approx(59.9, abs=0.1)
    assert errors["segments"] == []
    assert errors["segment_translation_percent"] is None
    assert errors["snippet"]["snippets"] == 47


def test_odometry_of_bad_input(run: Path, drive: Path, tmp_path: Path, capsys: CaptureText) -> None:
    frames, out = str(drive / "image_02/data"), f"--out={tmp_path / 'out'}"
    assert "nowhere" in complaint(["odometry", str(run), "/nowhere", out], capsys)
    assert "gone" in complaint(["odometry", "gone", frames, out], capsys)
    assert "lengths" in complaint(
        ["odometry", str(run), frames, f"--poses={drive / 'poses_02.txt'}", "--lengths=[0]", out], capsys
    )
    (tmp_path / "one").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "one" / "0.png")
    assert "only frame" in complaint(["odometry", str(run), str(tmp_path / "one"), out], capsys)
    network, header = load_depth_network(run / "weights.safetensors")
    save_weights(tmp_path / "depth.safetensors", network, extra=header.extra)
    assert "no pose network" in complaint(["odometry", str(tmp_path / "depth.safetensors"), frames, out], capsys)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert "cannot be written" in complaint(
        ["odometry", str(run), frames, f"--out={tmp_path / 'file'}"], capsys
    )  # fmt: skip
    (tmp_path / "clip.mp4").write_bytes(b"video")
    assert "semdepth prepare makes one of a video" in complaint(
        ["odometry", str(run), str(tmp_path / "clip.mp4")], capsys
    )


@pytest.mark.parametrize("labels", ["noisy", "exact"])
def test_the_scale_of_exact_depth_is_found(labels: str, run: Path, world: Path, tmp_path: Path) -> None:
    data = [f"--data.root={world}", "--data.height=64", "--data.width=128", f"--data.labels={labels}"]
    assert main(["benchmark", "scale", *data, f"--weights={run}", "--device=cpu", f"--out={tmp_path}"]) == 0
    rows = json.loads((tmp_path / "scale.json").read_text())["rows"]
    assert len(rows[TRUTH]) == len(rows[NETWORK]) == 8
    errors = [abs(row["error"]) for row in rows[TRUTH]]
    assert np.median(errors) < 0.05
    assert len({row["true_scale"] for row in rows[TRUTH]}) == 8
    table = (tmp_path / "scale.md").read_text()
    assert "| median error |" in table
    assert "- camera height: 1.65 m" in table


def test_the_scale_of_real_frames(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "kitti_raw"
    if not root.is_dir():
        pytest.skip("REAL FRAMES MISSING: metric scale against lidar NOT tested")
    data = [f"--data.root={root}", "--data.cameras=[2]", "--images=3"]
    assert main(["benchmark", "scale", *data, f"--out={tmp_path}"]) == 0
    rows = json.loads((tmp_path / "scale.json").read_text())["rows"][TRUTH]
    assert all(abs(row["error"]) < 0.05 for row in rows)


def test_predict_in_metres_says_so(drive: Path, tmp_path: Path, capsys: CaptureText) -> None:
    """A random network: whatever scale it gets, every file has it."""
    config = NetworkConfig(encoder="resnet10-small", fusion="none", decoder_channels=(8, 8, 16, 16, 32))
    network, weights = build_depth_network(config, seed=0), tmp_path / "w.safetensors"
    save_weights(weights, network, extra={"image_size": [64, 128]})
    plain, metric = tmp_path / "plain", tmp_path / "metric"
    arguments = ["predict", str(drive / "image_02/data"), f"--weights={weights}", "--device=cpu"]
    assert main([*arguments, f"--out={plain}"]) == 0
    assert "up to scale" in capsys.readouterr().out
    assert main([*arguments, f"--out={metric}", "--camera_height=1.65", "--fov_deg=81"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "depth in metres" in said or "no image shows enough level road" in said
    with (metric / "metric_scale.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == sorted(p.name for p in (drive / "image_02/data").iterdir())
    assert not (plain / "metric_scale.csv").exists()
    for row in rows:
        before, after = (np.load(d / f"{Path(row['image']).stem}_depth.npy") for d in (plain, metric))
        assert row["unit"] == ("metres" if row["scale"] else "up to scale")
        assert (row["scale_of_image"] == "") == bool(row["why_no_plane"])
        np.testing.assert_allclose(after, before * float(row["scale"] or 1), rtol=1e-5)


def test_metres_are_filtered_and_kept_where_no_road_is_seen(tmp_path: Path) -> None:
    """Road 1 unit below the camera, then half a unit, then none, after an image without any."""
    rows = np.arange(64)[:, None] - 31.5
    seen = np.broadcast_to(rows > 2, (64, 96))
    depth = np.broadcast_to(np.where(rows > 2, 57.2 / np.maximum(rows, 1), 50), (64, 96)).astype(np.float32)
    road, sky = (np.where(seen, label, 10).astype(np.uint8) for label in (0, 10))
    network = build_depth_network(NetworkConfig(encoder="resnet10-small", fusion="none"), seed=0)
    metric = MetricScale(2.0, Cameras(intrinsics=(57.2, 57.2, 47.5, 31.5)), network)
    given = [(depth, sky), (depth, road), (depth / 2, road), (depth, sky)]
    (tmp_path / "metric_scale.csv").write_text("of another run\n")
    found = []
    for k, (d, labels) in enumerate(given):
        found.append(metric(f"{k}.png", Prediction(d, 1 / d, labels)))
        metric.note(tmp_path)
    assert found[0].scale is None
    assert [p.scale for p in found[1:]] == pytest.approx([2, 3, 3], rel=1e-3)
    np.testing.assert_allclose(found[2].depth, depth * 1.5, rtol=1e-3)
    with (tmp_path / "metric_scale.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [row["unit"] for row in written] == ["up to scale", "metres", "metres", "metres"]
    assert [bool(row["why_no_plane"]) for row in written] == [True, False, False, True]
    assert metric.summary().startswith("depth in metres: 3 (2 by their own road), 1 up to scale")


def test_predict_in_metres_of_bad_input(run: Path, drive: Path, tmp_path: Path, capsys: CaptureText) -> None:
    arguments = ["predict", str(drive / "image_02/data"), f"--weights={run}", f"--out={tmp_path / 'out'}"]
    assert "camera_height" in complaint([*arguments, "--fov_deg=80"], capsys)
    assert "depth-only" in complaint([*arguments, "--camera-height=1.65"], capsys)
    assert "metres" in complaint([*arguments, "--camera_height=-1", "--fov_deg=80"], capsys)
    assert "depth-only" in complaint([*arguments, "--camera_height=1.65", "--fov_deg=80"], capsys)
    assert not (tmp_path / "out").exists()
