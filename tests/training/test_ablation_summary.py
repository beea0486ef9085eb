"""The summary of an ablation's runs, on numbers made by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semdepth.evaluation.evaluator import DepthEvaluator
from semdepth.evaluation.protocols import synthetic
from semdepth.evaluation.report import write_json
from semdepth.runtime import InputError
from semdepth.training.ablation_summary import FinishedRun, markdown, mean_and_spread, plot, read_run, summarise


@pytest.fixture
def finished(tmp_path: Path) -> FinishedRun:
    """Six images of three drives, depth 10 % off beside a border and right elsewhere."""
    evaluator = DepthEvaluator(synthetic)
    for k in range(6):
        truth = np.full((32, 32), 10.0) + np.arange(32)
        labels = np.full((32, 32), 2, dtype=np.uint8)
        labels[:, 8:] = 13
        predicted = truth.copy()
        predicted[:, 6:10] *= 1.1 + 0.01 * k
        evaluator.update(f"d{k // 2}/{k}/l", truth, depth=predicted, group=f"d{k // 2}", labels=labels)
    write_json(evaluator.result(), tmp_path / "evaluation.json")
    return read_run(tmp_path / "evaluation.json")


def better(run: FinishedRun, factor: float) -> FinishedRun:
    return replace(
        run,
        images={q: values * factor for q, values in run.images.items()},
        numbers={q: value * factor for q, value in run.numbers.items()},
        strata={name: value * factor for name, value in run.strata.items()},
    )


def test_reading_back(finished: FinishedRun) -> None:
    assert finished.names == tuple(f"d{k // 2}/{k}/l" for k in range(6))
    assert finished.groups == ("d0", "d0", "d1", "d1", "d2", "d2")
    assert finished.numbers["abs_rel"] == pytest.approx(finished.images["abs_rel"].mean())
    assert math.isnan(finished.numbers["mean_iou"])
    assert finished.strata["border"] > finished.strata["inside"]


def test_evaluations_from_before_a_measure_was_added_are_read(finished: FinishedRun, tmp_path: Path) -> None:
    content = json.loads((tmp_path / "evaluation.json").read_text())
    for measures in (content["measures"], *(row["measures"] for row in content["rows"])):
        del measures["log10"]
        del measures["holed_objects"]
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    again = read_run(tmp_path / "evaluation.json")
    assert np.isnan(again.images["log10"]).all()
    assert np.isnan(again.images["holed_objects"]).all()
    np.testing.assert_array_equal(again.images["abs_rel"], finished.images["abs_rel"])


def test_summary_by_hand(finished: FinishedRun) -> None:
    runs = {
        "depth-only": {1: finished, 0: better(finished, 1.2)},
        "full": {0: better(finished, 0.5), 1: better(finished, 0.6)},
        "ssfa": {},
    }
    summary = summarise(runs)
    assert list(summary) == ["depth-only", "full"]
    base = finished.numbers["abs_rel"]
    assert summary["depth-only"]["seed"] == [0, 1]
    assert summary["depth-only"]["abs_rel"] == pytest.approx([1.2 * base, base])
    assert summary["full"]["abs_rel"] == pytest.approx([0.5 * base, 0.6 * base])
    assert summary["full"]["mean_iou"] == [None, None]
    assert summary["full"]["strata"]["class/car"] == pytest.approx(
        [0.5 * finished.strata["class/car"], 0.6 * finished.strata["class/car"]]
    )
    low, high = summary["full"]["interval"]["abs_rel"]
    assert low < 0.55 * base < high
    assert summary["full"]["interval"]["abs_rel"] == pytest.approx(
        [x / 2 for x in summary["depth-only"]["interval"]["abs_rel"]]
    )
    assert f"[{low:.3f}, {high:.3f}]" in markdown(summary, {})
    assert summary["full"]["scale_spread"] == [
        0.5 * finished.numbers["scale_spread"],
        0.6 * finished.numbers["scale_spread"],
    ]
    against = summary["full"]["against depth-only"]["abs_rel"]
    assert against["difference"] == pytest.approx((0.55 - 1.1) * base)
    assert against["ratio"] == pytest.approx(0.5)
    assert against["low"] < against["difference"] < against["high"] < 0
    assert against["share_below"] == 1
    assert "against depth-only" not in summary["depth-only"]
    json.dumps(summary, allow_nan=False)


def test_a_part_is_judged_against_the_variant_that_lacks_it(finished: FinishedRun) -> None:
    runs = {
        "depth-only": {0: finished, 1: finished},
        "two-branch": {0: better(finished, 0.8), 1: better(finished, 0.9)},
        "concat": {0: better(finished, 0.5), 1: finished},
        "ssfa": {0: better(finished, 0.4)},
        "full": {0: better(finished, 0.6), 1: finished},
    }
    summary = summarise(runs)
    assert summary["ssfa"]["against two-branch"]["abs_rel"]["ratio"] == pytest.approx(0.5)
    assert summary["ssfa"]["against concat"]["abs_rel"]["ratio"] == pytest.approx(0.8)
    assert summary["full"]["against ssfa"]["abs_rel"]["ratios"] == pytest.approx([1.5])
    assert summary["full"]["against depth-only"]["abs_rel"]["ratios"] == pytest.approx([0.6, 1.0])
    assert "against two-branch" not in summary["full"]
    text = markdown(summary, {}).split("## What each part adds")[1].split("##")[0]
    assert "| ssfa | two-branch |" in text
    assert "| ssfa | concat |" in text
    assert "| full | ssfa |" in text
    assert "| full | ranking |" not in text  # no such run
    assert "1.500" in text
    assert "\n| two-branch |" not in text  # against depth alone, in the table above
    assert "each part" not in markdown(summarise({"depth-only": {0: finished}, "full": {0: finished}}), {})


def test_tables_and_plot(finished: FinishedRun, tmp_path: Path) -> None:
    summary = summarise({"depth-only": {0: finished, 1: better(finished, 1.2)}, "full": {0: better(finished, 0.5)}})
    text = markdown(summary, {"command": "semdepth ablate x"})
    mean, spread = mean_and_spread(summary["depth-only"]["abs_rel"])
    assert f"| depth-only | 2 | {mean:.4f} ± {spread:.4f} [" in text
    assert "(× 0.500)" in text  # seed 1 of depth-only has nothing to be compared with
    assert "- command: semdepth ablate x" in text
    assert "(-50%)" in text
    assert "car" in text.split("## By class")[1].split("##")[0]
    plot(summary, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_variants_without_a_seed_in_common_are_not_compared(finished: FinishedRun) -> None:
    summary = summarise({"depth-only": {0: finished}, "full": {1: better(finished, 0.5)}})
    assert summary["full"]["against depth-only"] == {"abs_rel": None, "border_abs_rel": None}
    assert "%)" not in markdown(summary, {})


def test_without_a_baseline_nothing_is_compared(finished: FinishedRun) -> None:
    summary = summarise({"full": {0: finished}})
    assert set(summary["full"]) >= {"abs_rel", "strata"}
    assert "against depth-only" not in summary["full"]
    assert "against depth-only" not in markdown(summary, {})


def test_mean_and_spread() -> None:
    assert mean_and_spread([1.0, None, 3.0]) == pytest.approx((2.0, math.sqrt(2)))
    assert math.isnan(mean_and_spread([1.0])[1])
    assert math.isnan(mean_and_spread([None])[0])


def test_runs_on_different_images_are_refused(finished: FinishedRun) -> None:
    with pytest.raises(InputError, match="different images"):
        summarise({"depth-only": {0: finished}, "full": {0: replace(finished, names=finished.names[::-1])}})


@pytest.mark.parametrize("content", ["", "nonsense", "[]", "{}", '{"rows": [1], "segmentation": null}'])
def test_a_damaged_evaluation(content: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"evaluation\.json"):
        read_run(path)
