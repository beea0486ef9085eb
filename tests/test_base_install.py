"""The base install predicts without any extra; what needs an extra says so in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

EXTRAS = (
    "lightning_fabric",
    "numba",
    "tensorboard",
    "av",
    "cv2",
    "evo",
    "webdataset",
    "scipy",
    "onnx",
    "onnxruntime",
    "openvino",
    "gradio",
    "trimesh",
    "OpenEXR",
    "pytest",
    "hypothesis",
)
WITHOUT_EXTRAS = f"""
import sys
sys.modules.update(dict.fromkeys({EXTRAS!r}))  # None: as if not installed
from semdepth.apps.cli import main
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS + code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_synthesise_and_predict_need_no_extra(tmp_path: Path) -> None:
    done = python(f"""
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights
network = build_depth_network(NetworkConfig(encoder="resnet10-small"), seed=0)
save_weights({str(tmp_path / "w.safetensors")!r}, network, extra={{"image_size": [64, 96]}})
assert main(["synthesise", {str(tmp_path)!r}, "--drives=1", "--frames=1", "--height=64", "--width=96"]) == 0
arguments = ["--weights", {str(tmp_path / "w.safetensors")!r}, "--out", {str(tmp_path / "out")!r}]
assert main(["predict", {str(tmp_path)!r}, *arguments]) == 0
""")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*_depth.npy"))) == 1


def test_training_names_the_extra_it_needs(tmp_path: Path) -> None:
    done = python(f"sys.exit(main(['train', '--run', {str(tmp_path / 'run')!r}, '--data.root', '/nowhere']))")
    assert done.returncode == 2
    assert "pip install '.[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_is_cheap() -> None:
    done = python("import semdepth; assert not {'torch', 'numpy', 'transformers'} & sys.modules.keys()")
    assert done.returncode == 0, done.stderr
