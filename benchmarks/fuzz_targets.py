"""What fuzz.py reads: for each target, how its valid files are made, and the public reader that meets them."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from semdepth.runtime import InputError

Seeds = Callable[[Path], list[bytes]]


@dataclass(frozen=True)
class Target:
    """A kind of file."""

    name: str
    suffix: str
    seeds: Seeds
    """Given an empty folder, returns the contents of valid files."""
    read: Callable[[Path], Any]
    """The public reader, on the path of a spoilt file."""
    repair: Callable[[bytes], bytes] | None = None
    """Makes checksums right again, so that damage gets past them; applied to most cases."""

    def read_or_refuse(self, path: Path, content: bytes) -> str:
        """Read one content; return what came of it. Errors that are no InputError pass."""
        path.write_bytes(content)
        try:
            return f"read: {str(self.read(path))[:300]}"
        except InputError as error:
            return f"refused: {error}"


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Return a picture of noise."""
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file's bytes."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def image_seeds(folder: Path) -> list[bytes]:
    """Return pictures in every format that is read, palettes, alpha, 16 bits and EXIF among them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray((np.arange(960, dtype=np.uint16) * 64).reshape(24, 40))
    return [
        encoded(picture(), "PNG"), encoded(picture("P"), "PNG"), encoded(picture("RGBA"), "PNG"), encoded(deep, "PNG"),
        encoded(picture(), "JPEG", exif=exif), encoded(picture("CMYK"), "JPEG"), encoded(picture(), "BMP"),
        encoded(picture(), "WEBP", lossless=True), encoded(picture(), "TIFF", exif=exif), encoded(picture("L"), "PPM"),
        encoded(picture(), "TIFF", compression="tiff_lzw"), encoded(picture(), "PPM"),
    ]  # fmt: skip


def repair_png(content: bytes) -> bytes:
    """Make the chunks' checksums right."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return content
    data, place = bytearray(content), 8
    while place + 12 <= len(data):
        length = struct.unpack(">I", data[place : place + 4])[0]
        end = place + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(data)


def label_seeds(folder: Path) -> list[bytes]:
    """Return label PNGs."""
    labels = np.random.default_rng(1).integers(0, 19, (24, 40)).astype(np.uint8)
    labels[:4] = 255
    coloured = Image.fromarray(labels, mode="P")
    coloured.putpalette(list(range(256)) * 3)
    return [encoded(Image.fromarray(labels), "PNG"), encoded(coloured, "PNG")]


def depth_seeds(folder: Path) -> list[bytes]:
    """Return 16-bit depth PNGs."""
    return [encoded(Image.fromarray((np.arange(960, dtype=np.uint16) * 60).reshape(24, 40)), "PNG")]


CAM = """calib_time: 09-Jan-2012 13:57:47
S_rect_02: 1.242000e+03 3.750000e+02
R_rect_00: 9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 7.402527e-03 4.351614e-03 9.999631e-01
P_rect_02: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 0 0 1 2.745884e-03
"""
VELO = """calib_time: 15-Mar-2012 11:37:16
R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 9.998621e-01 7.523790e-03 1.480755e-02
T: -4.069766e-03 -7.631618e-02 -2.717806e-01
"""


def scan_seeds(folder: Path) -> list[bytes]:
    """Return lidar scans."""
    points = np.random.default_rng(2).uniform(-20, 60, (60, 4)).astype("<f4")
    return [points.tobytes(), points[:1].tobytes()]


def project(path: Path, cam: bytes, velo: bytes, scan: bytes) -> Any:
    """Project a scan by the calibration in one folder; one of the three is the case."""
    from semdepth.data.lidar import camera_from_lidar, velodyne_depth

    folder = path.parent / "date"
    folder.mkdir(exist_ok=True)
    (folder / "calib_cam_to_cam.txt").write_bytes(cam)
    (folder / "calib_velo_to_cam.txt").write_bytes(velo)
    (folder / "scan.bin").write_bytes(scan)
    camera_from_lidar.cache_clear()
    return velodyne_depth(folder, folder / "scan.bin")


def read_calibration_case(path: Path) -> Any:
    """Read a case as either calibration file of a date."""
    content = path.read_bytes()
    cam, velo = (CAM.encode(), content) if b"R_rect" not in content else (content, VELO.encode())
    return project(path, cam, velo, scan_seeds(path.parent)[0])


def read_scan_case(path: Path) -> Any:
    """Project a case as a scan."""
    return project(path, CAM.encode(), VELO.encode(), path.read_bytes())


def read_image_case(path: Path) -> Any:
    """Read an image, its size and its focal length."""
    from semdepth.images import focal_35mm, read_image

    return read_image(path).shape, focal_35mm(path)


def read_label_case(path: Path) -> Any:
    """Read labels as trainIds, as ids and as confidence; the last word counts."""
    from semdepth.images import read_confidence, read_labels

    read_confidence(path, is_entropy=True)
    return read_labels(path)


def read_depth_case(path: Path) -> Any:
    """Read a depth PNG."""
    from semdepth.images import read_depth_png

    return read_depth_png(path)


def read_split_case(path: Path) -> Any:
    """Read a list of frames."""
    from semdepth.data.kitti import read_split

    return read_split(path)


def read_poses_case(path: Path) -> Any:
    """Read camera poses."""
    from semdepth.data.calibration import read_poses

    return read_poses(path)


def read_camera_case(path: Path) -> Any:
    """Read a camera file of Cityscapes."""
    from semdepth.data.cityscapes import read_camera

    return read_camera(path)


@cache
def recipe_parser() -> Any:
    """Return the parser of recipes; building one takes longer than a case."""
    from semdepth.apps.recipes import experiment_parser

    return experiment_parser()


def recipe_seeds(folder: Path) -> list[bytes]:
    """Return the repository's training recipes."""
    recipes = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))
    return [path.read_bytes() for path in recipes if not path.name.startswith("ablation")]


def read_recipe_case(path: Path) -> Any:
    """Parse a recipe into an experiment."""
    from semdepth.apps.recipes import parse_experiment

    return parse_experiment(["--config", str(path)], recipe_parser())


def weight_seeds(folder: Path) -> list[bytes]:
    """Return a small network's weights, without its tensors' bulk."""
    from semdepth.models.network import NetworkConfig, build_depth_network
    from semdepth.models.weights import save_weights

    config = NetworkConfig(
        encoder="resnet10-small", pose_encoder="resnet10-small", decoder_channels=(4, 4, 4, 4, 4), fusion="depth-only"
    )
    save_weights(folder / "weights.safetensors", build_depth_network(config), extra={"image_size": [64, 128]})
    return [(folder / "weights.safetensors").read_bytes()]


def read_weights_case(path: Path) -> Any:
    """Build and fill a depth network."""
    from semdepth.models.weights import load_depth_network

    return load_depth_network(path)[1]


def onnx_seeds(folder: Path) -> list[bytes]:
    """Return what `semdepth export` writes of a small network, and the same without most of its graph."""
    import onnx

    from semdepth.apps.export import export

    weights = folder / "weights.safetensors"
    weights.write_bytes(weight_seeds(folder)[0])
    with contextlib.redirect_stdout(io.StringIO()):
        export(weights, folder / "model.onnx")
    whole = (folder / "model.onnx").read_bytes()
    model = onnx.load_from_string(whole)
    del model.graph.node[1:], model.graph.initializer[:]
    model.metadata_props.sort(key=lambda entry: entry.key)
    return [whole, model.SerializeToString()]


def read_onnx_case(path: Path) -> Any:
    """Load an exported file, and run it once if it loads."""
    import semdepth

    return semdepth.load(path, "cpu").predict(np.zeros((24, 40, 3), np.uint8)).depth.shape


def checkpoint_seeds(folder: Path) -> list[bytes]:
    """Return a small checkpoint."""
    from semdepth.training.checkpoint import save_checkpoint

    state = {"learner": {"w": torch.arange(4.0)}, "optimiser": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    state |= {"precision": {}, "best": 1.0, "watch": {"streaks": {}, "told": {}}}
    return [save_checkpoint(folder, 7, state).read_bytes()]


def read_checkpoint_case(path: Path) -> Any:
    """Load the one checkpoint of a folder."""
    from semdepth.training.checkpoint import load_checkpoint

    folder = path.parent / "checkpoints"
    folder.mkdir(exist_ok=True)
    (folder / "step_00000007.ckpt").write_bytes(path.read_bytes())
    return load_checkpoint(folder)


def video_seeds(folder: Path) -> list[bytes]:
    """Return clips of four frames."""
    import av

    found = []
    for codec, suffix in (("mpeg4", "mp4"), ("mjpeg", "avi"), ("mpeg4", "mkv")):
        path = folder / f"clip.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height = 40, 24
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.array(picture()), "rgb24")))
            container.mux(stream.encode())
        found.append(path.read_bytes())
    return found


def read_video_case(path: Path) -> Any:
    """Read every frame, at most a hundred: mutations may make videos long."""
    from semdepth.movie import open_movie, read_frames

    count = 0
    for frame in read_frames(open_movie(path)):
        frame.rgb(), frame.grey(16)
        count += 1
        if count == 100:
            break
    return count


def laser_seeds(folder: Path) -> list[bytes]:
    """Return a laser grid of Make3D."""
    from scipy.io import savemat

    grid = np.random.default_rng(3).uniform(1, 80, (55, 305, 4)).round(1)
    savemat(folder / "grid.mat", {"Position3DGrid": grid}, do_compression=True)
    savemat(folder / "plain.mat", {"Position3DGrid": grid[:2]})
    return [(folder / "grid.mat").read_bytes(), (folder / "plain.mat").read_bytes()]


def read_laser_case(path: Path) -> Any:
    """Read a laser grid."""
    from semdepth.data.make3d import read_laser_grid

    return read_laser_grid(path)


def texts(*contents: str) -> Seeds:
    """Return seeds that are texts."""
    return lambda folder: [content.encode() for content in contents]


CAMERA_JSON = json.dumps(
    {
        "extrinsic": {"baseline": 0.209313, "pitch": 0.038, "x": 1.7},
        "intrinsic": {"fx": 2262.52, "fy": 2265.3, "u0": 1096.98, "v0": 513.137},
    }
)
SPLIT = "2011_09_26/2011_09_26_drive_0002_sync 69 l\n2011_09_26/2011_09_26_drive_0002_sync 0000000054 r\n"
POSES = "1 0 0 0 0 1 0 0 0 0 1 0\n9.99e-01 5.2e-04 -2.0e-03 -4.6e-02 -5.2e-04 9.9e-01 -1.1e-03 -2.8e-02 2e-03 1e-03 1 8.5e-01\n"

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("image", ".png", image_seeds, read_image_case, repair_png),
        Target("label", ".png", label_seeds, read_label_case, repair_png),
        Target("depth", ".png", depth_seeds, read_depth_case, repair_png),
        Target("calibration", ".txt", texts(CAM, VELO), read_calibration_case),
        Target("lidar", ".bin", scan_seeds, read_scan_case),
        Target("split", ".txt", texts(SPLIT), read_split_case),
        Target("poses", ".txt", texts(POSES), read_poses_case),
        Target("camera", ".json", texts(CAMERA_JSON), read_camera_case),
        Target("recipe", ".yaml", recipe_seeds, read_recipe_case),
        Target("weights", ".safetensors", weight_seeds, read_weights_case),
        Target("checkpoint", ".ckpt", checkpoint_seeds, read_checkpoint_case),
        Target("video", ".mp4", video_seeds, read_video_case),
        Target("laser", ".mat", laser_seeds, read_laser_case),
        Target("onnx", ".onnx", onnx_seeds, read_onnx_case),
    )
}
"""Name → what to fuzz."""
