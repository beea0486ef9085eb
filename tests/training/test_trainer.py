import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from semdepth.data.transforms import AugmentConfig
from semdepth.evaluation.protocols import synthetic
from semdepth.losses.kernels import check_kernels
from semdepth.models.network import NetworkConfig
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch
from semdepth.training.objective import Learner
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig
from semdepth.training.recorder import read_curves
from semdepth.training.trainer import Trainer
from semdepth.training.trainer_config import TrainerConfig
from semdepth.training.validation import Validation

from .conftest import HEIGHT, WIDTH, Wall


def make(
    run: Path,
    network: NetworkConfig,
    wall: Wall,
    validate: Validation | None = None,
    clip: float = 0.0,
    **config: object,
) -> Trainer:
    defaults: dict = {"batch": 2, "steps": 6, "workers": 0, "accelerator": "cpu", "log_every": 1, "checkpoint_every": 2}
    return Trainer(
        run,
        wall,
        network=network,
        objective=ObjectiveConfig(),
        optim=OptimConfig(learning_rate=1e-3, clip=clip),
        augment=AugmentConfig(),
        trainer=TrainerConfig(**(defaults | config)),
        validate=validate,
        image_size=(HEIGHT, WIDTH),
    )


def test_resuming_is_bit_exact(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    whole = load_file(make(tmp_path / "whole", small_network, wall).fit())

    interrupted = make(tmp_path / "parts", small_network, wall)
    step = interrupted.train_step

    def killed_after_five(batch):  # type: ignore[no-untyped-def]
        if interrupted.step == 5:
            raise RuntimeError("killed")
        return step(batch)

    interrupted.train_step = killed_after_five  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        interrupted.fit()
    resumed = make(tmp_path / "parts", small_network, wall)
    assert resumed.step == 4
    parts = load_file(resumed.fit())
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    steps = [s for s, name, _ in read_curves(tmp_path / "parts") if name == "train/loss"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_an_interrupt_in_the_middle_of_a_step_changes_nothing(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    whole = load_file(make(tmp_path / "whole", small_network, wall).fit())
    trainer = make(tmp_path / "parts", small_network, wall, checkpoint_every=100)

    def interrupt_in_the_third_step(*_: object) -> None:
        if trainer.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    trainer.learner.module.depth.register_forward_hook(interrupt_in_the_third_step)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    resumed = make(tmp_path / "parts", small_network, wall)
    assert resumed.step == 3
    parts = load_file(resumed.fit())
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-mixed", "channels_last": True}])
def test_every_option_of_the_loop_resumes_bit_exactly(
    options: dict[str, object], tmp_path: Path, small_network: NetworkConfig
) -> None:
    """Two branches, clipping, judging: what a run carries along must be in its checkpoint."""
    wall = Wall(labels=True)
    network = replace(small_network, fusion="ssfa")

    def build(name: str) -> Trainer:
        options.update(clip=0.1, steps=4, validate_every=2)
        return make(tmp_path / name, network, wall, Validation(wall, synthetic), **options)  # type: ignore[arg-type]

    whole = load_file(build("whole").fit())
    first = build("parts")
    stops = first.stops
    first.stops = lambda requested: stops(requested) or first.step == 3  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    resumed = build("parts")
    assert resumed.best == first.best < float("inf")
    parts = load_file(resumed.fit())
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_randomness_of_the_networks_themselves_resumes(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str) -> Trainer:
        trainer = make(tmp_path / name, small_network, wall, steps=4)
        stage = trainer.learner.module.depth.depth_decoder.stages[0]
        stage.register_forward_hook(lambda module, given, out: torch.nn.functional.dropout(out, 0.5))
        return trainer

    whole = load_file(build("whole").fit())
    first = build("parts")
    first.stops = lambda requested: first.step == 2  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    torch.rand(17)
    parts = load_file(build("parts").fit())
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_clipping_limits_the_gradient(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    def step(name: str, clip: float) -> torch.Tensor:
        trainer = make(tmp_path / name, small_network, wall, clip=clip)
        norms = []
        trainer.optimiser.register_step_pre_hook(
            lambda optimiser, *_: norms.append(
                torch.cat([p.grad.flatten() for g in optimiser.param_groups for p in g["params"]]).norm()
            )
        )
        trainer.train_step(next(trainer.batches()))
        return norms[0]

    free = step("free", 0.0)
    assert step("clipped", float(free) / 10) == pytest.approx(float(free) / 10, rel=1e-3)


def test_not_finite_parameters_are_never_saved(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    trainer = make(tmp_path, small_network, wall, steps=4, checkpoint_every=1, log_every=100)
    step = trainer.train_step

    def poisoned_at_two(batch):  # type: ignore[no-untyped-def]
        objective = step(batch)
        if trainer.step == 2:
            trainer.learner.module.pose.motion.bias.data.fill_(float("nan"))
        return objective

    trainer.train_step = poisoned_at_two  # type: ignore[method-assign]
    with pytest.raises(InputError, match="no longer finite at step 3"):
        trainer.fit()
    assert make(tmp_path, small_network, wall).step == 2


class Damaged(Wall):
    def __getitem__(self, index: int) -> FrameBatch:
        if index == 5:
            raise InputError("frame_5.png: image cannot be decoded; copy it again")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_frame_is_one_line(tmp_path: Path, small_network: NetworkConfig, workers: int) -> None:
    with pytest.raises(InputError) as caught:
        make(tmp_path, small_network, Damaged(), workers=workers).fit()
    assert str(caught.value) == "frame_5.png: image cannot be decoded; copy it again"


def test_a_damaged_newest_checkpoint_does_not_stop_a_run(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    whole = load_file(make(tmp_path, small_network, wall).fit())
    (tmp_path / "checkpoints" / "step_00000006.ckpt").write_bytes(b"cut off")
    again = make(tmp_path, small_network, wall)
    assert again.step == 4
    parts = load_file(again.fit())
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_run_that_another_process_has_trained_on_is_not_set_back(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    late = make(tmp_path, small_network, wall)
    make(tmp_path, small_network, wall).fit()
    before = load_file(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="just trained it to step 6"):
        late.fit()
    assert all(torch.equal(value, before[name]) for name, value in load_file(tmp_path / "weights.safetensors").items())


def test_contradictions_are_refused_before_anything_is_written(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    with pytest.raises(InputError, match="has no labels"):
        make(tmp_path / "run", replace(small_network, fusion="ssfa"), wall)
    with pytest.raises(InputError, match="16-mixed needs a GPU"):
        make(tmp_path / "run", small_network, wall, precision="16-mixed")
    odd = Wall()
    odd.texture = odd.texture[:, :60]
    with pytest.raises(InputError, match=r"data\.height 60.*multiples of 32"):
        make(tmp_path / "run", small_network, odd)
    assert not (tmp_path / "run").exists()


def test_kernels_that_cannot_run_here_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    check_kernels("auto", cpu)
    check_kernels("numba", cpu)
    check_kernels("triton", gpu)
    with pytest.raises(InputError, match="triton needs a CUDA GPU, and this run is on cpu; set auto"):
        check_kernels("triton", cpu)
    with pytest.raises(InputError, match="numba is for a CPU, and this run is on cuda; set auto"):
        check_kernels("numba", gpu)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_kernels("auto", cpu)
    with pytest.raises(InputError, match="pip install triton, or set auto"):
        check_kernels("triton", gpu)
    with pytest.raises(InputError, match="pip install numba, or set auto"):
        check_kernels("numba", cpu)


def test_one_batch_can_be_overfitted(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    make(tmp_path, small_network, wall, overfit=True, steps=60, checkpoint_every=100).fit()
    losses = [value for _, name, value in read_curves(tmp_path) if name == "train/photometric"]
    assert losses[-1] < 0.6 * losses[0]


def test_same_seed_same_weights_other_seed_others(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    a, b, c = (
        load_file(make(tmp_path / name, small_network, wall, seed=seed, steps=2).fit())
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not all(torch.equal(a[k], c[k]) for k in a)


def test_validation_keeps_the_best_weights_and_panels_are_drawn(
    tmp_path: Path, wall: Wall, small_network: NetworkConfig
) -> None:
    make(tmp_path, small_network, wall, Validation(wall, synthetic), validate_every=3, panel_every=3).fit()
    judged = [(s, value) for s, name, value in read_curves(tmp_path) if name == "validation/abs_rel"]
    assert [s for s, _ in judged] == [3, 6]
    assert (tmp_path / "best.safetensors").exists()
    assert (tmp_path / "panels" / "step_00000006.png").stat().st_size > 1000
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_verdict_that_fails_loses_no_steps(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    class Failing(Validation):
        def __call__(self, learner: Learner) -> dict[str, float]:
            raise InputError("truth.png: is damaged")

    with pytest.raises(InputError, match=r"truth\.png"):
        make(tmp_path, small_network, wall, Failing(wall, synthetic), validate_every=3, checkpoint_every=100).fit()
    assert make(tmp_path, small_network, wall).step == 3
    assert (tmp_path / "weights.safetensors").exists()


def test_starting_from_weights(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    weights = make(tmp_path / "a", small_network, wall, steps=1).fit()
    trainer = make(tmp_path / "b", small_network, wall, initial_weights=weights, seed=9)
    state = load_file(weights)
    assert torch.equal(trainer.learner.module.pose.motion.weight, state["pose.motion.weight"])
    trainer.fit()
    weights.rename(tmp_path / "moved.safetensors")
    make(tmp_path / "b", small_network, wall, initial_weights=weights, seed=9)  # resuming needs them no more
    weights = tmp_path / "moved.safetensors"
    other = NetworkConfig(encoder="resnet10-small", pose_encoder="resnet10-small")
    with pytest.raises(InputError, match="holds other networks"):
        make(tmp_path / "c", other, wall, initial_weights=weights)


def test_workers_change_nothing(tmp_path: Path, wall: Wall, small_network: NetworkConfig) -> None:
    a = load_file(make(tmp_path / "a", small_network, wall, steps=2).fit())
    b = load_file(make(tmp_path / "b", small_network, wall, steps=2, workers=2).fit())
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("bad", [{"batch": 0}, {"steps": 0}, {"workers": -1}, {"log_every": 0}])
def test_nonsense_is_refused(bad: dict) -> None:
    with pytest.raises(InputError, match="trainer"):
        TrainerConfig(**bad)
