from dataclasses import replace

import pytest
import torch

from semdepth.data.appearance import NOISE, another_camera
from semdepth.data.transforms import AugmentConfig, augment
from semdepth.processes import Share
from semdepth.runtime import InputError
from semdepth.structures import FrameBatch


def make_batch(size: int = 6) -> FrameBatch:
    images = torch.rand(size, 3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    batch = FrameBatch(
        names=tuple(map(str, range(size))),
        target=images[:, 0],
        sources=images[:, 1:],
        offsets=(-1, 1),
        intrinsics=torch.eye(3).repeat(size, 1, 1),
    )
    return replace(batch, seen_target=batch.target, seen_sources=batch.sources)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_changes_what_is_seen_and_nothing_else() -> None:
    batch = make_batch()
    changed = another_camera(batch, generator(), 1.0)
    assert changed.target is batch.target
    assert changed.sources is batch.sources
    assert changed.seen_target.shape == batch.target.shape
    assert changed.seen_sources.shape == batch.sources.shape
    assert 0 <= changed.seen_target.min() <= changed.seen_target.max() <= 1
    assert torch.isfinite(changed.seen_sources).all()
    assert ((changed.seen_target - batch.target).abs().mean(dim=(1, 2, 3)) > 0.01).all()


def test_chance_zero_changes_nothing_and_a_half_changes_some() -> None:
    batch = make_batch(40)
    assert torch.equal(another_camera(batch, generator(), 0.0).seen_target, batch.target)
    changed = (another_camera(batch, generator(), 0.5).seen_target != batch.target).flatten(1).any(dim=1)
    assert 10 < changed.sum() < 30


def test_tone_is_one_for_all_frames_and_noise_is_not() -> None:
    """Of three equal grey frames without texture, the means stay close and the pixels differ by the noise."""
    batch = make_batch(20)
    grey = torch.full_like(batch.target, 0.5)
    batch = replace(batch, seen_target=grey, seen_sources=grey[:, None].repeat(1, 2, 1, 1, 1))
    seen = another_camera(batch, generator(), 1.0)
    frames = torch.cat([seen.seen_target[:, None], seen.seen_sources], dim=1)
    means = frames.mean(dim=(2, 3, 4))
    assert means.std(dim=0).min() > 0.05, "samples differ"
    assert (means - means.mean(dim=1, keepdim=True)).abs().median() < 0.05, "frames of a sample differ little"
    spread = (frames[:, 1] - frames[:, 0]).diff(dim=-1).std(dim=(1, 2, 3))
    assert (spread > 0).all()
    assert spread.max() < 4 * NOISE


def test_some_lose_their_colours() -> None:
    seen = another_camera(make_batch(60), generator(), 1.0).seen_target
    chroma = (seen - seen.mean(dim=1, keepdim=True)).abs().mean(dim=(1, 2, 3))
    assert 2 <= (chroma < 0.6 * chroma.median()).sum() <= 25


def test_several_processes_see_what_one_sees() -> None:
    batch = make_batch(6)
    whole = another_camera(batch, generator(), 1.0).seen_target
    for rank in (0, 1):
        part = replace(
            batch,
            names=batch.names[rank::2],
            seen_target=batch.target[rank::2],
            seen_sources=batch.sources[rank::2],
        )
        assert torch.equal(another_camera(part, generator(), 1.0, Share(rank, 2)).seen_target, whole[rank::2])


def test_augment_uses_it_without_jitter_too() -> None:
    batch = replace(make_batch(), seen_target=None, seen_sources=None)
    seen = augment(batch, generator(), AugmentConfig(flip=0.0, jitter=0.0, camera=1.0))
    assert seen.seen_target is not None
    assert not torch.equal(seen.seen_target, seen.target)
    assert torch.equal(seen.target, batch.target)
    assert augment(batch, generator(), AugmentConfig(jitter=0.0)).seen_target is None


def test_a_chance_above_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"camera 1\.5"):
        AugmentConfig(camera=1.5)
