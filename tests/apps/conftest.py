"""A world small enough to go through every command in a test."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from semdepth.apps import benchmark_apart
from semdepth.apps.cli import main
from semdepth.inference import export as exporting
from semdepth.models.network import DepthNetwork, NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights

SMALL = [
    "--network.encoder=resnet10-small", "--network.pose_encoder=resnet10-small", "--trainer.batch=2",
    "--trainer.workers=0", "--trainer.accelerator=cpu",
]  # fmt: skip
TWO_BRANCHES = NetworkConfig(encoder="resnet10-small", fusion="none", decoder_channels=(8, 8, 16, 16, 32))
EXPORT_CAMERA = [[60.0, 0.0, 47.5], [0.0, 60.0, 31.5], [0.0, 0.0, 1.0]]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered drives of four frames at 64×128, written by the command itself."""
    out = tmp_path_factory.mktemp("world")
    assert main(["synthesise", str(out), "--drives=2", "--frames=4", "--height=64", "--width=128"]) == 0
    return out


@pytest.fixture(scope="session")
def run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps on that world."""
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = [f"--run={out}", f"--data.root={world}", "--data.height=64", "--data.width=128", "--trainer.steps=3"]
    judged = [
        f"--validation.root={world}",
        "--validation.height=64",
        "--validation.width=128",
        "--validation.labels=exact",
    ]
    assert main(["train", *arguments, *judged, "--validation.require_depth=true", "--allow_leak=true", *SMALL]) == 0
    return out


@pytest.fixture
def recipe(world: Path, tmp_path: Path) -> Path:
    """An ablation's recipe of one step on that world."""
    path = tmp_path / "tiny.yaml"
    size = "height: 64, width: 128"
    path.write_text(
        "allow_leak: true\n"
        f"data: {{root: {world}, {size}}}\n"
        f"validation: {{root: {world}, {size}, labels: exact, frames: [0, 2]}}\n"
        "network: {encoder: resnet10-small, pose_encoder: resnet10-small, decoder_channels: [8, 8, 16, 16, 32]}\n"
        "objective: {ranking: 0.02}\n"
        "trainer: {batch: 2, steps: 1, workers: 0, accelerator: cpu}\n"
    )
    return path


@pytest.fixture(scope="session")
def export_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of both kinds of network, three images, and the files that are exported from them."""
    out = tmp_path_factory.mktemp("export")
    for name, fusion in (("both", "ssfa"), ("depth", "depth-only")):
        config = NetworkConfig(
            encoder="resnet10-small", decoder_channels=(8, 8, 8, 8, 8), fusion=fusion, max_depth=80.0
        )
        network = build_depth_network(config, seed=0)
        for module in network.modules():  # statistics as after training: an untrained norm hides a wrong one
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        save_weights(out / f"{name}.safetensors", network, extra={"image_size": [64, 96], "intrinsics": EXPORT_CAMERA})
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    (out / "images").mkdir()
    for i in range(3):
        Image.fromarray(np.roll(pixels, 2 * i, 1)).resize((140, 90)).save(out / "images" / f"{i}.png")
    return out


@pytest.fixture(scope="module")
def graphs() -> Iterator[None]:
    """Let torch trace equal networks once: its exporter takes seconds for each."""
    made: dict[tuple[object, ...], onnx.ModelProto] = {}
    make = exporting.make_graph

    def remembered(network: DepthNetwork, size: tuple[int, int], dynamic: bool) -> onnx.ModelProto:
        key = (network.config, size, dynamic)
        if key not in made:
            made[key] = make(network, size, dynamic)
        return copy.deepcopy(made[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "make_graph", remembered)
        yield


@pytest.fixture(scope="session")
def dynamic_export(export_folder: Path) -> Path:
    """The depth-only network as ONNX of any size."""
    arguments = [
        "export",
        str(export_folder / "depth.safetensors"),
        f"--out={export_folder / 'dynamic.onnx'}",
        "--size=dynamic",
    ]
    assert main(arguments) == 0
    return export_folder / "dynamic.onnx"


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a benchmark's contestants in threads of this process: one of their own takes seconds to start."""

    class Here(ThreadPoolExecutor):
        def __init__(self, workers: int, mp_context: object) -> None:
            super().__init__(workers)

    monkeypatch.setattr(benchmark_apart, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(benchmark_apart, "_HERE", {})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two branches, and a camera that the weights know."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    camera = [[60.0, 0, 47.5], [0, 60.0, 31.5], [0, 0, 1]]
    save_weights(path, build_depth_network(TWO_BRANCHES, seed=0), extra={"image_size": [64, 96], "intrinsics": camera})
    return f"--weights={path}"
