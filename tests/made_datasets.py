"""Tiny trees in the exact layouts of Cityscapes and Make3D, from the rendered world: its depth is known exactly."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from semdepth.labels import CLASSES
from semdepth.synthetic.drive import Drive, render_drive, world_seed

SMALLER = 16
"""The frames are 2048×1024 made smaller by this; camera files and disparities go on speaking of the full size."""
HEIGHT, WIDTH = 1024 // SMALLER, 2048 // SMALLER
BASELINE = 0.209313
RECORDINGS = {  # split, city, sequence: frame numbers, labelled frame
    ("train", "aachen", "000000"): (range(17, 22), 19),
    ("train", "aachen", "000001"): (range(17, 22), 19),
    ("train", "hamburg", "000000"): ([4081, 4082, 4083, 4084, 4085, 4099], 4083),  # numbered through, with a gap
    ("val", "frankfurt", "000001"): (range(40, 45), 42),
    ("test", "bonn", "000003"): (range(17, 22), 19),
}
VIEWS = ("math7-p-282t0", "math7-p-313t0", "op57-p-108t000")


def write_png(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def label_ids(train_ids: np.ndarray) -> np.ndarray:
    """Return gtFine's label ids; 0 (unlabelled) where there is no trainId."""
    table = np.zeros(256, dtype=np.uint8)
    for c in CLASSES:
        table[c.train_id] = c.label_id
    return table[train_ids]


def camera_file(drive: Drive) -> dict[str, dict[str, float]]:
    """Return a camera file's content: the rendered camera in pixels of the full size."""
    (fx, _, cx), (_, fy, cy), _ = drive.intrinsics.double().tolist()
    u0, v0 = ((c + 0.5) * SMALLER - 0.5 for c in (cx, cy))
    intrinsic = {"fx": fx * SMALLER, "fy": fy * SMALLER, "u0": u0, "v0": v0}
    pose = {"pitch": 0.038, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": -0.0195, "z": 1.22}
    return {"extrinsic": {"baseline": BASELINE} | pose, "intrinsic": intrinsic}


def write_cityscapes(root: Path, drive: Drive) -> Path:
    """Write every recording; frame k of each shows frame k of the drive."""
    camera = camera_file(drive)
    for (split, city, sequence), (numbers, labelled) in RECORDINGS.items():
        for k, number in enumerate(numbers):
            name = f"{city}_{sequence}_{number:06d}"
            images = root / "leftImg8bit_sequence" / split / city
            write_png(images / f"{name}_leftImg8bit.png", drive.images[k].permute(1, 2, 0).numpy())
            noisy = images / "segmentation"
            write_png(noisy / "data" / f"{name}_leftImg8bit.png", drive.labels[k].numpy())
            write_png(noisy / "entropy" / f"{name}_leftImg8bit.png", np.full((HEIGHT, WIDTH), 51, np.uint8))
            if number != labelled:
                continue
            path = root / "camera" / split / city / f"{name}_camera.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(camera, indent=4))
            depth = drive.depth[k, 0].double().numpy()
            known = depth > 0
            disparity = BASELINE * camera["intrinsic"]["fx"] / np.where(known, depth, 1)
            values = np.where(known, np.rint(disparity * 256 + 1), 0).astype(np.uint16)
            write_png(root / "disparity" / split / city / f"{name}_disparity.png", values)
            fine, ids = root / "gtFine" / split / city, label_ids(drive.labels[k].numpy())
            write_png(fine / f"{name}_gtFine_labelIds.png", ids)
            write_png(fine / f"{name}_gtFine_instanceIds.png", ids.astype(np.uint16) * 1000)
            if city == "hamburg":
                write_png(fine / f"{name}_gtFine_labelTrainIds.png", drive.labels[k].numpy())
    return root


def write_make3d(root: Path, drive: Drive) -> Path:
    """Write one test image a frame; the laser sees the sky at its longest range, 81 m."""
    for k, view in enumerate(VIEWS):
        path = root / "Test134" / f"img-{view}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drive.images[k].permute(1, 2, 0).numpy()).save(path, quality=95)
        depth = drive.depth[k, 0].double().numpy()
        height, width = depth.shape
        rows, columns = ((np.arange(n) + 0.5) / n for n in (55, 305))
        seen = depth[(rows * height).astype(int)[:, None], (columns * width).astype(int)]
        seen = np.where(seen > 0, seen, 81.0)
        grid = np.stack([np.zeros_like(seen), seen, np.zeros_like(seen), seen], axis=-1)
        (root / "Gridlaserdata").mkdir(exist_ok=True)
        savemat(root / "Gridlaserdata" / f"depth_sph_corr-{view}.mat", {"Position3DGrid": grid}, do_compression=True)
    return root


@pytest.fixture(scope="session")
def city_drive() -> Drive:
    return render_drive(world_seed("test", 0), 6, HEIGHT, WIDTH)


@pytest.fixture(scope="session")
def upright_drive() -> Drive:
    return render_drive(world_seed("test", 1), len(VIEWS), 128, 96)


@pytest.fixture(scope="session")
def city_tree(city_drive: Drive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cityscapes, not to be written to."""
    return write_cityscapes(tmp_path_factory.mktemp("cityscapes"), city_drive)


@pytest.fixture(scope="session")
def make3d_tree(upright_drive: Drive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make3D, not to be written to."""
    return write_make3d(tmp_path_factory.mktemp("make3d"), upright_drive)
