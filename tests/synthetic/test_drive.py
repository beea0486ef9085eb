import pytest
import torch

from semdepth.labels import CLASSES
from semdepth.runtime import InputError
from semdepth.synthetic.drive import render_drive, world_seed
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.traffic import open_traffic


def _assert_same(a, b):
    assert (a.images.int() - b.images.int()).abs().max() <= 1
    assert torch.equal(a.labels, b.labels)
    assert torch.equal(a.instances, b.instances)
    assert torch.equal(a.moving, b.moving)
    torch.testing.assert_close(a.depth, b.depth, rtol=1e-5, atol=0)
    assert torch.equal(a.world_from_camera, b.world_from_camera)


def test_shapes_types_and_ranges(small_drive):
    d = small_drive
    assert d.images.shape == (3, 3, 64, 192)
    assert d.images.dtype == torch.uint8
    assert d.depth.shape == (3, 1, 64, 192)
    assert d.depth.dtype == torch.float32
    assert d.labels.shape == d.instances.shape == d.moving.shape == (3, 64, 192)
    assert d.labels.dtype == torch.uint8
    assert d.instances.dtype == torch.int32
    assert d.moving.dtype == torch.bool
    assert d.labels.max() < len(CLASSES)
    assert d.world_from_camera.shape == (3, 4, 4)
    rotation = d.world_from_camera[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(3, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(rotation.det(), torch.ones(3), atol=1e-5, rtol=0)
    expected = torch.tensor([[0.58 * 192, 0, 95.5], [0, 1.92 * 64, 31.5], [0, 0, 1]])
    torch.testing.assert_close(d.intrinsics, expected)
    assert not d.images.is_inference()


def test_same_seed_gives_the_same_frames_whatever_else_is_asked_for(small_drive):
    open_traffic.cache_clear()
    # Another batch split, starting in the middle, in another order.
    _assert_same(render_drive(3, 1, 64, 192, start=11), _part(small_drive, 1))
    _assert_same(render_drive(3, 1, 64, 192, start=10), _part(small_drive, 0))
    long = render_drive(3, 16, 64, 192, start=0)
    _assert_same(_part(long, 12), _part(small_drive, 2))


def _part(drive, index):
    from dataclasses import replace

    names = ("images", "depth", "labels", "instances", "moving", "world_from_camera")
    return replace(drive, **{n: getattr(drive, n)[index : index + 1] for n in names})


@pytest.mark.slow
def test_same_frames_on_one_thread_and_on_two(small_drive):
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        again = render_drive(3, 3, 64, 192, start=10)
    finally:
        torch.set_num_threads(threads)
    _assert_same(again, small_drive)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NO GPU: agreement of CPU and GPU frames NOT tested")
def test_same_frames_on_the_gpu(small_drive):
    there = render_drive(3, 3, 64, 192, start=10, device="cuda")
    # The two devices round differently, so a pixel on an edge may see the other side of it.
    assert ((there.images.cpu().int() - small_drive.images.int()).abs() <= 1).float().mean() > 0.999
    assert (there.labels.cpu() == small_drive.labels).float().mean() > 0.999


def test_other_seeds_and_styles_give_other_worlds(small_drive):
    other = render_drive(4, 1, 64, 192, start=10)
    assert (other.images[0] != small_drive.images[0]).float().mean() > 0.5
    foreign = render_drive(3, 1, 64, 192, start=10, config=WorldConfig(style="foreign"))
    assert not torch.equal(foreign.intrinsics, small_drive.intrinsics)
    assert foreign.world_from_camera[0, 1, 3] > small_drive.world_from_camera[0, 1, 3] + 0.2


def test_splits_never_share_a_seed():
    seeds = [world_seed(split, i) for split in ("train", "val", "test", "foreign") for i in (0, 1, 999, 999_999_999)]
    assert len(set(seeds)) == len(seeds)
    with pytest.raises(InputError, match="val"):
        world_seed("dev", 0)
    with pytest.raises(InputError, match="between"):
        world_seed("train", -1)


def test_anti_aliasing_changes_colours_at_edges_only(clean_drive):
    config = WorldConfig(scene="complex", noise=0.0, anti_alias=False)
    hard = render_drive(11, 4, 96, 320, config=config, start=40)
    assert torch.equal(hard.labels, clean_drive.labels)
    assert torch.equal(hard.depth, clean_drive.depth)
    changed = (hard.images != clean_drive.images).any(1).float().mean()
    assert 0.02 < changed < 0.6


def test_noise_is_there_and_of_the_size_of_a_sensors(clean_drive):
    noisy = render_drive(11, 1, 96, 320, config=WorldConfig(scene="complex"), start=40)
    difference = noisy.images[0].float() - clean_drive.images[0].float()
    assert 0.5 < difference.std() < 4
    assert difference.mean().abs() < 0.2


@pytest.mark.slow
def test_every_class_occurs():
    seen: set[int] = set()
    for seed in range(24):
        seen |= set(
            render_drive(seed, 2, 64, 192, config=WorldConfig(scene="complex"), start=7 * seed).labels.unique().tolist()
        )
    assert seen == {c.train_id for c in CLASSES}


@pytest.mark.parametrize("bad", [{"frames": 0}, {"height": 4}, {"start": -1}, {"seed": -1}])
def test_refuses_what_it_cannot_render(bad):
    arguments = {"seed": 0, "frames": 1, "height": 16, "width": 16} | bad
    with pytest.raises(InputError, match="cannot render"):
        render_drive(**arguments)


@pytest.mark.parametrize(
    "bad", [{"scene": "city"}, {"style": "mars"}, {"min_speed": 9.0, "max_speed": 3.0}, {"noise": -1.0}]
)
def test_config_refuses_contradictions(bad):
    with pytest.raises(InputError):
        WorldConfig(**bad)
