"""``semdepth report`` from end to end: the page holds what the runs' files say, and asks nothing of anybody."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from semdepth.apps.cli import main
from semdepth.apps.report_data import look_again, worst_and_best
from semdepth.apps.report_pictures import _sparse, data_uri
from semdepth.apps.run_folder import read_run_folder
from semdepth.evaluation.bootstrap import paired_bootstrap
from semdepth.models.weights import load_depth_network, save_weights
from semdepth.training.ablation_summary import read_run

from .made_runs import made_run
from .test_bad_input import complaint

CaptureText = pytest.CaptureFixture[str]
VOID = {"meta", "img", "br", "link", "path", "use"}


class Page(HTMLParser):
    """What a page is made of, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.images = 0
        self.names: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.addresses += [str(v) for k, v in attributes if k in ("src", "href", "xlink:href", "action", "data")]
        self.names += [str(found["id"])] if "id" in found else []
        self.images += tag == "img"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def runs(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two judged runs, one with a segmentation branch; the first with baselines."""
    folder = tmp_path_factory.mktemp("runs")
    full = made_run(folder / "<full>", world)
    depth = made_run(folder / "depth-only", world, fusion="depth-only", seed=1)
    assert main(["evaluate", str(full), "--device=cpu"]) == 0
    assert main(["evaluate", str(depth), "--device=cpu", "--baselines=false"]) == 0
    return full, depth


@pytest.fixture(scope="module")
def page(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "two.html"
    arguments = ["report", *map(str, runs), f"--out={out}", "--images=1", "--frames=4", "--device=cpu"]
    assert main(arguments) == 0
    return out.read_text()


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    found = Page(page)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in found.addresses)
    assert not re.search(r"url\((?!#)|@import|<script|<link", page)
    linked = {address[1:] for address in found.addresses if address.startswith("#")}
    assert linked <= set(found.names)
    assert len(found.names) == len(set(found.names))  # also those inside the charts
    assert found.images == 2 * (2 + 4 + 2)  # two frames: image and truth, four of the full run, two of the other
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    assert "<full>" not in page


def test_the_page_holds_the_runs_numbers(page: str, runs: tuple[Path, Path]) -> None:
    for run in runs:
        interval = json.loads((run / "evaluation.json").read_text())["intervals"]["abs_rel"]
        assert f"{interval['mean']:.3f}" in page
        assert f"{interval['low']:.3f} – {interval['high']:.3f}" in page
    one, other = (read_run(run / "evaluation.json") for run in runs)
    paired = paired_bootstrap(other.images["abs_rel"], one.images["abs_rel"], one.groups).difference
    assert f"{paired.mean:+.4f}<small>{paired.low:+.4f} … {paired.high:+.4f}</small>" in page
    for text in (
        "untrained network",
        "best constant depth",
        "mean depth map",
        "validation/abs_rel",
        "train/photometric",
    ):
        assert text in page
    for text in ("AbsRel by class", "AbsRel by scene", "AbsRel by place", "IoU by class", "calibration error", "AUSE"):
        assert text in page
    worst, best = worst_and_best(read_run_folder(runs[0]), 1)
    assert page.index(worst[0]) < page.index(best[0])


def test_the_looks_agree_with_the_evaluation(runs: tuple[Path, Path]) -> None:
    """The closer look takes the judge's path: every frame's AbsRel, and the calibration error, are the evaluation's."""
    run = read_run_folder(runs[0])
    assert run.evaluation is not None
    wanted = {row["name"]: row["errors"]["abs_rel"] for row in run.evaluation["rows"]}
    seen = look_again(run, list(wanted), 100, "cpu")
    assert seen.note is None
    assert {name: look.abs_rel for name, look in seen.looks.items()} == pytest.approx(wanted, rel=1e-5)
    sums = seen.trust.calibration
    error = np.abs(sums[:, 2] - sums[:, 1]).sum() / sums[:, 0].sum()
    assert error == pytest.approx(run.evaluation["segmentation"]["calibration_error"], rel=1e-4)


def test_one_run_writes_into_its_folder(runs: tuple[Path, Path], capsys: CaptureText) -> None:
    assert main(["report", str(runs[1]), "--images=0", "--frames=0", "--device=cpu"]) == 0
    out = runs[1] / "report.html"
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    Page(text)
    assert "Image by image" not in text
    assert "says nothing of its uncertainty" in text


def test_without_the_data_the_page_says_so(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[0], run)
    found = json.loads((run / "evaluation.json").read_text())
    found["data"]["root"] = "/gone/away"
    (run / "evaluation.json").write_text(json.dumps(found))
    assert main(["report", str(run), "--images=1", "--device=cpu"]) == 0
    text = (run / "report.html").read_text()
    Page(text)
    assert "No pictures of run: /gone/away" in text
    assert "AbsRel by class" in text


def test_an_older_evaluation_is_shown_from_the_validation_data(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[0], run)
    found = json.loads((run / "evaluation.json").read_text())
    for key in ("data", "flip", "weights", "baselines"):
        del found[key]
    (run / "evaluation.json").write_text(json.dumps(found))
    assert len(look_again(read_run_folder(run), [found["rows"][0]["name"]], 0, "cpu").looks) == 1
    found["rows"][0]["name"] = "another/frame"
    (run / "evaluation.json").write_text(json.dumps(found))
    assert "another/frame was judged, but" in str(look_again(read_run_folder(run), ["another/frame"], 0, "cpu").note)


def test_no_pictures_of_other_weights(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs[0], run)
    weights = run / json.loads((run / "evaluation.json").read_text())["weights"]
    network, header = load_depth_network(weights)
    for parameter in network.depth_decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_weights(weights, network, extra=header.extra)
    assert main(["report", str(run), "--images=1", "--device=cpu"]) == 0
    assert "weights have changed" in (run / "report.html").read_text()


def test_runs_that_were_not_judged(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """As of those who have no ground truth: how they were made, their curves, what training saw."""
    unjudged = [tmp_path / run.name for run in runs]
    for run, copy in zip(runs, unjudged, strict=True):
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("evaluation*"))
    (unjudged[0] / "panels").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((20, 3000, 3), dtype=np.uint8)).save(unjudged[0] / "panels/step_99999999.png")
    shutil.rmtree(unjudged[1] / "panels", ignore_errors=True)
    assert main(["report", *map(str, unjudged), "--device=cpu"]) == 0
    page = (unjudged[0] / "report.html").read_text()
    assert "Not judged" in page
    assert "What training saw" in page
    assert "step_99999999: image, disparity" in page
    assert "train/loss" in page
    assert "Worst images" not in page
    (unjudged[0] / "panels/step_99999999.png").write_bytes(b"torn")
    assert main(["report", str(unjudged[0]), "--device=cpu"]) == 0
    assert "no panels" in (unjudged[0] / "report.html").read_text()


def test_bad_input(runs: tuple[Path, Path], tmp_path: Path, capsys: CaptureText) -> None:
    full, depth = map(str, runs)
    assert "no such run folder" in complaint(["report", str(tmp_path / "nowhere")], capsys)
    assert "no run folder" in complaint(["report", str(tmp_path)], capsys)
    assert "required: runs" in complaint(["report"], capsys)
    assert "is given twice" in complaint(["report", full, full], capsys)
    assert "must not be negative" in complaint(["report", full, "--images=-1"], capsys)
    assert "device" in complaint(["report", full, "--device=quantum"], capsys)
    assert "is a folder" in complaint(["report", full, f"--out={tmp_path}"], capsys)
    other = tmp_path / "other"
    shutil.copytree(depth, other)
    found = json.loads((other / "evaluation.json").read_text())
    for change, said in {
        "protocol": "judged differently (protocol synthetic and kitti_eigen)",
        "rows": "judged on different images",
    }.items():
        changed = found | {"protocol": "kitti_eigen"} if change == "protocol" else found | {"rows": found["rows"][1:]}
        (other / "evaluation.json").write_text(json.dumps(changed))
        assert said in complaint(["report", full, str(other)], capsys)
    (other / "evaluation.json").write_text("{}")
    assert "is no evaluation" in complaint(["report", str(other)], capsys)
    (other / "evaluation.json").unlink()
    assert f"semdepth evaluate {other}" in complaint(["report", full, str(other)], capsys)
    file = tmp_path / "file"
    file.write_text("")
    line = complaint(
        ["report", full, "--images=0", "--frames=0", f"--out={file / 'page.html'}", "--device=cpu"], capsys
    )
    assert "cannot be written" in line


def test_pictures() -> None:
    wide = np.zeros((40, 1300, 3), dtype=np.uint8)
    assert data_uri(wide).startswith("data:image/png;base64,")
    wide[20, 100] = 255
    thick = _sparse(wide)
    assert (thick[19:22, 99:102] == 255).all()
    assert thick.any(axis=2).sum() == 9
    dense = np.full((4, 4, 3), 7, dtype=np.uint8)
    assert _sparse(dense) is dense
