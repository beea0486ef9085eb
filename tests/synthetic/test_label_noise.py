import pytest
import torch

from semdepth.labels import IGNORE, THIN, TRAIN_ID, membership
from semdepth.runtime import InputError
from semdepth.synthetic.drive import render_drive
from semdepth.synthetic.label_noise import LabelNoiseConfig, corrupt_labels
from semdepth.synthetic.style import WorldConfig

CLEAN = LabelNoiseConfig(border=0.0, drop_thin=0.0, confuse=0.0, blobs=0.0)


@pytest.fixture(scope="module")
def drives():
    return [render_drive(seed, 2, 96, 320, config=WorldConfig(anti_alias=False), start=30) for seed in range(8)]


def _area_under_curve(score, positive):
    rank = score.argsort().argsort().double()
    n, m = positive.sum(), (~positive).sum()
    return float((rank[positive].sum() - n * (n - 1) / 2) / (n * m))


def test_default_noise_is_that_of_a_real_segmenter(drives):
    confusion, areas = torch.zeros(19, 19), []
    for seed, drive in enumerate(drives):
        noisy, confidence = corrupt_labels(drive.labels, seed, instances=drive.instances)
        assert noisy.dtype == torch.uint8
        assert confidence.dtype == torch.float32
        assert 0 <= confidence.min() <= confidence.max() <= 1
        pair = drive.labels.long() * 19 + noisy.long()
        confusion += torch.bincount(pair.flatten(), minlength=361).reshape(19, 19)
        right = noisy == drive.labels
        areas.append(_area_under_curve(confidence.flatten(), right.flatten()))
        assert ((confidence > 0.5) == right).float().mean() > 0.7
    there = confusion.sum(1) > 500
    iou = confusion.diag() / (confusion.sum(0) + confusion.sum(1) - confusion.diag())
    assert 0.55 < iou[there].mean() < 0.8
    assert 0.8 < confusion.diag().sum() / confusion.sum() < 0.95
    assert 0.78 < sum(areas) / len(areas) < 0.93


def test_without_noise_labels_stay(drives):
    noisy, _ = corrupt_labels(drives[0].labels, 0, CLEAN, drives[0].instances)
    assert torch.equal(noisy, drives[0].labels)


def test_dropped_thin_structures_take_a_neighbours_label(drives):
    config = LabelNoiseConfig(border=0.0, drop_thin=1.0, confuse=0.0, blobs=0.0)
    thin = torch.from_numpy(membership(THIN))
    for drive in drives:
        noisy, _ = corrupt_labels(drive.labels, 0, config, drive.instances)
        was = thin[drive.labels.long()]
        assert not thin[noisy.long()].any()
        assert torch.equal(noisy[~was], drive.labels[~was])


def test_whole_objects_are_confused_and_mostly_in_all_frames(drives):
    config = LabelNoiseConfig(border=0.0, drop_thin=0.0, confuse=0.5, blobs=0.0, persistence=1.0)
    checked = 0
    for seed, drive in enumerate(drives):
        noisy, _ = corrupt_labels(drive.labels, seed, config, drive.instances)
        for number in drive.instances[drive.labels == TRAIN_ID["car"]].unique():
            mine = (drive.instances == number) & (drive.labels == TRAIN_ID["car"])
            assert len(noisy[mine].unique()) == 1
            checked += 1
    assert checked > 10


def test_ragged_borders_touch_only_borders(drives):
    config = LabelNoiseConfig(border=2.0, drop_thin=0.0, confuse=0.0, blobs=0.0)
    labels = torch.zeros(1, 96, 320, dtype=torch.uint8)
    labels[:, :, 160:] = 10
    noisy, _ = corrupt_labels(labels, 0, config)
    wrong = (noisy != labels).nonzero()[:, 2]
    assert len(wrong) > 20
    assert wrong.min() > 145
    assert wrong.max() < 175


def test_errors_depend_on_seed_and_frame_alone(drives):
    d = drives[0]
    all_noisy, all_confidence = corrupt_labels(d.labels, 3, instances=d.instances, start=5)
    noisy, confidence = corrupt_labels(d.labels[1:], 3, instances=d.instances[1:], start=6)
    assert torch.equal(noisy[0], all_noisy[1])
    assert torch.equal(confidence[0], all_confidence[1])
    other, _ = corrupt_labels(d.labels, 4, instances=d.instances, start=5)
    assert not torch.equal(other, all_noisy)


def test_ignore_stays_ignore_with_no_confidence():
    labels = torch.full((1, 32, 96), IGNORE, dtype=torch.uint8)
    labels[:, 16:] = 0
    noisy, confidence = corrupt_labels(labels, 0)
    assert (noisy[:, :16] == IGNORE).all()
    assert (noisy[:, 24:] != IGNORE).all()
    assert (confidence[:, :16] == 0).all()


@pytest.mark.parametrize("bad", [{"blobs": 1.5}, {"border": -1.0}, {"persistence": -0.1}])
def test_config_refuses_nonsense(bad):
    with pytest.raises(InputError):
        LabelNoiseConfig(**bad)
