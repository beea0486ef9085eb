"""Valid files that fuzz.py spoils: for each kind the contents of a few small ones, made here."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

Seeds = Callable[[Path], list[bytes]]
"""Given an empty folder, returns the contents of valid files."""

CAM = """calib_time: 09-Jan-2012 13:57:47
S_rect_02: 1.242000e+03 3.750000e+02
R_rect_00: 9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 7.402527e-03 4.351614e-03 9.999631e-01
P_rect_02: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 0 0 1 2.745884e-03
"""
VELO = """calib_time: 15-Mar-2012 11:37:16
R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 9.998621e-01 7.523790e-03 1.480755e-02
T: -4.069766e-03 -7.631618e-02 -2.717806e-01
"""
CAMERA_JSON = json.dumps(
    {
        "extrinsic": {"baseline": 0.209313, "pitch": 0.038, "x": 1.7},
        "intrinsic": {"fx": 2262.52, "fy": 2265.3, "u0": 1096.98, "v0": 513.137},
    }
)
SPLIT = "2011_09_26/2011_09_26_drive_0002_sync 69 l\n2011_09_26/2011_09_26_drive_0002_sync 0000000054 r\n"
POSES = "1 0 0 0 0 1 0 0 0 0 1 0\n9.99e-01 5.2e-04 -2.0e-03 -4.6e-02 -5.2e-04 9.9e-01 -1.1e-03 -2.8e-02 2e-03 1e-03 1 8.5e-01\n"


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


def scan_seeds(folder: Path) -> list[bytes]:
    """Return lidar scans."""
    points = np.random.default_rng(2).uniform(-20, 60, (60, 4)).astype("<f4")
    return [points.tobytes(), points[:1].tobytes()]


def recipe_seeds(folder: Path) -> list[bytes]:
    """Return the repository's training recipes."""
    recipes = sorted((Path(__file__).resolve().parents[1] / "recipes").glob("*.yaml"))
    return [path.read_bytes() for path in recipes if not path.name.startswith("ablation")]


def weight_seeds(folder: Path) -> list[bytes]:
    """Return a small network's weights, without its tensors' bulk."""
    from semdepth.models.network import NetworkConfig, build_depth_network
    from semdepth.models.weights import save_weights

    config = NetworkConfig(
        encoder="resnet10-small", pose_encoder="resnet10-small", decoder_channels=(4, 4, 4, 4, 4), fusion="depth-only"
    )
    torch.manual_seed(0)
    save_weights(folder / "weights.safetensors", build_depth_network(config), extra={"image_size": [64, 128]})
    return [(folder / "weights.safetensors").read_bytes()]


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


NCNN_FILES = {"param": b"7767517\n0 0\n", "bin": b"weights"}
"""What stands beside a description in ``ncnn_seeds``: it is hashed, and by the reader of headers never built."""


def ncnn_seeds(folder: Path) -> list[bytes]:
    """Return the description that `semdepth export --format ncnn` writes beside a small network."""
    from semdepth.inference.ncnn_export import describe
    from semdepth.inference.onnx_file import ExportHeader
    from semdepth.models.weights import load_depth_network

    weights = folder / "weights.safetensors"
    weights.write_bytes(weight_seeds(folder)[0])
    files = [folder / f"model.ncnn.{suffix}" for suffix in NCNN_FILES]
    for file, content in zip(files, NCNN_FILES.values(), strict=True):
        file.write_bytes(content)
    network, header = load_depth_network(weights)
    facts = describe(ExportHeader(header, network.size_multiple, dynamic=False, precision="fp32"), files)
    return [json.dumps(facts, indent=indent).encode() for indent in (None, 1)]


def checkpoint_seeds(folder: Path) -> list[bytes]:
    """Return a small checkpoint."""
    from semdepth.training.checkpoint import save_checkpoint

    state = {"learner": {"w": torch.arange(4.0)}, "optimiser": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    state |= {"precision": {}, "best": 1.0, "watch": {"streaks": {}, "told": {}}}
    return [save_checkpoint(folder, 7, state).read_bytes()]


def foreign_seeds(folder: Path) -> list[bytes]:
    """Return small files of tensors as research code saves them: zipped, and in the older way."""
    content = {"module.encoder.conv1.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "height": 64, "width": 96}
    path, found = folder / "encoder.pth", []
    for zipped in (True, False):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        found.append(path.read_bytes())
    return found


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


def laser_seeds(folder: Path) -> list[bytes]:
    """Return a laser grid of Make3D."""
    from scipy.io import savemat

    grid = np.random.default_rng(3).uniform(1, 80, (55, 305, 4)).round(1)
    savemat(folder / "grid.mat", {"Position3DGrid": grid}, do_compression=True)
    savemat(folder / "plain.mat", {"Position3DGrid": grid[:2]})
    return [(folder / "grid.mat").read_bytes(), (folder / "plain.mat").read_bytes()]


def texts(*contents: str) -> Seeds:
    """Return seeds that are texts."""
    return lambda folder: [content.encode() for content in contents]
