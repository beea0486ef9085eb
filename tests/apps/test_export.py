"""``semdepth export`` from end to end, every format, and what its files are worth."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import semdepth
from semdepth.apps.cli import main
from semdepth.inference import export as exporting
from semdepth.inference.onnx_file import metadata_of, read_export_header
from semdepth.runtime import InputError

from .conftest import EXPORT_CAMERA
from .test_bad_input import complaint

pytestmark = pytest.mark.usefixtures("graphs")
EXAMPLE = Path(__file__).parents[2] / "examples" / "deploy_onnx.py"


@pytest.fixture(scope="module")
def fp32(export_folder: Path) -> Path:
    assert main(["export", str(export_folder / "both.safetensors"), f"--out={export_folder / 'fp32.onnx'}"]) == 0
    return export_folder / "fp32.onnx"


def test_a_loaded_export_predicts_what_its_weights_do(export_folder: Path, fp32: Path) -> None:
    image = export_folder / "images" / "0.png"
    expected = semdepth.load(export_folder / "both.safetensors", "cpu").predict(image, flip=True)
    predictor = semdepth.load(fp32, "cpu")
    found = predictor.predict(image, flip=True)
    assert np.allclose(found.depth, expected.depth, rtol=1e-3)
    assert found.depth.shape == (90, 140)
    assert found.labels is not None
    assert np.mean(found.labels == expected.labels) > 0.99
    assert np.allclose(found.uncertainty, expected.uncertainty, atol=1e-3)
    assert predictor.image_size == (64, 96)
    assert np.allclose(predictor.intrinsics, EXPORT_CAMERA)


def test_the_file_says_what_it_is_and_not_where_it_was_made(fp32: Path) -> None:
    model = onnx.load(str(fp32))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["depth_range"]) == [0.1, 80.0]
    assert json.loads(facts["classes"])[0] == "road"
    assert json.loads(facts["image_size"]) == [64, 96]
    assert model.opset_import[0].version == exporting.OPSET
    assert [v.name for v in (*model.graph.input, *model.graph.output)] == ["image", "disparity", "logits"]
    assert b"site-packages" not in fp32.read_bytes()
    assert [p.name for p in fp32.parent.iterdir() if p.name.startswith(".")] == []


def test_dynamic_takes_any_multiple_and_any_batch(export_folder: Path, dynamic_export: Path) -> None:
    ours = semdepth.load(export_folder / "depth.safetensors", "cpu").network
    network = semdepth.load(dynamic_export, "cpu").network
    for shape in ((1, 3, 64, 64), (2, 3, 128, 96), (3, 3, 64, 160)):
        image = torch.rand(shape)
        with torch.inference_mode():
            assert torch.allclose(network(image).disparity[0], ours(image).disparity[0], atol=1e-5)
    for shape in ((1, 3, 65, 96), (1, 3, 32, 96)):
        with pytest.raises(InputError, match="multiples of 32"):
            network(torch.rand(shape))


def test_fixed_says_which_size_it_takes(fp32: Path) -> None:
    with pytest.raises(InputError, match="exported for 96×64 only"):
        semdepth.load(fp32, "cpu").network(torch.rand(1, 3, 96, 96))


def test_another_size_has_its_own_intrinsics(export_folder: Path) -> None:
    out = export_folder / "wide.onnx"
    assert main(["export", str(export_folder / "depth.safetensors"), f"--out={out}", "--size=64x192"]) == 0
    predictor = semdepth.load(out, "cpu")
    assert predictor.image_size == (64, 192)
    assert predictor.intrinsics is not None
    assert predictor.intrinsics[0, 0] == pytest.approx(120.0)
    assert predictor.predict(export_folder / "images" / "0.png").depth.shape == (90, 140)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 0.01), ("int8", 0.1)])
def test_lesser_precisions_are_smaller_and_near(
    export_folder: Path, dynamic_export: Path, precision: str, tolerance: float, capsys: pytest.CaptureFixture[str]
) -> None:
    out = export_folder / f"{precision}.onnx"
    more = [f"--calibrate={export_folder / 'images'}"] if precision == "int8" else []
    assert (
        main(["export", str(export_folder / "depth.safetensors"), f"--out={out}", f"--precision={precision}", *more])
        == 0
    )
    printed = capsys.readouterr().out
    assert precision in printed
    assert str(out) in printed
    assert out.stat().st_size < 0.6 * dynamic_export.stat().st_size
    assert read_export_header(out).precision == precision
    image = export_folder / "images" / "1.png"
    expected = semdepth.load(export_folder / "depth.safetensors", "cpu").predict(image).depth
    found = semdepth.load(out, "cpu").predict(image).depth
    assert np.mean(np.abs(found / expected - 1)) < tolerance
    assert not np.array_equal(found, expected)


def test_torch_programs_load_with_torch_alone(export_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = export_folder / "model.pt2"
    assert main(["export", str(export_folder / "depth.safetensors"), f"--out={out}", "--format=torch"]) == 0
    facts = {"semdepth.json": ""}
    module = torch.export.load(out, extra_files=facts).module()
    image = torch.rand(2, 3, 64, 96)
    network = exporting.ImageToDisparity(semdepth.load(export_folder / "depth.safetensors", "cpu").network)
    assert torch.allclose(module(image)[0], network(image)[0], rtol=1e-3)
    assert json.loads(json.loads(facts["semdepth.json"])["image_size"]) == [64, 96]
    assert "torch.export.load" in complaint(["predict", str(export_folder / "images"), "--weights", str(out)], capsys)


def test_an_export_that_differs_is_not_kept(
    export_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dynamic_export: Path,
) -> None:
    def broken(*_: object) -> onnx.ModelProto:
        model = onnx.load(str(dynamic_export))
        weights = next(t for t in model.graph.initializer if len(t.dims) == 4)
        values = onnx.numpy_helper.to_array(weights) * 1.05
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return model

    monkeypatch.setattr(exporting, "make_graph", broken)
    arguments = [
        "export",
        str(export_folder / "depth.safetensors"),
        f"--out={tmp_path / 'model.onnx'}",
        "--size=dynamic",
    ]
    assert "differs from its network" in complaint(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


def test_the_header_comes_back_as_it_went(dynamic_export: Path) -> None:
    header = read_export_header(dynamic_export)
    assert header.dynamic
    assert header.weights.config.max_depth == 80.0
    facts = {entry.key: entry.value for entry in onnx.load(str(dynamic_export)).metadata_props}
    assert facts == metadata_of(header)
    assert "classes" not in facts  # a network without a segmentation branch has none


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size=60x96"], "multiples of 32 from 64"),
        (["--size=big"], "height x width"),
        (["--precision=int8"], "belong together"),
        (["--calibrate=."], "belong together"),
        (["--precision=fp16", "--format=torch"], "writes fp32"),
        (["--out=model.bin"], "must be called model.onnx"),
        (["--images=0"], "at least 1"),
        (["--precision=int8", "--calibrate=nowhere"], "nowhere"),
        (["--precision=int8", "--calibrate=bare"], "holds no images"),
        (["--precision=int8", "--calibrate=broken"], "none of its images can be read"),
        (["--out=file/model.onnx"], "cannot be written"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], says: str, export_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, dynamic_export: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        exporting, "make_graph", lambda *_: onnx.load(str(dynamic_export))
    )  # the slow step; it is not asked here
    for name in ("bare", "broken"):
        Path(name).mkdir()
    Path("broken/a.png").write_bytes(b"no image")
    Path("file").write_text("")
    assert says in complaint(["export", str(export_folder / "depth.safetensors"), *arguments], capsys)
    assert not list(tmp_path.glob("*.onnx"))


def test_exports_are_not_exported_again(dynamic_export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is an export already" in complaint(["export", str(dynamic_export)], capsys)


def test_the_example_needs_no_torch(export_folder: Path, fp32: Path, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60
    photo = tmp_path / "photo.png"
    Image.open(export_folder / "images" / "0.png").save(photo)
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys(("torch", "semdepth", "transformers", "onnx")))  # None: as if not installed
sys.argv = ["deploy_onnx.py", {str(fp32)!r}, {str(photo)!r}]
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    depth = np.load(tmp_path / "photo_depth.npy")
    expected = semdepth.load(fp32, "cpu").predict(photo).depth
    assert depth.shape == expected.shape
    assert np.allclose(depth, expected, rtol=0.01)
    assert Image.open(tmp_path / "photo_disparity.png").size == (140, 90)
