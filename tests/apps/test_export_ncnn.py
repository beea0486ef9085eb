"""``semdepth export --format ncnn`` from end to end, and what damaged models of it say."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import ncnn
import numpy as np
import pytest
import torch

import semdepth
from semdepth.apps.cli import main
from semdepth.apps.predict_resume import Settings
from semdepth.inference import ncnn_export
from semdepth.inference.exported import files_of
from semdepth.inference.files import digest_of
from semdepth.inference.ncnn_model import NcnnNetwork, read_ncnn_header
from semdepth.runtime import InputError

from .conftest import EXPORT_CAMERA
from .test_bad_input import complaint

FILES = {"model.ncnn.param", "model.ncnn.bin", "model.ncnn.json"}


@pytest.fixture(scope="module")
def model(export_folder: Path) -> Path:
    out = export_folder / "ncnn" / "model.ncnn.param"
    assert main(["export", str(export_folder / "both.safetensors"), f"--out={out}", "--format=ncnn"]) == 0
    return out


def test_a_loaded_model_predicts_what_its_weights_do(export_folder: Path, model: Path) -> None:
    assert {path.name for path in model.parent.iterdir()} == FILES
    image = export_folder / "images" / "0.png"
    expected = semdepth.load(export_folder / "both.safetensors", "cpu").predict(image, flip=True)
    predictor = semdepth.load(model)
    found = predictor.predict(image, flip=True)
    assert np.allclose(found.depth, expected.depth, rtol=1e-3)
    assert np.mean(found.labels == expected.labels) > 0.99
    assert np.allclose(found.uncertainty, expected.uncertainty, atol=1e-3)
    assert predictor.image_size == (64, 96)
    assert np.allclose(predictor.intrinsics, EXPORT_CAMERA)


def test_several_images_at_once_and_the_command(export_folder: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["predict", str(export_folder / "images"), "--weights", str(model), f"--out={tmp_path}"]
    assert main([*arguments, "--batch=3", "--save=depth_npy"]) == 0
    expected = semdepth.load(export_folder / "both.safetensors", "cpu")
    for image in sorted((export_folder / "images").iterdir()):
        assert np.allclose(
            np.load(next(tmp_path.rglob(f"{image.stem}*.npy"))), expected.predict(image).depth, rtol=1e-3
        )


def test_ncnn_alone_reads_the_files(model: Path) -> None:
    """As a phone does: no torch, no semdepth, the names and ranges of docs/deployment.md."""
    net = ncnn.Net()
    assert net.load_param(str(model)) == 0
    assert net.load_model(str(files_of(model)[1])) == 0
    facts = json.loads(files_of(model)[2].read_text())
    height, width = facts["image_size"]
    nearest, farthest = facts["depth_range"]
    image = np.random.default_rng(0).random((3, height, width), dtype=np.float32)
    with net.create_extractor() as extractor:
        extractor.input("in0", ncnn.Mat(image).clone())
        disparity, logits = (np.array(extractor.extract(name)[1]) for name in ("out0", "out1"))
    assert disparity.shape == (1, height, width)
    assert logits.shape == (len(facts["classes"]), height, width)
    assert 1 / farthest - 1e-6 <= disparity.min() <= disparity.max() <= 1 / nearest + 1e-6


def test_another_size_says_which_it_takes(model: Path) -> None:
    with pytest.raises(InputError, match="this ncnn model was exported for 96×64 only"):
        NcnnNetwork(model)(torch.rand(1, 3, 64, 128))


def test_in_8_bits(
    export_folder: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ncnn_export, "_convert", lambda *_: _copied(model, tmp_path / "made"))  # the slow step
    out = tmp_path / "out" / "int8.ncnn.param"
    more = ["--format=ncnn", "--precision=int8", f"--calibrate={export_folder / 'images'}"]
    assert main(["export", str(export_folder / "both.safetensors"), f"--out={out}", *more]) == 0
    assert "ncnn, int8, 96×64" in capsys.readouterr().out
    assert files_of(out)[1].stat().st_size < 0.45 * files_of(model)[1].stat().st_size
    assert read_ncnn_header(out).precision == "int8"
    image = export_folder / "images" / "0.png"
    expected, found = (semdepth.load(path).predict(image) for path in (model, out))
    relative = np.abs(found.depth / expected.depth - 1)
    assert 1e-5 < relative.mean() < 0.05
    assert np.mean(found.labels == expected.labels) > 0.8


def cut_weights(param: Path) -> None:
    weights = files_of(param)[1]
    weights.write_bytes(weights.read_bytes()[:-1000])


def other_graph(param: Path) -> None:
    param.write_text(param.read_text().replace("Sigmoid", "TanH"))


def no_description(param: Path) -> None:
    files_of(param)[2].unlink()


def no_json(param: Path) -> None:
    files_of(param)[2].write_text("[1, 2")


def foreign_json(param: Path) -> None:
    files_of(param)[2].write_text("[1, 2]")


def of_any_size(param: Path) -> None:
    description = files_of(param)[2]
    description.write_text(description.read_text().replace('"dynamic": false', '"dynamic": true'))


def newer(param: Path) -> None:
    description = files_of(param)[2]
    facts = json.loads(description.read_text())
    facts["semdepth"]["export_version"] = 9
    description.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut_weights, "model.ncnn.bin: is damaged, or of another export than model.ncnn.json"),
        (other_graph, "model.ncnn.param: is damaged"),
        (no_description, "model.ncnn.json"),
        (no_json, "is no description by semdepth export"),
        (foreign_json, "is no description by semdepth export"),
        (newer, "newer than this semdepth"),
        (of_any_size, "says what no ncnn model of semdepth is"),
    ],
)
def test_damaged_models_are_one_line(
    damage: Callable[[Path], None], says: str, export_folder: Path, model: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = shutil.copytree(model.parent, tmp_path / "copy")
    damage(folder / model.name)
    images = str(export_folder / "images")
    options = [f"--weights={folder / model.name}", f"--out={tmp_path / 'out'}"]
    assert says in complaint(["predict", images, *options], capsys)


def test_an_export_that_differs_is_not_kept(
    export_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    convert = ncnn_export._convert

    def broken(*given: object) -> tuple[Path, ...]:
        files = convert(*given)  # type: ignore[arg-type]
        weights = np.fromfile(files[1], dtype=np.float32)
        (weights * 1.05).tofile(files[1])
        return files

    monkeypatch.setattr(ncnn_export, "_convert", broken)
    out = tmp_path / "model.ncnn.param"
    arguments = ["export", str(export_folder / "depth.safetensors"), f"--out={out}", "--format=ncnn"]
    assert "differs from its network" in complaint(arguments, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out=model.param"], "must be called model.ncnn.param"),
        (["--precision=fp16"], "--format ncnn writes fp32 or int8, not fp16"),
        (["--precision=int8"], "--calibrate FOLDER belong together"),
        (["--precision=int8", "--calibrate=bare"], "holds no images"),
        (["--size=dynamic"], "writes a fixed --size"),
        (["--out=file/model.ncnn.param"], "cannot be written"),
        (["--out=taken/model.ncnn.param"], "is a folder where a file is to be written"),
    ],
)
def test_bad_options_are_one_line(
    arguments: list[str], says: str, export_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, model: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("bare").mkdir()
    Path("taken/model.ncnn.bin").mkdir(parents=True)
    monkeypatch.setattr(ncnn_export, "_convert", lambda *_: _copied(model, tmp_path / "made"))  # the slow step
    weights = str(export_folder / "both.safetensors")
    assert says in complaint(["export", weights, "--format=ncnn", *arguments], capsys)
    assert not [path for path in tmp_path.rglob("*.ncnn.*") if path.is_file() and path.parent.name != "made"]


def _copied(model: Path, folder: Path) -> tuple[Path, ...]:
    copy = shutil.copytree(model.parent, folder) / model.name
    return files_of(copy)


def test_a_network_that_cannot_be_converted_says_so(
    export_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(export_folder / "depth.safetensors"), f"--out={tmp_path / 'm.ncnn.param'}"]
    for program, says in (("/bin/false", "cannot be converted to ncnn"), ("/no/such", "pnnx, which converts to ncnn")):
        monkeypatch.setattr("pnnx.EXEC_PATH", program)
        assert says in complaint([*arguments, "--format=ncnn"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_predictions_of_other_weights_are_not_taken_for_done(export_folder: Path, model: Path, tmp_path: Path) -> None:
    """The graph is the same text for all weights of an architecture."""
    folder = shutil.copytree(model.parent, tmp_path / "copy")
    before = digest_of(files_of(folder / model.name))
    assert before == digest_of(files_of(model))
    weights = files_of(folder / model.name)[1]
    weights.write_bytes(weights.read_bytes()[::-1])
    assert digest_of(files_of(folder / model.name)) != before
    assert Settings(tmp_path, folder / model.name, tmp_path, {})._text != Settings(tmp_path, model, tmp_path, {})._text


def test_a_device_that_is_not_there_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="device"):
        semdepth.load(model, "nonsense")


@pytest.mark.parametrize(("code", "size", "says"), [(0, 2, "maps of another size"), (-1, 64, "a layer fails")])
def test_nonsense_from_the_engine_is_refused(model: Path, code: int, size: int, says: str) -> None:
    class Nonsense:
        def create_extractor(self) -> nullcontext:
            return nullcontext(self)

        def input(self, *_: object) -> None: ...

        def extract(self, _: str) -> tuple[int, np.ndarray]:
            return code, np.zeros((1, size, 96), np.float32)

    network = NcnnNetwork(model)
    network.net = Nonsense()
    with pytest.raises(InputError, match=f"ncnn cannot run it .{says}"):
        network(torch.rand(1, 3, 64, 96))


def test_models_are_not_exported_again(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is an export already" in complaint(["export", str(model)], capsys)


def test_the_description_comes_back_as_it_went(model: Path) -> None:
    header = read_ncnn_header(model)
    assert header.weights.config.fusion == "ssfa"
    assert (header.precision, header.dynamic) == ("fp32", False)
