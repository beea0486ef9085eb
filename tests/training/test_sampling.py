from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semdepth.processes import Share
from semdepth.runtime import InputError
from semdepth.training.sampling import StepSampler, step_generator


def test_every_frame_once_an_epoch() -> None:
    batches = list(StepSampler(12, 4, steps=6, seed=3))
    assert sorted(i for batch in batches[:3] for i in batch) == list(range(12))
    assert sorted(i for batch in batches[3:] for i in batch) == list(range(12))
    assert batches[:3] != batches[3:]


def test_starting_later_gives_the_same_batches() -> None:
    whole = list(StepSampler(10, 3, steps=20, seed=1))
    assert list(StepSampler(10, 3, steps=20, start=7, seed=1)) == whole[7:]


def test_processes_share_the_global_batch() -> None:
    whole = list(StepSampler(16, 4, steps=8, seed=2))
    shares = [list(StepSampler(16, 4, steps=8, seed=2, rank=r, world=2)) for r in (0, 1)]
    for step, batch in enumerate(whole):
        assert sorted(shares[0][step] + shares[1][step]) == sorted(batch)
        assert len(shares[0][step]) == 2


def test_too_little_data_is_refused() -> None:
    with pytest.raises(InputError, match=r"lower trainer\.batch"):
        StepSampler(3, 4, steps=1)
    with pytest.raises(InputError, match="divide"):
        StepSampler(8, 3, steps=1, world=2)


def test_seeds_differ() -> None:
    a, b = (list(islice(StepSampler(50, 5, steps=10, seed=s), 3)) for s in (0, 1))
    assert a != b
    draws = {step_generator(s, t, r).initial_seed() for s in range(3) for t in range(50) for r in range(2)}
    assert len(draws) == 300


@settings(max_examples=60, deadline=None)
@given(
    share=st.integers(1, 4),
    world=st.integers(1, 8),
    batches=st.integers(1, 5),
    rest=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_every_frame_at_most_once_an_epoch_whatever_the_number_of_processes(
    share: int, world: int, batches: int, rest: int, seed: int
) -> None:
    """All frames but a remainder smaller than a batch, once each; which remain is another draw every epoch."""
    batch = share * world
    length = batches * batch + rest % batch
    epochs = 2
    samplers = [
        StepSampler(length, batch, steps=epochs * batches, seed=seed, rank=r, world=world) for r in range(world)
    ]
    steps = list(zip(*samplers, strict=True))
    for epoch in range(epochs):
        met = [frame for step in steps[epoch * batches : (epoch + 1) * batches] for part in step for frame in part]
        assert len(met) == len(set(met)) == batches * batch > length - batch
        assert set(met) <= set(range(length))
    assert all(len(part) == share for step in steps for part in step)


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_a_frame_gets_the_same_draws_whatever_the_number_of_processes(world: int) -> None:
    def draw(rank: int) -> torch.Tensor:
        return Share(rank, world).draw(6 // world, 4, generator=step_generator(0, 5))

    whole = Share().draw(6, 4, generator=step_generator(0, 5))
    for rank in range(world):
        assert torch.equal(draw(rank), whole[rank::world])
