"""``semdepth benchmark infer`` on a tiny network: every form takes its turn, and the file keeps its other keys."""

import json
from pathlib import Path

import pytest
import torch

from semdepth.apps.cli import main
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights
from semdepth.runtime import computes_bfloat16

from .test_bad_input import complaint


@pytest.mark.usefixtures("in_this_process")
def test_forms_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = NetworkConfig(encoder="resnet10-small", decoder_channels=(8, 8, 8, 8, 8))
    save_weights(tmp_path / "w.safetensors", build_depth_network(config, seed=0), extra={"image_size": [64, 64]})
    (tmp_path / "performance.json").write_text('{"load": {"ratio": 4.0}}')
    more = [f"--out={tmp_path}", "--rounds=2", "--batch=2", "--device=cpu"]
    assert main(["benchmark", "infer", f"--weights={tmp_path / 'w.safetensors'}", *more]) == 0
    found = json.loads((tmp_path / "performance.json").read_text())
    assert found["load"] == {"ratio": 4.0}
    exported = {f"{engine} {precision}" for engine in ("ONNX", "OpenVINO", "ncnn") for precision in ("fp32", "int8")}
    has_bf16 = computes_bfloat16(torch.device("cpu"))
    in_bf16 = (
        {f"{form} (bf16)" for form in ("torch as loaded", "OpenVINO fp32", "OpenVINO int8")} if has_bf16 else set()
    )
    forms = {"torch as trained", "torch as loaded"} | exported | in_bf16
    exact = {form for form in exported if form.endswith("fp32")} | {"torch as loaded"}
    recorded = {"infer_cpu": exact, "infer_cpu_int8": {form for form in forms if "int8" in form}}
    if has_bf16:
        recorded["infer_cpu_bf16"] = {form for form in in_bf16 if "int8" not in form}
    assert set(found) == {"load", *recorded}
    for key, rivals in recorded.items():
        row = found[key]
        assert set(row["all"]) == forms | {f"{name}, {mode} of 2" for name in forms for mode in ("stream", "batch")}
        assert row["unit"] == "ms"
        assert set(row["peak_gb"]) == forms
        assert set(row["gflop"]) == set(row["roofline_share"]) == {form for form in forms if form.startswith("torch")}
        assert min(row["gflop"].values()) > 0.01, "convolutions are counted"
        assert row["form"] in rivals
        assert row["ours"] == pytest.approx(row["all"][f"{row['form']}, stream of 2"], rel=0.01)
        assert row["ours"] <= min(row["all"][f"{form}, stream of 2"] for form in rivals) * 1.01  # the fastest
        assert row["ratio"] == pytest.approx(row["reference"] / row["ours"], rel=0.02)
    assert "| ONNX int8, batch of 2 |" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--rounds=0", "--batch=0"])
def test_nothing_is_measured_in_no_rounds(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "at least 1" in complaint(["benchmark", "infer", option], capsys)
