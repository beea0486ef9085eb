"""What fuzz.py reads: for each target, the public reader that meets its files. The valid ones are made in fuzz_seeds.py."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_seeds import (
    CAM,
    CAMERA_JSON,
    NCNN_FILES,
    POSES,
    SPLIT,
    VELO,
    Seeds,
    checkpoint_seeds,
    depth_seeds,
    foreign_seeds,
    image_seeds,
    label_seeds,
    laser_seeds,
    ncnn_seeds,
    onnx_seeds,
    recipe_seeds,
    scan_seeds,
    texts,
    video_seeds,
    weight_seeds,
)

from semdepth.inference.exported import ExportedNetwork
from semdepth.inference.opening import trained_size
from semdepth.inference.predictor import Predictor
from semdepth.runtime import InputError


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


def read_recipe_case(path: Path) -> Any:
    """Parse a recipe into an experiment."""
    from semdepth.apps.recipes import parse_experiment

    return parse_experiment(["--config", str(path)], recipe_parser())


def read_weights_case(path: Path) -> Any:
    """Build and fill a depth network."""
    from semdepth.models.weights import load_depth_network

    return load_depth_network(path)[1]


def read_onnx_case(path: Path) -> Any:
    """Load an exported file with ONNX Runtime, and run it once if it loads."""
    from semdepth.inference.onnx_session import OnnxNetwork

    return run_export(path, OnnxNetwork(path, "cpu"))


def read_openvino_case(path: Path) -> Any:
    """Load an exported file with OpenVINO, and run it once if it loads."""
    from semdepth.inference.openvino_model import OpenvinoNetwork

    return run_export(path, OpenvinoNetwork(path))


def run_export(path: Path, network: ExportedNetwork) -> tuple[int, ...]:
    """Predict a single image, as ``semdepth.load`` makes an exported file ready."""
    size = trained_size(path, network, network.header.weights)
    return Predictor(network, size, "cpu").predict(np.zeros((24, 40, 3), np.uint8)).depth.shape


def read_ncnn_case(path: Path) -> Any:
    """Read an ncnn model's description, beside the files that it describes."""
    from semdepth.inference.ncnn_model import read_ncnn_header

    for suffix, content in NCNN_FILES.items():
        path.with_suffix(f".{suffix}").write_bytes(content)
    return read_ncnn_header(path.with_suffix(".param"))


def read_checkpoint_case(path: Path) -> Any:
    """Load the one checkpoint of a folder."""
    from semdepth.training.checkpoint import load_checkpoint

    folder = path.parent / "checkpoints"
    folder.mkdir(exist_ok=True)
    (folder / "step_00000007.ckpt").write_bytes(path.read_bytes())
    return load_checkpoint(folder)


def read_foreign_case(path: Path) -> Any:
    """Read a foreign ``.pth``."""
    from semdepth.models.foreign import read_tensors

    return {key: getattr(value, "shape", value) for key, value in read_tensors(path).items()}


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


def read_laser_case(path: Path) -> Any:
    """Read a laser grid."""
    from semdepth.data.make3d import read_laser_grid

    return read_laser_grid(path)


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
        Target("foreign", ".pth", foreign_seeds, read_foreign_case),
        Target("video", ".mp4", video_seeds, read_video_case),
        Target("laser", ".mat", laser_seeds, read_laser_case),
        Target("onnx", ".onnx", onnx_seeds, read_onnx_case),
        Target("openvino", ".onnx", onnx_seeds, read_openvino_case),
        Target("ncnn", ".json", ncnn_seeds, read_ncnn_case),
    )
}
"""Name → what to fuzz."""
