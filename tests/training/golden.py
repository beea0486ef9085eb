"""The golden run: 200 steps of the full method on a made-up video, the same on every machine up to rounding.

Written anew, after a change of numbers that is meant, by ``python tests/training/golden.py``; say in the commit why they changed.
``python tests/training/golden.py spread 5`` measures how far rounding alone carries such a run: initial weights differ by 1e-7.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from semdepth.data.transforms import AugmentConfig
from semdepth.models.network import NetworkConfig
from semdepth.structures import FrameBatch
from semdepth.training.balance import BalanceConfig
from semdepth.training.objective_config import ObjectiveConfig
from semdepth.training.optim import OptimConfig
from semdepth.training.trainer import Trainer
from semdepth.training.trainer_config import TrainerConfig

STORED = Path(__file__).with_name("golden_run.json")
STEPS = 200
SIZE = 64
ROWS = [*range(1, 11), *range(20, STEPS + 1, 10)]
"""The steps whose numbers are stored."""
Row = dict[str, float]


class PassingCar(Dataset[FrameBatch]):
    """A textured wall under a sky, and before it a car, that pass a camera moving sideways: the car three times as fast."""

    def __init__(self, length: int = 8) -> None:
        draws = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(7))
        self.wall, self.car = F.interpolate(draws, scale_factor=4, mode="bilinear").mul(255).round().byte()
        self.length = length

    def __len__(self) -> int:
        return self.length

    def frame(self, time: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.wall[:, :, 8 + 2 * time : 8 + 2 * time + SIZE].clone()
        labels = torch.full((SIZE, SIZE), 2, dtype=torch.uint8)
        image[:, :12], labels[:12], labels[56:] = 230, 10, 0
        left = 30 - 6 * (time - 4)
        left, right = max(left, 0), min(left + 26, SIZE)
        image[:, 30:52, left:right], labels[30:52, left:right] = self.car[:, 30:52, 40 : 40 + right - left], 13
        return image, labels

    def __getitem__(self, index: int) -> FrameBatch:
        before, (target, labels), after = (self.frame(index + offset) for offset in (-1, 0, 1))
        return FrameBatch(
            names=(f"street/{index:04d}/l",),
            target=target[None],
            sources=torch.stack([before[0], after[0]])[None],
            offsets=(-1, 1),
            intrinsics=torch.tensor([[[60.0, 0, 31.5], [0, 60.0, 31.5], [0, 0, 1]]]),
            labels=labels[None],
        )


def golden_trainer(run: Path) -> Trainer:
    """Return the trainer of the run, before its first step."""
    return Trainer(
        run,
        PassingCar(),
        network=NetworkConfig(
            encoder="resnet10-small",
            pose_encoder="resnet10-small",
            decoder_channels=(8, 8, 16, 16, 32),
            fusion="ssfa",
        ),
        # Fixed weights: the classes are learnt within the run, so that there are pairs that the network agrees with.
        objective=ObjectiveConfig(ranking=0.05, ranking_warm_up=2, balance=BalanceConfig("fixed")),
        optim=OptimConfig(learning_rate=2e-4, warm_up=4, clip=5.0),
        augment=AugmentConfig(),
        trainer=TrainerConfig(
            batch=2, steps=STEPS, workers=0, accelerator="cpu", log_every=1000, checkpoint_every=1000, panel_every=1000
        ),
    )


def losses(steps: int = STEPS, prepare: Callable[[Trainer], None] = lambda trainer: None) -> dict[int, Row]:
    """Return loss and terms of the first ``steps`` steps, by step (from 1)."""
    found: dict[int, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = golden_trainer(Path(folder) / "run")
        prepare(trainer)
        for batch in trainer.batches():
            objective = trainer.train_step(batch)
            trainer.step += 1
            terms = {name: float(value) for name, value in objective.terms.items()}
            found[trainer.step] = {"loss": float(objective.loss.detach()), **terms}
            if trainer.step == steps:
                break
    return found


def jog(trainer: Trainer, seed: int) -> None:
    """Change every initial weight by a part in ten million, a rounding or so."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trainer.learner.parameters():
            parameter.mul_(1 + 1e-7 * torch.randn(parameter.shape, generator=generator))


def spread(runs: int) -> None:
    """Print the largest relative difference of each term up to some steps, over jogged runs."""
    plain = losses()
    jogged = [losses(prepare=lambda trainer, seed=seed: jog(trainer, seed)) for seed in range(runs)]
    first = 1
    for last in (5, 10, 20, 50, 100, STEPS):
        worst = {
            name: max(
                abs(run[step][name] - value) / max(abs(value), 1e-6)
                for run in jogged
                for step in ROWS
                if first <= step <= last
                for value in [plain[step][name]]
            )
            for name in plain[STEPS]
            if name in plain[first]
        }
        print(f"steps {first}-{last}: " + "  ".join(f"{name} {value:.1e}" for name, value in worst.items()), flush=True)
        first = last + 1


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["spread"]:
        return spread(int(sys.argv[2]))
    found = losses()
    rows = {step: {name: float(f"{value:.8g}") for name, value in found[step].items()} for step in ROWS}
    made = {"torch": torch.__version__, "steps": STEPS}
    lines = ",\n".join(f'  "{step}": {json.dumps(row)}' for step, row in rows.items())
    STORED.write_text(f'{{"made_with": {json.dumps(made)},\n "rows": {{\n{lines}\n }}\n}}\n')
    print(f"{STORED}: {len(rows)} steps written", file=sys.stderr)


if __name__ == "__main__":
    main()
