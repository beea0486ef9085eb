from itertools import islice

import pytest

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
