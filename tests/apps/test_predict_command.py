"""``semdepth predict`` from end to end: every kind of input, every output, and what cannot be used."""

import os
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import trimesh
from PIL import Image

import semdepth
from semdepth.apps.cli import main
from semdepth.apps.parser import underscored
from semdepth.apps.predict_inputs import find_inputs
from semdepth.inference.outputs import SUFFIXES
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights
from semdepth.runtime import InputError

from .conftest import TWO_BRANCHES
from .test_bad_input import complaint

RANDOM = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
CaptureText = pytest.CaptureFixture[str]


def test_bfloat16(tmp_path: Path, weights: str) -> None:
    """Nearly the same depth, which is not what was predicted in float32."""
    Image.fromarray(RANDOM).save(tmp_path / "a.png")
    given = ["predict", str(tmp_path / "a.png"), weights, f"--out={tmp_path}", "--save=depth_npy"]
    found = []
    for precision in ("fp32", "bf16"):
        assert main([*given, f"--precision={precision}"]) == 0
        found.append(np.load(tmp_path / "a_depth.npy"))
    off = np.abs(found[1] / found[0] - 1).mean()
    assert 1e-6 < off < 0.02


def test_every_kind_of_image(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    colour = Image.fromarray(RANDOM)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°
    colour.save(photos / "turned.jpg", exif=exif)
    colour.convert("L").save(photos / "grey.png")
    colour.convert("RGBA").save(photos / "alpha.png")
    colour.convert("P").save(photos / "palette.gif.png")
    colour.convert("CMYK").save(photos / "cmyk.jpg")
    colour.convert("1").save(photos / "bits.png")
    Image.fromarray(RANDOM[..., 0].astype(np.uint16) * 256).save(photos / "deep.png")
    colour.resize((7, 5)).save(photos / "tiny.webp")
    colour.resize((900, 20)).save(photos / "wide.bmp")
    (photos / "zero.png").touch()
    (photos / "cut.jpg").write_bytes((photos / "turned.jpg").read_bytes()[:200])
    assert main(["predict", str(photos), weights, f"--out={out}", "--save=depth_npy", "--batch=4"]) == 0
    assert "9 images, 2 passed over" in capsys.readouterr().out
    sizes = {p.name.removesuffix("_depth.npy"): np.load(p).shape for p in out.glob("*.npy")}
    assert sizes.pop("turned") == (60, 40)
    assert sizes.pop("tiny") == (5, 7)
    assert sizes.pop("wide") == (20, 900)
    assert set(sizes.values()) == {(40, 60)}
    assert len(sizes) == 6


def test_a_stopped_command_goes_on_where_it_was(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in "abc":
        Image.fromarray(RANDOM).save(photos / f"{name}.png")
    given = ["predict", str(photos), weights, f"--out={out}", "--save=depth_npy,disparity"]

    def done_again(*more: str) -> str:
        """Return the images whose files were written anew, by age: they are aged before."""
        before = {p: p.stat().st_mtime_ns for p in out.glob("*.npy")}
        assert main([*given, *more]) == 0
        return "".join(sorted(p.name[0] for p in out.glob("*.npy") if p.stat().st_mtime_ns != before.get(p)))

    assert done_again() == "abc"
    capsys.readouterr()
    assert done_again() == ""
    assert "0 images, 3 were there already (--overwrite true predicts them again)" in capsys.readouterr().out
    (out / "b_disparity.png").unlink()
    assert done_again() == "b"
    Image.fromarray(RANDOM[::-1]).save(tmp_path / "other.png")
    os.utime(tmp_path / "other.png", (1e9, 1e9))
    os.replace(tmp_path / "other.png", photos / "c.png")
    assert done_again() == "c"  # another image, though an older one
    assert done_again("--save=depth_npy") == ""
    assert done_again("--save=depth_npy,panel") == "abc"
    assert done_again("--flip=true") == "abc"  # other options
    assert done_again("--flip=true") == ""
    assert done_again() == "abc"
    assert done_again("--overwrite=true") == "abc"
    other = tmp_path / "w.safetensors"
    save_weights(other, build_depth_network(TWO_BRANCHES, seed=1), extra={"image_size": [64, 96]})
    os.utime(other, (1e9, 1e9))
    given[2] = f"--weights={other}"
    assert done_again() == "abc"  # other weights, though older than the predictions
    (photos / "broken.png").write_bytes(b"no image")
    capsys.readouterr()
    assert done_again() == ""
    assert "0 images, 1 passed over, 3 were there already" in capsys.readouterr().out


def test_an_image_of_the_same_name_is_another(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    """Two cameras' frames have the same names; neither passes for the other, nor a photo for its twin of another format."""
    out = tmp_path / "out"
    old = (1e9, 1e9)
    for name, size in (("a/0.png", (8, 8)), ("b/0.png", (12, 9)), ("b/0.bmp", (10, 7))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RANDOM).resize(size).save(tmp_path / name)
        os.utime(tmp_path / name, old)
    for name, shape in (("a/0.png", (8, 8)), ("b/0.png", (9, 12)), ("b/0.bmp", (7, 10)), ("b/0.png", (9, 12))):
        assert main(["predict", str(tmp_path / name), weights, f"--out={out}", "--save=depth_npy"]) == 0
        assert np.load(out / "0_depth.npy").shape == shape
    assert "there already" not in capsys.readouterr().out
    (tmp_path / "b" / "0.bmp").rename(tmp_path / "b" / "0.BMP")
    assert main(["predict", str(tmp_path / "b" / "0.BMP"), weights, f"--out={out}", "--save=depth_npy"]) == 0
    assert np.load(out / "0_depth.npy").shape == (7, 10)
    (tmp_path / "b").rename(tmp_path / "c")
    (tmp_path / "a").rename(tmp_path / "b")
    assert main(["predict", str(tmp_path / "b" / "0.png"), weights, f"--out={out}", "--save=depth_npy"]) == 0
    assert np.load(out / "0_depth.npy").shape == (8, 8)


def test_globs_leave_out_what_was_predicted(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    Image.fromarray(RANDOM).save(tmp_path / "x.png")
    given = ["predict", str(tmp_path / "*.png"), weights, f"--out={tmp_path}"]
    assert main(given) == 0
    before = sorted(tmp_path.iterdir())
    assert main([*given, "--overwrite=true"]) == 0
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "clip_depth.mp4").touch()
    assert list(find_inputs([str(tmp_path / "*.mp4")], tmp_path).videos) == [tmp_path / "clip.mp4"]
    assert "predicted before" in complaint(["predict", str(tmp_path / "*_depth.png")], capsys)


def test_weights_are_no_image(weights: str, capsys: CaptureText) -> None:
    assert "give it with --weights" in complaint(["predict", weights.partition("=")[2]], capsys)


def test_a_run_is_no_folder_of_images(run: Path, tmp_path: Path, capsys: CaptureText) -> None:
    """Its training panels were predicted, where the arguments had been swapped."""
    assert "is a run, no folder of images" in complaint(["predict", str(run), f"--out={tmp_path / 'out'}"], capsys)
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_too_long_is_one_line(capsys: CaptureText) -> None:
    assert "no path that can be opened" in complaint(["predict", f"{'a' * 300}.png"], capsys)


def test_every_output(tmp_path: Path, weights: str) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.fromarray(RANDOM).save(photo)
    given = ["predict", str(photo), weights, f"--out={out}", f"--save={','.join(SUFFIXES)}"]
    assert main(given) == 0
    assert {p.name for p in out.iterdir()} == {"predict.json"} | {f"photo_{suffix}" for suffix in SUFFIXES.values()}
    expected = semdepth.load(weights.partition("=")[2]).predict(photo)
    depth = np.load(out / "photo_depth.npy")
    np.testing.assert_array_equal(depth, expected.depth)
    np.testing.assert_array_equal(OpenEXR.File(str(out / "photo_depth.exr")).channels()["Z"].pixels, depth)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "photo_labels.png")), expected.labels)
    uncertainty = np.asarray(Image.open(out / "photo_uncertainty.png")) / 65535
    np.testing.assert_allclose(uncertainty, expected.uncertainty, atol=1e-5)
    cloud = trimesh.load(out / "photo_points.ply")
    points = np.asarray(cloud.vertices)
    pixels = points @ np.array(((37.5, 0, 29.5), (0, 37.5, 19.5), (0, 0, 1.0))).T  # 60 at 96 wide is 37.5 at 60 wide
    x, y = np.round(pixels[:, :2] / pixels[:, 2:]).astype(int).T
    np.testing.assert_allclose(depth[y, x], points[:, 2], rtol=1e-5)
    np.testing.assert_array_equal(RANDOM[y, x], np.asarray(cloud.colors)[:, :3])
    assert main([*given[:-1], "--save=ply", "--fov-deg=90", "--out", str(tmp_path / "wider")]) == 0
    wider = np.asarray(trimesh.load(tmp_path / "wider" / "photo_points.ply").vertices)
    assert np.abs(wider[:, 0]).max() > np.abs(points[:, 0]).max()


def test_an_image_without_points_stops_nothing(tmp_path: Path, weights: str, capsys: CaptureText) -> None:
    Image.fromarray(RANDOM).save(tmp_path / "a.png")
    given = ["predict", str(tmp_path / "a.png"), weights, f"--out={tmp_path / 'out'}", "--save=ply,glb,depth_npy"]
    assert main([*given, "--max-depth=0.001", "--fov-deg=60"]) == 0
    assert "no point is left; raise max_depth" in " ".join(capsys.readouterr().out.split())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_depth.npy", "predict.json"]


def test_images_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("frame 10", "frame 9", "frame 100"):
        Image.fromarray(RANDOM).save(tmp_path / f"{name}.png")
    for given in (str(tmp_path), str(tmp_path / "*.png")):
        found = find_inputs([given], tmp_path / "out").images
        assert [path.stem for path in found] == ["frame 9", "frame 10", "frame 100"]


def test_names_follow_the_tree(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RANDOM).save(tmp_path / name)
    (tmp_path / "clip.mp4").touch()
    out = Path("out")

    def names(*given: str) -> list[str]:
        found = find_inputs([str(tmp_path / g) for g in given], out)
        return sorted(str(p) for p in [*found.images.values(), *found.videos.values()])

    assert names("a/0.png") == ["out/0"]
    assert names("b") == ["out/0", "out/1"]
    assert names("*/0.png") == ["out/a/0", "out/b/0"]
    assert names("**/*.jpg") == ["out/1"]
    assert names("a", "b", "b/1.jpg") == ["out/a/0", "out/b/0", "out/b/1"]
    assert names("clip.mp4", "a") == ["out/a/0", "out/clip"]
    assert find_inputs(["webcam", "webcam:2"], out).webcams == {0: out / "webcam", 2: out / "webcam_2"}


def test_what_cannot_be_used(
    tmp_path: Path, weights: str, capsys: CaptureText, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, square = tmp_path / "photo.png", tmp_path / "square.png"
    Image.fromarray(RANDOM).save(photo)
    Image.new("RGB", (50, 50)).save(square)
    rest = [weights, f"--out={tmp_path / 'out'}"]
    with monkeypatch.context() as patched:
        patched.setattr("semdepth.inference.box.NAMES", {"rendered": "absent.safetensors"})
        assert "weights in the box are missing" in complaint(["predict", str(photo), rest[1]], capsys)
    assert "matches no file" in complaint(["predict", str(tmp_path / "*.tif"), *rest], capsys)
    assert "depth_npy" in complaint(["predict", str(photo), *rest, "--save=obj"], capsys)
    assert "save nothing" in complaint(["predict", str(photo), *rest, "--save=,"], capsys)
    assert "batch" in complaint(["predict", str(photo), *rest, "--batch=0"], capsys)
    assert "framed otherwise" in complaint(["predict", str(square), *rest, "--save=ply"], capsys)
    assert "not both" in complaint(
        ["predict", str(photo), *rest, "--save=ply", "--fov-deg=60", "--intrinsics=[50,50,30,20]"], capsys
    )
    assert "camera_height" in complaint(["predict", str(photo), *rest, "--fov-deg=60"], capsys)
    plain = tmp_path / "plain.safetensors"
    config = NetworkConfig(encoder="resnet10-small", fusion="depth-only", decoder_channels=(8, 8, 16, 16, 32))
    save_weights(plain, build_depth_network(config, seed=0), extra={"image_size": [64, 96]})
    depth_only = [f"--weights={plain}", rest[1]]
    assert "unknown to these weights" in complaint(["predict", str(photo), *depth_only, "--save=glb"], capsys)
    assert "depth-only" in complaint(["predict", str(photo), *depth_only, "--save=labels"], capsys)

    def forbid(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbid)
    assert "Permission denied" in complaint(["predict", str(tmp_path), *rest], capsys)


def test_dashes_and_underscores_are_one() -> None:
    given = ["a-b", "--fov-deg", "-1", "--camera-height=1-2", "--data.min-size=3", "--out=a-b", "--", "--fov-deg"]
    assert underscored(given) == [
        "a-b", "--fov_deg", "-1", "--camera_height=1-2", "--data.min_size=3", "--out=a-b", "--", "--fov-deg",
    ]  # fmt: skip


def test_intrinsics_of_an_image_of_another_size() -> None:
    from semdepth.inference.cameras import Cameras

    with pytest.raises(InputError, match="principal point"):
        Cameras(intrinsics=(50, 50, 300, 20)).matrix((40, 60))


def test_what_is_refused_leaves_no_folder(tmp_path: Path, capsys: CaptureText) -> None:
    photo, weights, out = tmp_path / "a.png", tmp_path / "w.safetensors", tmp_path / "out"
    Image.fromarray(RANDOM).save(photo)
    save_weights(weights, build_depth_network(TWO_BRANCHES, seed=0), extra={"image_size": [64, 96]})
    given = ["predict", str(photo), f"--weights={weights}"]
    assert "intrinsics" in complaint([*given, "--save=ply", f"--out={out}"], capsys)
    assert not out.exists()
    assert "is a file; give a folder as --out" in complaint([*given, f"--out={photo}"], capsys)
