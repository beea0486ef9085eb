"""What test_ddp.py starts: ``python -m training.two_processes FOLDER`` trains in one and two processes, and says what they saw.

The processes are forks with the environment that torchrun gives: importing everything once is enough.
"""

import os
import shutil
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

from semdepth.data.transforms import AugmentConfig
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.ranking import RankingConfig
from semdepth.models.network import NetworkConfig
from semdepth.training.balance import BalanceConfig
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig
from semdepth.training.trainer import Trainer
from semdepth.training.trainer_config import TrainerConfig

from .golden import PassingCar


@dataclass(frozen=True)
class Job:
    """A run, or the rest of another's."""

    name: str
    processes: int
    steps: int
    double: bool = True
    begun_by: str = ""


JOBS = (
    Job("one-float", processes=1, steps=1, double=False),
    Job("two-float", processes=2, steps=1, double=False),
    Job("one", processes=1, steps=2),
    Job("two", processes=2, steps=2),
    Job("one-then-two", processes=2, steps=3, begun_by="one"),
    Job("two-then-one", processes=1, steps=3, begun_by="two"),
)


def build(run: Path, devices: int, steps: int) -> Trainer:
    """Every term, every random draw, and the balance that measures gradients; a batch of four."""
    return Trainer(
        run,
        PassingCar(),
        network=NetworkConfig(
            encoder="resnet10-small",
            pose_encoder="resnet10-small",
            decoder_channels=(8, 8, 16, 16, 32),
            fusion="ssfa",
        ),
        objective=ObjectiveConfig(
            ranking=0.1,
            ranking_loss=RankingConfig(pairs=PairConfig(agreement=False)),
            zoom_consistency=0.05,
            balance=BalanceConfig(method="gradient", every=1),
        ),
        optim=OptimConfig(learning_rate=1e-3),
        augment=AugmentConfig(second_view=True),
        trainer=TrainerConfig(
            batch=4, steps=steps, workers=0, accelerator="cpu", devices=devices, log_every=100, checkpoint_every=100
        ),
    )


def observe(trainer: Trainer) -> dict[str, dict[str, torch.Tensor]]:
    """Return a dictionary that the first step fills: gradients, terms, the balance and the state after it."""
    seen: dict[str, dict[str, torch.Tensor]] = {}
    learner, step = trainer.learner.module, trainer.train_step

    def gradients(*_: object) -> None:
        if not seen:
            seen["gradients"] = {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}

    def first_step(batch):  # type: ignore[no-untyped-def]
        objective = step(batch)
        if "buffers" not in seen:
            seen["terms"] = {name: trainer.share.mean(value) for name, value in objective.terms.items()}
            seen["balance"] = dict(objective.balance)
            seen["buffers"] = {name: value.clone() for name, value in learner.named_buffers()}
        return objective

    trainer.optimiser.register_step_pre_hook(gradients)
    trainer.train_step = first_step  # type: ignore[method-assign]
    return seen


def spoil_second_step(trainer: Trainer) -> None:
    """Make the loss of the run's second step infinite in the last process only."""
    learner = trainer.learner.module
    forward = learner.forward

    def spoiled(batch, step, *rest, **options):  # type: ignore[no-untyped-def]
        objective = forward(batch, step, *rest, **options)
        if step == 1 and trainer.share.rank == trainer.share.world - 1:
            objective.loss = objective.loss * float("inf")
        return objective

    learner.forward = spoiled


def in_double() -> None:
    """Let this process compute in double precision: what is not rounding is told from what is."""
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    torch.set_default_dtype(torch.float64)


def work(job: Job, folder: Path) -> None:
    """Train; the first process writes down what it saw."""
    if job.double:
        in_double()
    trainer = build(folder / job.name, job.processes, job.steps)
    if job.double:
        trainer.learner.module.double()
    begun, seen = trainer.step, observe(trainer)
    spoil_second_step(trainer)
    trainer.fit()
    skipped = trainer.share.mean(torch.tensor(float(trainer.skips.count)))
    if trainer.share.rank == 0:
        weights = {name: p.detach() for name, p in trainer.learner.module.named_parameters()}
        steps = {"from": torch.tensor(begun), "to": torch.tensor(trainer.step), "skipped": skipped}
        torch.save({**seen, "weights": weights, "steps": steps}, folder / f"{job.name}.pt")


def start(rank: int, port: int, job: Job, folder: Path) -> int:
    """Fork one of the processes; return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if job.processes > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job.processes, "LOCAL_WORLD_SIZE": job.processes}
            place |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
            os.environ.update({name: str(value) for name, value in place.items()})
        work(job, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> None:
    """Do the jobs one after the other."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    build(folder / "imports", devices=1, steps=1)  # what is imported late is imported now, and not by every fork
    for job in JOBS:
        if job.begun_by:
            shutil.copytree(folder / job.begun_by, folder / job.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [start(rank, port, job, folder) for rank in range(job.processes)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if any(codes):
            sys.exit(f"{job.name} failed")


if __name__ == "__main__":
    main()
