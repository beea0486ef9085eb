"""Exports that are damaged, foreign or too large are refused in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import semdepth
from semdepth.inference import onnx_file, openvino_model
from semdepth.inference.onnx_file import read_export_header
from semdepth.runtime import InputError

from .test_bad_input import complaint


def cut(good: bytes) -> bytes:
    return good[: len(good) // 2]


def foreign(good: bytes) -> bytes:
    model = onnx.load_from_string(good)
    del model.metadata_props[:]
    return model.SerializeToString()


def empty_graph(good: bytes) -> bytes:
    model = onnx.load_from_string(good)
    del model.graph.node[:]
    return model.SerializeToString()


def newer(good: bytes) -> bytes:
    model = onnx.load_from_string(good)
    entry = next(e for e in model.metadata_props if e.key == "semdepth")
    entry.value = entry.value.replace('"export_version": 1', '"export_version": 9')
    return model.SerializeToString()


def other_size(good: bytes) -> bytes:
    model = onnx.load_from_string(good)
    entry = next(e for e in model.metadata_props if e.key == "semdepth")
    entry.value = entry.value.replace("[64, 96]", "[65, 96]")
    return model.SerializeToString()


def no_such_channel(good: bytes) -> bytes:
    """Loads, and fails when it is run."""
    model = onnx.load_from_string(good)
    for node in model.graph.node:
        node.input[:] = ["three" if name == "image" else name for name in node.input]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 1, 9]), "channels"))
    model.graph.node.insert(0, onnx.helper.make_node("Gather", ["image", "channels"], ["three"], axis=1))
    return model.SerializeToString()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file that should be refused is predicted with all the same."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["OpenVINO", "ONNX Runtime"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two opens ONNX files."""
    if request.param == "ONNX Runtime":
        monkeypatch.setattr(openvino_model, "is_usable", lambda: False)
    return str(request.param)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("damage", "says"),
    [(cut, "no whole ONNX"), (foreign, "not from semdepth"), (empty_graph, "cannot load it"), (newer, "newer"),
     (other_size, "damaged semdepth header"), (lambda _: b"", "is empty"), (lambda _: b"MZ" * 999, "no whole ONNX")],
)  # fmt: skip
def test_bad_files_are_one_line(
    damage: Callable[[bytes], bytes],
    says: str,
    dynamic_export: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(damage(dynamic_export.read_bytes()))
    said = complaint(["predict", str(dynamic_export.parent / "images"), "--weights", str(bad)], capsys)
    assert says in said
    assert str(bad) in said
    assert ".cpp" not in said  # what is wrong, not where in its engine's source that was found


@pytest.mark.parametrize("engine", ["ONNX Runtime"], indirect=True)
@pytest.mark.usefixtures("engine")
def test_what_fails_when_it_is_run_is_one_line(
    dynamic_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenVINO takes a channel that is not there for zeros."""
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(no_such_channel(dynamic_export.read_bytes()))
    said = complaint(["predict", str(dynamic_export.parent / "images"), "--weights", str(bad)], capsys)
    assert "cannot run it" in said
    assert str(bad) in said


@pytest.mark.usefixtures("engine")
def test_what_is_no_text_is_not_printed(
    dynamic_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime prints lines of its own about an operator whose name is no UTF-8."""
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(dynamic_export.read_bytes().replace(b"\x22\x04Conv", b"\x22\x04Con\xff"))
    capsys.readouterr()
    with pytest.raises(InputError, match="cannot load it"):
        semdepth.load(bad, "cpu")
    assert not "".join(capsys.readouterr())


def test_huge_files_are_not_read(dynamic_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="over 2 GB"):
        read_export_header(dynamic_export)
