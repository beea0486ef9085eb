import pickle

import numpy as np
import pytest
import torch

from semdepth.data.catalog import DataConfig, open_dataset
from semdepth.data.synthetic_frames import SyntheticConfig, SyntheticFrames
from semdepth.geometry.warp import synthesise
from semdepth.runtime import InputError
from semdepth.structures import stack_frames
from semdepth.synthetic import writer

SIZE = (48, 160)
CONFIG = SyntheticConfig("val", drives=2, frames=5)


@pytest.fixture(scope="module")
def frames() -> SyntheticFrames:
    return SyntheticFrames(CONFIG, *SIZE, with_depth=True)


def test_every_frame_with_its_neighbours(frames):
    assert len(frames) == 2 * 3
    items = [frames[i] for i in range(len(frames))]
    assert len({item.names[0] for item in items}) == 6
    assert [frames.name(i) for i in range(6)] == [item.names[0] for item in items]
    batch = stack_frames(items)
    assert batch.target.shape == (6, 3, *SIZE)
    assert batch.sources.shape == (6, 2, 3, *SIZE)
    assert batch.target.dtype == batch.confidence.dtype == batch.labels.dtype == torch.uint8
    assert batch.depth.shape == (6, 1, *SIZE)
    assert torch.equal(items[0].sources[0, 1], items[1].target[0]), "the next frame is the next target"
    assert torch.equal(items[1].sources[0, 0], items[0].target[0])
    assert not torch.equal(items[2].target, items[3].target), "drives differ"
    assert torch.equal(frames[-1].target, items[5].target)
    with pytest.raises(IndexError):
        frames[6]


def test_true_depth_and_motion_explain_the_neighbours(frames):
    """Warping the source by the truth must look more like the target than the source itself does."""
    item = frames[0]
    target, known = item.target.float() / 255, item.depth > 0
    for s in range(2):
        source = item.sources[:, s].float() / 255
        depth = torch.where(known, item.depth, 200.0)
        warped = synthesise(source, depth, item.intrinsics, item.source_from_target[:, s])
        assert (warped - target).abs().mean() < 0.7 * (source - target).abs().mean()


def test_labels_to_judge_by_are_exact(frames):
    labels = frames.labels(0)
    noisy = frames[0].labels[0].numpy()
    assert 0.5 < (labels == noisy).mean() < 1.0
    exact = SyntheticFrames(CONFIG, *SIZE, labels="exact")[0]
    np.testing.assert_array_equal(exact.labels[0], labels)
    assert exact.confidence is None
    assert exact.depth is None
    assert SyntheticFrames(CONFIG, *SIZE, labels="none")[0].labels is None
    assert frames.moving(0).dtype == np.bool_
    np.testing.assert_array_equal(frames.ground_truth(0), frames[0].depth[0, 0])


def test_worlds_on_disk_are_the_same(frames, tmp_path):
    """Rendering as we go and `semdepth synthesise` then reading must give the same training data."""
    writer.synthesise(tmp_path, "val", 1, 5, height=SIZE[0], width=SIZE[1])
    config = DataConfig(root=tmp_path, height=SIZE[0], width=SIZE[1], with_depth=True)
    read = open_dataset(config)
    assert len(read) == 3
    for i in range(3):
        a, b = read[i], frames[i]
        for name in ("target", "sources", "labels"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert (a.confidence.int() - b.confidence.int()).abs().max() <= 1
        assert (a.depth - b.depth).abs().max() <= 0.5 / 256 + 1e-4
        for name in ("intrinsics", "source_from_target"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(read.moving(i), frames.moving(i))


def test_offsets_choose_the_targets():
    assert len(SyntheticFrames(CONFIG, *SIZE, offsets=())) == 10
    back = SyntheticFrames(CONFIG, *SIZE, offsets=(-2, -1))
    assert len(back) == 6
    assert back[0].names[0].endswith("/0002/l")
    assert SyntheticFrames(CONFIG, *SIZE, offsets=())[0].sources.shape == (1, 0, 3, *SIZE)
    with pytest.raises(InputError, match="too short"):
        SyntheticFrames(CONFIG, *SIZE, offsets=(-3, 3))


def test_a_copy_renders_for_itself(frames):
    item = frames[0]
    copy = pickle.loads(pickle.dumps(frames))
    assert torch.equal(copy[0].target, item.target)


def test_by_options():
    config = DataConfig("synthetic", height=24, width=80, synthetic=SyntheticConfig("foreign", drives=1, frames=3))
    dataset = open_dataset(config)
    assert len(dataset) == 1
    plain = SyntheticFrames(SyntheticConfig("val", drives=1, frames=3), 24, 80)
    assert not torch.allclose(dataset[0].intrinsics, plain[0].intrinsics), "the foreign style has another camera"


@pytest.mark.parametrize("options", [{"drives": 0}, {"frames": 0}, {"first": -1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(InputError):
        SyntheticConfig(**options)
