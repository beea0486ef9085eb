"""``semdepth benchmark train``: the reference minimises the same loss, and the command measures both."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semdepth.apps import benchmark_apart, benchmark_steps, benchmark_train, benchmark_turns
from semdepth.apps.benchmark_roofline import Ceilings, count_work
from semdepth.apps.benchmark_steps import FULL, IN_BFLOAT16, LEAN, prepare, rendered_batch
from semdepth.apps.cli import main
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError, computes_bfloat16
from semdepth.structures import FrameBatch
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig

from .test_bad_input import complaint

SIZE = (64, 128)


@pytest.fixture(scope="module")
def frames() -> FrameBatch:
    return rendered_batch(SIZE, 2)


def gradients(learner: Learner, loss: torch.Tensor) -> torch.Tensor:
    learner.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


def test_reference_and_ours_give_the_same_loss_and_gradients(frames: FrameBatch) -> None:
    """In eval mode: in training, batch norm sees both sources' pairs at once in ours, one source's in the reference."""
    torch.manual_seed(0)
    network = NetworkConfig(encoder="resnet10-small", pose_encoder="resnet10-small", initial_motion=0.0)
    learner = Learner(network, ObjectiveConfig()).eval()
    ours = learner(frames).loss
    theirs = benchmark_turns.open_reference("training").training_loss(
        lambda images: learner.depth(images).disparity,
        learner.pose,
        frames.target,
        list(frames.sources.unbind(1)),
        frames.offsets,
        frames.intrinsics,
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    of_ours, of_theirs = gradients(learner, ours), gradients(learner, theirs)
    assert of_ours.shape == of_theirs.shape
    assert float((of_ours - of_theirs).norm() / of_theirs.norm()) < 1e-3


@pytest.mark.usefixtures("in_this_process")
def test_the_command_measures_both(
    frames: FrameBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_train, "rendered_batch", lambda size, batch: frames)
    monkeypatch.setattr(benchmark_train, "measure_ceilings", lambda place: Ceilings(1e11, 1e10))
    size = ["--data.height=64", "--data.width=128", "--batch=2"]
    arguments = ["benchmark", "train", *size, "--rounds=1", "--encoder=resnet10-small", f"--out={tmp_path}"]
    assert main([*arguments, "--variant=full", "--device=cpu"]) == 0
    kept = json.loads((tmp_path / "performance.json").read_text())
    found = kept["train_cpu"]
    assert ("train_cpu_bf16" in kept) == computes_bfloat16(torch.device("cpu"))
    assert found["way"] == "ours"
    assert kept.get("train_cpu_bf16", {"way": LEAN})["way"] == LEAN
    assert found["ratio"] == pytest.approx(found["ours"] / found["reference"], abs=0.01)
    tried = set(IN_BFLOAT16) if computes_bfloat16(torch.device("cpu")) else set()
    assert set(found["peak_gb"]) == {"reference", "ours", "ours, full method"} | tried
    assert 0 < found["losses_share"]["ours"] < found["losses_share"]["reference"] < 1
    assert all(0 < share < 1 for share in found["ranking_share"].values())
    assert set(found["ranking_share"]) == {name for name in tried | {FULL} if "full" in name}
    assert found["full_method_cost"]["processor"] > 1
    assert 0.7 < found["gflop"]["ours"] / found["gflop"]["reference"] < 0.95, "doubled features are convolved by phases"
    assert found["gb_moved"]["ours"] < found["gb_moved"]["reference"]
    assert "| ours |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["ours, channels last", "ours, bf16", "ours, bf16, Triton, channels last", "ours, full method, bf16, Triton"],
)
def test_what_is_tried_besides_learns_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, and without Triton, whose kernels have their own tests and whose interpreter is slow."""
    if name in benchmark_steps.ON_A_GPU:
        monkeypatch.setitem(benchmark_steps.ON_A_GPU, name, replace(benchmark_steps.ON_A_GPU[name], kernels="torch"))
    frames = rendered_batch(SIZE, 1)
    learners = {}

    def remember(*given: object) -> Learner:
        learners[len(learners)] = Learner(*given)  # type: ignore[arg-type]
        return learners[len(learners) - 1]

    monkeypatch.setattr(benchmark_steps, "Learner", remember)
    plain = benchmark_steps.FULL if "full" in name else benchmark_steps.OURS
    for way in (plain, name):
        rival = benchmark_steps.build(way, "resnet10-small", frames, torch.device("cpu"))
        rival.step()
        rival.losses()
    exact, found = (torch.cat([p.detach().flatten() for p in learners[k].parameters()]) for k in (0, 1))
    start = torch.cat([p.detach().flatten() for p in _untouched(learners[0]).parameters()])
    assert torch.nn.functional.cosine_similarity(exact - start, found - start, dim=0) > 0.7
    assert not torch.equal(exact, found), "it is the plain way"


def _untouched(learner: Learner) -> Learner:
    torch.manual_seed(0)
    return Learner(learner.depth.config, learner.config)


def test_a_contestant_has_a_process_and_a_memory_of_its_own(frames: FrameBatch) -> None:
    given = ("ours", "resnet10-small", pickle.dumps(frames), "cpu")
    with benchmark_apart.Apart(prepare, *given, plain=False) as rival:
        spent = rival.turn("step")
        assert spent.processor > 0
        assert spent.wall > 0
        assert 0.1 < rival.peak_gb() < 2
        assert not benchmark_apart._HERE
        for process in rival._pool._processes.values():
            process.kill()
        with pytest.raises(InputError, match="was killed"):
            rival.turn("step")


def test_operations_and_bytes_are_counted() -> None:
    left, right = torch.rand(20, 30), torch.rand(30, 40)
    work = count_work(lambda: (left @ right).view(-1), Ceilings(flops=1e3, bandwidth=1e12))
    assert work.flops == 2 * 20 * 30 * 40
    assert work.moved == 4 * (20 * 30 + 30 * 40 + 20 * 40)
    assert work.bound == pytest.approx(work.flops / 1e3)


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "rounds" in complaint(["benchmark", "train", "--rounds=0", f"--out={tmp_path}"], capsys)
    monkeypatch.setattr(benchmark_turns, "REFERENCES", tmp_path)
    assert "clone" in complaint(["benchmark", "train", f"--out={tmp_path}"], capsys)
