"""The same exported file under OpenVINO: the same numbers, sizes, batches and refusals as under ONNX Runtime."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import semdepth
from semdepth.apps.cli import main
from semdepth.inference import onnx_session, opening, openvino_model
from semdepth.inference.onnx_session import OnnxNetwork
from semdepth.inference.openvino_model import SHAPES_KEPT, OpenvinoNetwork
from semdepth.runtime import InputError, computes_bfloat16

pytestmark = pytest.mark.usefixtures("graphs")


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def fixed(request: pytest.FixtureRequest, export_folder: Path, graphs: None) -> Path:
    """The network with both branches, for one size, in every precision."""
    out = export_folder / f"openvino_{request.param}.onnx"
    more = [f"--calibrate={export_folder / 'images'}"] if request.param == "int8" else []
    arguments = [str(export_folder / "both.safetensors"), f"--out={out}", f"--precision={request.param}", *more]
    assert main(["export", *arguments]) == 0
    return out


def test_both_engines_give_the_same(fixed: Path) -> None:
    """Up to rounding; in 8 bits a value that is rounded the other way is off by one step."""
    images = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    expected, found = OnnxNetwork(fixed, "cpu")(images), OpenvinoNetwork(fixed)(images)
    assert expected.logits is not None
    assert found.logits is not None
    pairs = ((found.disparity[0], expected.disparity[0]), (found.logits[0], expected.logits[0]))
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert ours.dtype == torch.float32
        off = (ours - theirs).abs() / theirs.abs().max()
        assert float(off.mean()) < (1e-5 if "fp32" in fixed.name else 5e-3)
        assert float(off.max()) < (1e-4 if "fp32" in fixed.name else 0.1)


def test_what_is_installed_decides_which_engine_runs(dynamic_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(semdepth.load(dynamic_export, "cpu").network, OpenvinoNetwork)
    monkeypatch.setattr(openvino_model, "is_usable", lambda: False)
    assert isinstance(semdepth.load(dynamic_export, "cpu").network, OnnxNetwork)
    monkeypatch.undo()
    monkeypatch.setattr(opening, "choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(onnx_session, "has_cuda", lambda: False)  # a GPU, and the ONNX Runtime for processors
    assert isinstance(opening.open_network(dynamic_export, "cpu")[0], OpenvinoNetwork)
    monkeypatch.setattr(onnx_session, "has_cuda", lambda: True)
    assert isinstance(opening.open_network(dynamic_export, "cpu")[0], OnnxNetwork)


@pytest.mark.parametrize("content", ["", "raise ImportError('libopenvino.so.2026: cannot open')"])
def test_a_broken_openvino_is_passed_over(
    content: str, dynamic_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of its name, and an installation whose libraries do not load."""
    (tmp_path / "openvino").mkdir()
    if content:
        (tmp_path / "openvino" / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "openvino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if "site-packages" not in p)])
    assert not openvino_model.is_usable()


def test_every_shape_has_its_own_graph_and_few_are_kept(dynamic_export: Path) -> None:
    network, expected = OpenvinoNetwork(dynamic_export), OnnxNetwork(dynamic_export, "cpu")
    shapes = [(batch, 3, 64, width) for batch in (1, 2) for width in (64, 96, 160)]
    for shape in (*shapes, shapes[0]):
        images = torch.rand(shape)
        assert torch.allclose(network(images).disparity[0], expected(images).disparity[0], atol=1e-5)
    assert len(network.requests) == SHAPES_KEPT


def test_threads_do_not_mix_their_images(dynamic_export: Path) -> None:
    network = OpenvinoNetwork(dynamic_export)
    images = torch.rand(16, 1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    expected = [network(image).disparity[0] for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: network(image).disparity[0], images))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_maps_outlive_the_next_pass(dynamic_export: Path) -> None:
    """The engine reuses its memory; what was given must not change with it."""
    network = OpenvinoNetwork(dynamic_export)
    first = network.run(np.zeros((1, 3, 64, 96), np.float32))[0]
    kept = first.copy()
    network.run(np.ones((1, 3, 64, 96), np.float32))
    assert np.array_equal(first, kept)


def test_a_fixed_size_is_named(fixed: Path) -> None:
    with pytest.raises(InputError, match="exported for 96×64 only"):
        OpenvinoNetwork(fixed)(torch.rand(1, 3, 96, 96))


def test_bfloat16_is_what_was_asked_for(fixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor has none, OpenVINO imitates it or stays in float32."""
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    network = semdepth.load(fixed, "cpu", precision="bf16").network
    assert isinstance(network, OpenvinoNetwork)
    exact, found = OpenvinoNetwork(fixed)(images).disparity[0], network(images).disparity[0]
    assert found.dtype == torch.float32
    assert float(((found - exact).abs() / exact).mean()) < 0.02
    used = network.requests[tuple(images.shape)].get_compiled_model().get_property("INFERENCE_PRECISION_HINT")
    assert "bfloat16" in str(used) or not computes_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(openvino_model, "is_usable", lambda: False)
    with pytest.raises(InputError, match="choose fp32 or bf16"):
        semdepth.load(fixed, "cpu", precision="bfloat16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ONNX Runtime computes in the precision that the file was exported in"):
        semdepth.load(fixed, "cpu", precision="bf16")
