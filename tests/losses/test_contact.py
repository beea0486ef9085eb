"""What stands on the ground is as far as the ground at its foot."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semdepth.labels import TRAIN_ID
from semdepth.losses.contact import BAND, ground_below, ground_contact_loss

ROAD, CAR, BUILDING, SKY, TREE = (TRAIN_ID[name] for name in ("road", "car", "building", "sky", "vegetation"))


def street(*columns: str) -> torch.Tensor:
    """Draw (1, H, W) labels, one string a column from top to bottom: s sky, b building, c car, r road, t tree, x unknown."""
    known = {"s": SKY, "b": BUILDING, "c": CAR, "r": ROAD, "t": TREE, "x": 255}
    return torch.tensor([[known[c] for c in column] for column in columns], dtype=torch.uint8).T[None].contiguous()


def test_a_run_ends_at_the_ground_below_it() -> None:
    below, stands = ground_below(street("ssccrr", "bbrrrr"))
    assert stands[0].T.tolist() == [[False, False, True, True, False, False], [True, True, False, False, False, False]]
    assert below[0, 2:4, 0].tolist() == [4, 4]
    assert below[0, :2, 1].tolist() == [2, 2]


@pytest.mark.parametrize(
    "column",
    [
        "bbccrr",  # the building's foot is hidden by the car: only the car stands on what is seen
        "sscccc",  # cut off by the image's border
        "ssccxr",  # unknown below
        "sscccr",  # one pixel of ground may be a stray label
        "ssttrr",  # a tree's crown hangs over the road
        "rrrrrr",
    ],
)
def test_what_has_no_foot_in_sight_says_nothing(column: str) -> None:
    labels = street(column, column)
    disparity = torch.rand(1, 1, *labels.shape[1:]).add(0.1).requires_grad_()
    _, stands = ground_below(labels)
    assert not (stands & (labels != CAR)).any()
    if column != "bbccrr":
        loss = ground_contact_loss(disparity, labels)
        loss.backward()
        assert loss == 0
        assert disparity.grad is not None
        assert torch.all(disparity.grad == 0)


@given(scale=st.floats(0.01, 100.0), factor=st.floats(0.2, 5.0))
def test_it_is_the_log_difference_beyond_the_band_at_any_scale(scale: float, factor: float) -> None:
    labels = street("sscccrr")
    disparity = torch.full((1, 1, 7, 1), scale)
    disparity[:, :, 2:5] *= factor
    expected = max(0.0, abs(torch.tensor(factor).log().item()) - BAND)
    assert ground_contact_loss(disparity, labels).item() == pytest.approx(expected, abs=1e-4)


def test_a_hole_is_pulled_near_and_the_ground_stays() -> None:
    labels = street("sscccrr", "sscccrr")
    disparity = torch.full((1, 1, 7, 2), 0.5)
    disparity[:, :, 2:5] = 0.01
    disparity.requires_grad_()
    ground_contact_loss(disparity, labels).backward()
    assert disparity.grad is not None
    assert torch.all(disparity.grad[:, :, 2:5] < 0)  # descending raises the disparity
    assert torch.all(disparity.grad[:, :, 5:] == 0)


def test_labels_that_nobody_believes_say_nothing() -> None:
    labels = street("sscccrr")
    disparity = torch.full((1, 1, 7, 1), 0.5)
    disparity[:, :, 2:5] = 0.01
    doubtful = torch.ones(1, 7, 1)
    doubtful[:, 5] = 0.2  # the ground at the foot
    assert ground_contact_loss(disparity, labels, torch.ones(1, 7, 1)) > 1
    assert ground_contact_loss(disparity, labels, doubtful) == 0


def test_maps_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="disparity must be"):
        ground_contact_loss(torch.rand(1, 1, 4, 4), street("sscccrr"))
