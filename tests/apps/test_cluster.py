"""``--cluster.address``: the same files as one process writes, whatever is killed. One Ray with two workers for all tests."""

import json
import logging
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_segmenters as tiny
import torch
from PIL import Image

from semdepth import __version__
from semdepth.apps import cluster
from semdepth.apps.cli import main
from semdepth.apps.cluster import ClusterConfig, _Actor
from semdepth.apps.cluster_jobs import Job
from semdepth.apps.label_on_cluster import LabelWork, LabelWorker, label_on_cluster
from semdepth.apps.predict_on_cluster import (
    RECORD,
    PredictWork,
    PredictWorker,
    claim,
    digest_of,
    predict_on_cluster,
)
from semdepth.data.label_files import label_in_batches, label_tasks
from semdepth.data.pseudo_labels import Segmentation, load_segmenter
from semdepth.inference.outputs import write_prediction
from semdepth.runtime import InputError
from semdepth.structures import Prediction

from .made_runs import made_run

COUNT, BATCH, VICTIM = 9, 2, 4
LOCAL = ["--cluster.address=local", "--cluster.workers=2"]


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    if not os.environ.get("SEMDEPTH_RAY"):
        pytest.skip(
            "RAY NOT STARTED: its tests take minutes of two cores; SEMDEPTH_RAY=1 pytest tests/apps/test_cluster.py"
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = pytest.importorskip("ray", reason="RAY MISSING (semdepth[cluster]): work on clusters NOT tested")
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in workers with one core: the same bits
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not see the tests
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    own = {"address": "local", "num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    settings = quiet | ({} if "RAY_ADDRESS" in os.environ else own)
    for _ in range(3):  # it gives up after 15 s, which a machine that others share may need
        with suppress(Exception):
            ray.init(**settings)
            break
        ray.shutdown()
    else:
        pytest.skip("RAY DOES NOT START HERE (too busy?): work on clusters NOT tested")
    yield ray
    ray.shutdown()
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_by_brightness(tmp_path_factory.mktemp("segmenter"))


def photos(folder: Path, count: int = COUNT) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(noise.integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Of everything there, temporary files and all."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def times(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@dataclass(frozen=True)
class DyingWork(LabelWork):
    """Its first worker to write the victim is killed between its two files, with a third half written."""

    log: str = ""

    def start(self) -> "Dying":
        return Dying(super().start().segmenter, Path(self.log))


@dataclass(frozen=True)
class Dying(LabelWorker):
    log: Path

    def write(self, job: Job, pixels: np.ndarray, result: Segmentation) -> None:
        with self.log.open("a") as stream:
            stream.write(f"{job.image.stem}\n")
        mark = self.log.with_suffix(".killed")
        if job.image.stem == str(VICTIM) and not mark.exists():
            mark.touch()
            Image.fromarray(result.entropy).save(job.place.parents[1] / "entropy" / job.place.name)
            (job.place.parent / f".{job.place.name}.abc_efgh").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(job, pixels, result)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle(ray: object, segmenter: Path, tmp_path: Path) -> None:
    tasks = label_tasks("folder", sorted(photos(tmp_path / "one").glob("*.png")))
    loaded = load_segmenter(str(segmenter), device="cpu")
    list(label_in_batches(loaded, tasks, BATCH, lambda task, error: pytest.fail(str(error))))
    expected = contents(tmp_path / "one")

    images = photos(tmp_path / "many")
    tasks = label_tasks("folder", sorted(images.glob("*.png")))
    for part in ("data", "entropy"):
        (images / "segmentation" / part).mkdir(parents=True)
    log = tmp_path / "written.log"
    work = DyingWork(str(segmenter), loaded.identity, device="cpu", log=str(log))
    tally = label_on_cluster(ClusterConfig("local", workers=2), work, tasks, BATCH)
    assert log.with_suffix(".killed").exists()
    assert contents(images) == expected
    assert (tally.new + tally.there, tally.failed, tally.begun_again) == (COUNT, {}, 1)
    begun = Counter(log.read_text().split())
    in_flight = {str(i) for i in range(COUNT) if i // BATCH == VICTIM // BATCH}
    assert set(begun) == {str(i) for i in range(COUNT)}
    assert {image for image, count in begun.items() if count > 1} <= in_flight
    assert begun[str(VICTIM)] == 2

    written = times(images)
    again = LabelWork(str(segmenter), loaded.identity, device="cpu")
    tally = label_on_cluster(ClusterConfig("local", workers=2), again, tasks, BATCH)
    assert (tally.new, tally.there, tally.begun_again) == (0, COUNT, 0)
    assert times(images) == written


@dataclass(frozen=True)
class DyingPredictWork(PredictWork):
    """Its first worker to write the victim is killed after one of the victim's two files, with the other half written."""

    log: str = ""

    def start(self) -> "DyingPredictor":
        alive = super().start()
        return DyingPredictor(alive.work, alive.predictor, alive.cameras, Path(self.log))


@dataclass(frozen=True)
class DyingPredictor(PredictWorker):
    log: Path

    def write(self, job: Job, pixels: np.ndarray, result: Prediction) -> None:
        mark = self.log.with_suffix(".killed")
        if job.image.stem != str(VICTIM) or mark.exists():
            return super().write(job, pixels, result)
        mark.touch()
        write_prediction(job.place, pixels, result, self.work.outputs[:1], None, None)
        (job.place.parent / f".{job.place.name}_depth.png.abc_efgh").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_predicting_worker_killed_in_the_middle(ray: object, tmp_path: Path) -> None:
    images, run = photos(tmp_path / "photos"), made_run(tmp_path / "run", tmp_path)
    outputs, weights = ("depth_npy", "depth_png"), str(run / "weights.safetensors")
    given = [f"--weights={weights}", f"--batch={BATCH}", "--device=cpu", "--save=depth_npy,depth_png"]
    assert main(["predict", str(images), *given, f"--out={tmp_path / 'one'}"]) == 0
    expected = contents(tmp_path / "one")
    del expected["predict.json"]

    out, config = tmp_path / "many", ClusterConfig("local", workers=2)
    out.mkdir()
    found = {path: out / path.stem for path in sorted(images.glob("*.png"))}
    log = tmp_path / "log"
    dying = DyingPredictWork(weights, digest_of(weights), outputs, device="cpu", log=str(log))
    tally = predict_on_cluster(config, dying, found, ["photos"], out, BATCH)
    assert log.with_suffix(".killed").exists()
    assert (tally.new + tally.there, tally.failed, tally.begun_again) == (COUNT, {}, 1)
    many = contents(out)
    del many[RECORD]
    assert many == expected

    written = times(out)
    tally = predict_on_cluster(config, dying, found, ["photos"], out, BATCH)  # nobody dies twice
    assert (tally.new, tally.there, tally.begun_again) == (0, COUNT, 0)
    assert times(out) == written


class StandIn:
    """Does in this process what Ray does in workers: the commands' own part can be tested where Ray does not start."""

    def __init__(self) -> None:
        self.data = self.DataContext = self
        self.ActorPoolStrategy = dict

    def get_current(self) -> "StandIn":
        return self

    def remote(self, **given: object) -> object:
        return lambda kind: SimpleNamespace(remote=kind)

    def from_items(self, rows: list, override_num_blocks: int) -> "StandIn":
        self.rows = rows
        return self

    def map_batches(self, actor: type, fn_constructor_args: tuple, **given: object) -> "StandIn":
        self.actor = actor(*fn_constructor_args)
        return self

    def iter_rows(self) -> Iterator[dict]:
        for row in self.rows:
            yield {k: v[0] for k, v in self.actor({k: [v] for k, v in row.items()}).items()}


@pytest.fixture(params=["stand-in", pytest.param("ray", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "ray":
        request.getfixturevalue("ray")
        return
    monkeypatch.setattr(cluster, "_ray", lambda config: nullcontext(StandIn()))
    monkeypatch.setattr(cluster._Actor, "_begin", lambda actor, number: actor._ledger.begin(number))


def test_predict_and_label_write_what_one_process_does(
    engine: None, segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, run = photos(tmp_path / "photos", 4), made_run(tmp_path / "run", tmp_path)
    (images / "x.png").write_bytes(b"no image")
    for name, options in (("one", []), ("many", LOCAL)):
        arguments = [f"--weights={run}", f"--out={tmp_path / name}", "--batch=2", "--device=cpu"]
        assert main(["predict", str(images), *arguments, *options]) == 0
    said = capsys.readouterr().out
    assert "4 images predicted, 1 passed over, depth up to scale" in said
    many = contents(tmp_path / "many")
    del many[RECORD]
    one = contents(tmp_path / "one")
    del one["predict.json"]  # a single process notes what it predicts with there
    assert many == one
    next((tmp_path / "many").glob("2_depth.npy")).unlink()
    before = {
        p: at for p, at in times(tmp_path / "many").items() if not p.name.startswith("2_")
    }  # one image is one job
    assert main(["predict", str(images), *arguments, *options]) == 0
    assert "1 image predicted, 3 were there" in capsys.readouterr().out
    assert before.items() <= times(tmp_path / "many").items()
    assert contents(tmp_path / "many").keys() == {*many, RECORD}
    assert main(["predict", str(images), *arguments, *options, "--flip=true"]) == 2
    assert "other weights, options or images" in capsys.readouterr().err

    given = ["--data.name=folder", f"--segmenter={segmenter}", "--device=cpu", "--panels=0", "--batch=2"]
    for name, options in (("first", []), ("second", LOCAL)):
        shutil.copytree(images, tmp_path / name)
        assert main(["label", f"--data.root={tmp_path / name}", *given, *options]) == 2
        captured = capsys.readouterr()
        assert "1 of 5 images have no labels; the first: " in captured.err
        assert "4 images labelled: " in captured.out
    assert contents(tmp_path / "second") == contents(tmp_path / "first")


def test_workers_refuse_what_differs_from_the_command(segmenter: Path, tmp_path: Path) -> None:
    work = LabelWork(str(segmenter), "another", device="cpu")
    for version, hint in ((__version__, "another one than this"), ("0.0", "install the same")):
        reports = _Actor(work, version, None)({"number": [0], "jobs": ["[]"]})["report"]
        assert hint in json.loads(reports[0])["fatal"]
    run = made_run(tmp_path / "run", tmp_path)
    with pytest.raises(InputError, match="other weights than this"):
        PredictWork(str(run), "another", ("depth_npy",), device="cpu").start()


def test_a_folder_of_other_things_is_not_claimed(tmp_path: Path) -> None:
    work = PredictWork("run", "digest", ("depth_npy",))
    claim(tmp_path / "out", work, ["photos"])
    claim(tmp_path / "out", PredictWork("moved", "digest", ("ply",)), ["photos"])
    for other, inputs in ((PredictWork("run", "other", ()), ["photos"]), (work, ["films"])):
        with pytest.raises(InputError, match="other weights, options or images"):
            claim(tmp_path / "out", other, inputs)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").touch()
    with pytest.raises(InputError, match="files of something else"):
        claim(tmp_path / "own", work, ["photos"])


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "clip.mp4").touch()
    image, clip, local = str(tmp_path / "a.png"), str(tmp_path / "clip.mp4"), "--cluster.address=local"
    for arguments, hint in (
        ([image, "--cluster.workers=2"], "need --cluster.address"),
        ([image, local, "--cluster.workers=0"], "at least 1"),
        ([image, local, "--cluster.gpus=1.5"], "whole GPUs"),
        ([clip, local], "takes images only"),
        ([image, local, "--camera_height=1.6", "--fov_deg=60"], "no camera_height"),
    ):
        capsys.readouterr()
        assert main(["predict", *arguments]) == 2, arguments
        assert hint in capsys.readouterr().err
