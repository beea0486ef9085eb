"""``semdepth benchmark pairs`` on rendered drives and on hand-made truths."""

import json
from pathlib import Path

import pytest

from semdepth.apps.benchmark_pairs import measure_pairs, open_exact, open_judged
from semdepth.apps.benchmark_record import made_by, record
from semdepth.apps.cli import main
from semdepth.data.catalog import DataConfig
from semdepth.data.synthetic_frames import SyntheticConfig
from semdepth.evaluation.pair_quality import rule_sets
from semdepth.losses.pair_config import PairConfig
from semdepth.models.network import NetworkConfig, build_depth_network
from semdepth.models.weights import save_weights
from semdepth.runtime import InputError

from .test_bad_input import complaint

ALL, NONE = "+ thin (all)", "prior alone"


@pytest.fixture(scope="module")
def measured(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    found = {}
    for labels in ("noisy", "exact"):
        out = tmp_path_factory.mktemp(labels)
        data = [f"--data.root={world}", "--data.height=64", "--data.width=128", f"--data.labels={labels}"]
        assert main(["benchmark", "pairs", *data, "--seeds=2", "--images=4", f"--out={out}"]) == 0
        found[labels] = json.loads((out / "pairs.json").read_text())
        table = (out / "pairs.md").read_text()
        assert f"| {ALL} |" in table
        assert "| nearer | farther |" in table
        assert "- machine: " in table
    return found


def test_rules_pay_and_noise_costs(measured: dict[str, dict]) -> None:
    noisy, exact = (measured[labels]["truths"]["exact depth"] for labels in ("noisy", "exact"))
    assert list(exact) == list(rule_sets(PairConfig()))
    assert exact[ALL]["precision"] > exact[NONE]["precision"]
    assert exact[ALL]["precision"] > 0.97
    assert exact[NONE]["precision"] > noisy[NONE]["precision"]
    assert noisy[ALL]["pairs_per_image"] > 0


def test_counts_agree(measured: dict[str, dict]) -> None:
    for rows in measured["noisy"]["truths"].values():
        for row in rows.values():
            assert row["images"] == 4
            assert row["pairs"] == sum(c["pairs"] for c in row["classes"].values())
            assert row["pairs_per_image"] == row["pairs"] / (4 * 2)
            assert row["right"] + row["tied"] <= row["judged"] <= row["pairs"]
            assert row["precision"] == row["right"] / row["judged"]


def test_only_the_sky_is_far_where_the_truth_has_no_depth(world: Path) -> None:
    """A rendered hill beyond the renderer's range has no depth either, but it is in front of the sky, not tied with it."""
    data = DataConfig(root=world, height=64, width=128, labels="exact")
    frames = open_judged(data)
    tables = measure_pairs(frames, open_exact(frames, data), list(range(len(frames))), rule_sets(PairConfig()), 1)
    rows = tables["exact depth"]
    assert rows[ALL].tied[:, 10].sum() == 0
    assert rows[ALL].judged[:, 10].sum() > 0


def test_drives_rendered_on_the_fly(tmp_path: Path) -> None:
    data = DataConfig(name="synthetic", height=64, width=128, synthetic=SyntheticConfig(drives=1, frames=2))
    frames = open_judged(data)
    tables = measure_pairs(frames, open_exact(frames, data), [0], {"all": PairConfig(prediction_decides=False)}, 1)
    assert tables["exact depth"]["all"].judged.sum() > 0


def test_a_network_must_agree(world: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rule 4 leaves a part of the pairs; an untaught branch agrees with few labels."""
    small = [f"--data.root={world}", "--data.height=64", "--data.width=128", "--images=2", "--seeds=1"]
    two_branch = tmp_path / "two-branch.safetensors"
    network = build_depth_network(NetworkConfig(encoder="resnet10-small", fusion="none"), seed=0)
    save_weights(two_branch, network, None, {"image_size": (64, 128)})
    assert main(["benchmark", "pairs", *small, f"--weights={two_branch}", f"--out={tmp_path}"]) == 0
    rows = json.loads((tmp_path / "pairs.json").read_text())["truths"]["exact depth"]
    assert list(rows)[-1] == "+ agreement"
    assert rows["+ agreement"]["pairs"] < rows[ALL]["pairs"]
    assert "segmentation branch" in complaint(["benchmark", "pairs", *small, f"--weights={run}"], capsys)


def test_lidar_is_judged_twice(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / "kitti_raw"
    if not root.is_dir():
        pytest.skip("REAL FRAMES MISSING: pairs against lidar NOT tested")
    assert main(["benchmark", "pairs", f"--data.root={root}", "--seeds=1", "--images=1", f"--out={tmp_path}"]) == 0
    truths = json.loads((tmp_path / "pairs.json").read_text())["truths"]
    assert list(truths) == ["lidar, all returns", "lidar, visible returns"]
    raw, visible = (rows[NONE] for rows in truths.values())
    assert raw["pairs"] == visible["pairs"]
    assert 0 < visible["judged"] < raw["judged"]


def test_numbers_name_command_date_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/semdepth", "benchmark", "pairs", "--data.root=my world"])
    facts = made_by()
    assert facts["command"] == "semdepth benchmark pairs '--data.root=my world'"
    assert "torch" in facts["machine"]
    assert len(facts["date"]) == len("2026-01-01")


def test_bad_input(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = f"--data.root={world}"
    file = tmp_path / "file"
    file.write_text("")
    small = ["--data.height=64", "--data.width=128", "--images=1", "--seeds=1"]
    assert "nowhere" in complaint(["benchmark", "pairs", "--data.root=/nowhere"], capsys)
    assert "root" in complaint(["benchmark", "pairs"], capsys)
    assert "labels" in complaint(["benchmark", "pairs", root, "--data.labels=none"], capsys)
    assert "ground truth" in complaint(["benchmark", "pairs", "--data.name=folder", root], capsys)
    assert "seeds" in complaint(["benchmark", "pairs", root, "--seeds=0"], capsys)
    assert "reach" in complaint(["benchmark", "pairs", root, "--pairs.reach=1"], capsys)
    assert "cannot be written" in complaint(["benchmark", "pairs", root, *small, f"--out={file}"], capsys)
    complaint(["benchmark", "squares", root], capsys)


def test_a_measurement_leaves_the_others_alone(tmp_path: Path) -> None:
    record("evaluate", 30.0, 10.0, "images/s", out=tmp_path, spread=[29, 31])
    path = record("infer_cpu", 20.0, 50.0, "ms", out=tmp_path)
    found = json.loads(path.read_text())
    assert found["evaluate"]["ratio"] == 3.0
    assert found["evaluate"]["spread"] == [29, 31]
    assert found["infer_cpu"]["ratio"] == 2.5  # a time: less is better
    assert {"ours", "reference", "unit", "date", "machine", "command"} <= set(found["infer_cpu"])
    assert [p.name for p in tmp_path.iterdir()] == ["performance.json"]


def test_a_broken_table_of_measurements_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "performance.json").write_text("{")
    with pytest.raises(InputError, match="no table of measurements"):
        record("evaluate", 1.0, 1.0, "images/s", out=tmp_path)
    assert (tmp_path / "performance.json").read_text() == "{"
