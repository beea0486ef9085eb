import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from semdepth.evaluation import report
from semdepth.evaluation.baselines import MeanDepthMap, constant_depth
from semdepth.evaluation.evaluator import DepthEvaluator, EvaluationResult, compare
from semdepth.evaluation.metrics import METRICS
from semdepth.evaluation.protocols import kitti_eigen, synthetic
from semdepth.evaluation.strata import MEASURES
from semdepth.runtime import InputError

SHAPE = (48, 80)


def road(rng: np.random.Generator) -> np.ndarray:
    """A road from below to the middle, walls at the sides, a box somewhere; 0 = sky."""
    rows = np.arange(SHAPE[0])[:, None] + np.zeros(SHAPE)
    depth = np.where(rows > 16, 120 / np.maximum(rows - 15, 1), 0.0)
    depth[8:24, :12] = depth[8:24, -12:] = 15.0
    left = rng.integers(16, 56)
    depth[20:36, left : left + 10] = 6.0
    return depth * rng.uniform(0.5, 1.5)


def evaluate(noise: float, images: int = 12, *, grouped: bool = False, seed: int = 0) -> EvaluationResult:
    rng, evaluator = np.random.default_rng(seed), DepthEvaluator(synthetic, resamples=300)
    for k in range(images):
        truth = road(np.random.default_rng(k))
        guess = np.where(truth > 0, truth, 80.0) * np.exp(rng.normal(0, noise, SHAPE)) * 0.1
        labels = np.where(truth == 0, 10, np.where(truth == truth[35].min(), 13, 0)).astype(np.uint8)
        group = f"drive {k // 3}" if grouped else None
        evaluator.update(f"image {k}", truth, depth=guess, labels=labels, moving=labels == 13, group=group)
        evaluator.update_segmentation(labels, labels, np.full(SHAPE, 0.75))
    return evaluator.result()


def test_the_mean_is_over_images_and_a_perfect_model_is_perfect() -> None:
    result = evaluate(0.1)
    assert result.mean.abs_rel == pytest.approx(np.mean([row.errors.abs_rel for row in result.rows]))
    assert result.intervals["abs_rel"].low < result.mean.abs_rel < result.intervals["abs_rel"].high
    assert set(result.intervals) == {*METRICS, *MEASURES}
    perfect = evaluate(0.0)
    assert perfect.mean.abs_rel == pytest.approx(0, abs=1e-9)
    assert perfect.mean.delta1 == 1
    assert perfect.scale_median == pytest.approx(10)
    assert perfect.scale_spread == pytest.approx(0, abs=1e-9)
    assert perfect.measures["border_abs_rel"] == pytest.approx(0, abs=1e-9)
    assert perfect.measures["moving_holes"] == 0


def test_the_spread_of_the_scales_by_hand() -> None:
    evaluator = DepthEvaluator(synthetic)
    for k, scale in enumerate((1.0, 2.0, 4.0)):
        evaluator.update(str(k), np.full((4, 4), 10.0), depth=np.full((4, 4), 10.0 / scale))
    result = evaluator.result()
    assert result.scale_median == pytest.approx(2.0)
    assert result.scale_spread == pytest.approx(np.std([0.5, 1.0, 2.0]))


def test_disparity_of_any_size_is_taken() -> None:
    truth = np.full((8, 12), 5.0)
    row = DepthEvaluator(synthetic).update("a", truth, disparity=torch.full((2, 3), 0.2))
    assert row is not None
    assert row.errors.abs_rel == pytest.approx(0, abs=1e-6)
    assert row.ratio == pytest.approx(1, abs=1e-6)


def test_groups_are_all_or_none() -> None:
    assert evaluate(0.1, grouped=True).grouped
    assert not evaluate(0.1).grouped
    evaluator = DepthEvaluator(synthetic)
    evaluator.update("a", np.ones((2, 2)), depth=np.ones((2, 2)), group="drive")
    evaluator.update("b", np.ones((2, 2)), depth=np.ones((2, 2)))
    with pytest.raises(InputError, match="all or none"):
        evaluator.result()


def test_images_without_truth_are_skipped_and_said_so() -> None:
    evaluator = DepthEvaluator(synthetic)
    assert evaluator.update("empty", np.zeros((2, 2)), depth=np.ones((2, 2))) is None
    with pytest.raises(InputError, match="no image could be judged"):
        evaluator.result()
    evaluator.update("full", np.ones((2, 2)), depth=np.ones((2, 2)))
    result = evaluator.result()
    assert result.skipped == ("empty",)
    assert "1 skipped" in report.caption(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"depth": np.ones((2, 2)), "disparity": np.ones((2, 2))}, "exactly one"),
        ({"depth": np.ones((3, 3))}, "differ in size"),
        ({"depth": np.full((2, 2), np.nan)}, "not finite"),
        ({"disparity": np.zeros((2, 2))}, "not finite"),
        ({"depth": np.ones((2, 2)), "labels": np.zeros((3, 3), np.uint8)}, "labels"),
        ({"depth": np.ones((2, 2)), "moving": np.zeros((3, 3), bool)}, "moving"),
    ],
)
def test_errors_name_the_image(arguments: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=f"drive/0001: .*{message}"):
        DepthEvaluator(synthetic).update("drive/0001", np.ones((2, 2)), **arguments)


def test_strata_and_segmentation_are_there() -> None:
    result = evaluate(0.1)
    assert {"border", "inside", "moving", "still", "class/car", "class/road"} <= set(result.strata)
    whole = sum(result.strata[name].pixels for name in ("border", "inside"))
    assert whole == sum(row.pixels for row in result.rows)
    assert result.segmentation is not None
    assert result.segmentation.mean_iou == 1
    assert result.segmentation.calibration_error == pytest.approx(0.25)
    assert set(result.segmentation.class_iou) == {"road", "sky", "car"}


def test_segmentation_mistakes_are_counted_where_there_are_labels() -> None:
    evaluator = DepthEvaluator(synthetic, resamples=10)
    evaluator.update("a", np.ones((2, 2)), depth=np.ones((2, 2)))
    labels, predicted = np.array([[0, 0], [1, 255]], np.uint8), np.array([[0, 1], [1, 7]], np.uint8)
    evaluator.update_segmentation(labels, predicted, np.full((2, 2), 0.9))
    scores = evaluator.result().segmentation
    assert scores is not None
    assert scores.pixel_accuracy == pytest.approx(2 / 3)
    assert scores.mean_iou == pytest.approx(0.5)
    assert scores.calibration_error == pytest.approx(0.9 - 2 / 3)


def test_the_better_model_wins_the_paired_comparison() -> None:
    good, bad = evaluate(0.1), evaluate(0.15, seed=1)
    verdict = compare(good, bad)
    assert verdict.images == 12
    assert verdict.difference.high < 0
    assert verdict.share_below == 1
    assert compare(good, bad, "border_abs_rel").difference.mean < 0
    assert compare(bad, good).difference.mean == pytest.approx(-verdict.difference.mean)


def test_only_like_is_compared_with_like() -> None:
    result = evaluate(0.1, images=3)
    with pytest.raises(InputError, match="protocols"):
        compare(result, replace(result, protocol="kitti_eigen"))
    with pytest.raises(InputError, match="share no image"):
        compare(result, replace(result, rows=tuple(replace(row, name=row.name + "'") for row in result.rows)))


def judged(prediction: np.ndarray, images: int = 20) -> float:
    evaluator = DepthEvaluator(synthetic, resamples=10)
    for k in range(images):
        evaluator.update(str(k), road(np.random.default_rng(1000 + k)), depth=prediction)
    return evaluator.result().mean.abs_rel


def test_the_mean_depth_map_beats_a_constant_and_its_own_disturbances() -> None:
    learnt = MeanDepthMap(*SHAPE)
    for k in range(60):
        learnt.update(road(np.random.default_rng(k)))
    best = learnt.depth(*SHAPE)
    error = judged(best)
    assert error < 0.5 * judged(constant_depth(*SHAPE))
    rng = np.random.default_rng(0)
    assert all(judged(best * np.exp(rng.normal(0, 0.1, SHAPE))) > error for _ in range(5))


def test_every_constant_is_the_same_under_median_scaling() -> None:
    assert judged(constant_depth(*SHAPE, 1.0)) == pytest.approx(judged(constant_depth(*SHAPE, 50.0)))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100))
def test_the_mean_depth_map_of_one_image_is_that_image(scale: float) -> None:
    truth = np.outer([1.0, 2.0, 4.0], [1.0, 1.5, 3.0])
    learnt = MeanDepthMap(3, 3)
    learnt.update(truth * scale)
    learnt.update(np.zeros((3, 3)))
    np.testing.assert_allclose(learnt.depth(3, 3), truth / np.median(truth), rtol=0.02)


def test_the_mean_depth_map_minimises_the_relative_error_of_each_cell() -> None:
    learnt = MeanDepthMap(1, 3)
    for depth in (1.0, 2.0, 4.0):  # the other two cells hold the median at 1
        learnt.update(np.array([[depth, 1.0, 1.0]]))
    assert learnt.depth(1, 3)[0, 0] == pytest.approx(1.0, rel=0.02), (
        "the plain median, 2, errs more: 1 + 0 + 1/2 against 0 + 1/2 + 3/4"
    )


def test_the_mean_depth_map_fills_what_it_never_saw_from_its_row_and_needs_something() -> None:
    learnt = MeanDepthMap(4, 4)
    with pytest.raises(ValueError, match="no training image"):
        learnt.depth(4, 4)
    truth = np.zeros((4, 4))
    truth[2], truth[3, :2] = 8.0, 2.0
    learnt.update(truth)
    filled = learnt.depth(4, 4)
    assert filled[3, 3] == pytest.approx(filled[3, 0])
    assert filled[2, 0] / filled[3, 3] == pytest.approx(4, rel=0.05)
    assert np.isfinite(filled).all()
    assert (filled > 0).all()


def test_tables_show_the_best_and_the_honest_caption() -> None:
    results = {"good|model": evaluate(0.1), "bad": evaluate(0.2, seed=1)}
    headings, rows = report.comparison_rows(results)
    assert headings[:2] == ["", "AbsRel ↓"]
    assert "δ<1.25 ↑" in headings
    assert [row[1].endswith("*") for row in rows] == [True, False]
    delta = headings.index("δ<1.25 ↑")
    assert [row[delta].endswith("*") for row in rows] == [True, False]
    lines = report.markdown_table(headings, rows).splitlines()
    assert lines[2].startswith("| good\\|model | 0.")
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "too narrow" in report.caption(results["bad"])
    assert "over groups" in report.caption(evaluate(0.1, grouped=True))
    assert "no intervals" in report.caption(evaluate(0.1, images=3, grouped=True))
    console = Console(file=io.StringIO(), width=200)
    for make in (report.interval_rows, report.stratum_rows, report.segmentation_rows):
        console.print(report.terminal_table(*make(results["bad"]), note=report.caption(results["bad"])))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in text for word in ("border AbsRel", "class/car", "mean IoU", "95 % interval"))


def test_measures_that_nobody_has_are_left_out_of_tables() -> None:
    evaluator = DepthEvaluator(kitti_eigen)
    evaluator.update("a", np.full((40, 60), 9.0), depth=np.ones((40, 60)))
    result = evaluator.result()
    assert report.comparison_rows({"model": result})[0][-2:] == ["δ<1.25³ ↑", "scale spread"]
    assert report.segmentation_rows(result)[1] == []
    assert report.interval_rows(result)[1][0][2] == "–"


def test_files_hold_everything_and_are_valid(tmp_path: Path) -> None:
    result = evaluate(0.1, images=3)
    empty = replace(result, rows=tuple(replace(r, measures=dict.fromkeys(MEASURES, float("nan"))) for r in result.rows))
    for current in (result, empty):
        report.write_json(current, tmp_path / "new" / "result.json")
        report.write_csv(current, tmp_path / "new" / "images.csv")
        read = json.loads((tmp_path / "new" / "result.json").read_text())
        assert read["mean"]["abs_rel"] == pytest.approx(current.mean.abs_rel)
        assert len(read["rows"]) == 3
        with (tmp_path / "new" / "images.csv").open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert [line["name"] for line in lines] == ["image 0", "image 1", "image 2"]
        assert float(lines[1]["rmse"]) == current.rows[1].errors.rmse
    assert read["rows"][0]["measures"]["border_abs_rel"] is None
    assert lines[0]["border_abs_rel"] == ""
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["images.csv", "result.json"]
