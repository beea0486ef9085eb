"""A street in which one car drives along and one is parked."""

import pytest
import torch

from semdepth.geometry.camera import intrinsics_from_fov
from semdepth.geometry.rigid import pose_matrix
from semdepth.geometry.warp import synthesise
from semdepth.labels import IGNORE, TRAIN_ID
from semdepth.losses.motion import movable, moving_with_camera
from semdepth.losses.photometric import photometric_error

SIZE = (32, 64)
DRIVING, PARKED = (slice(8, 24), slice(6, 22)), (slice(8, 24), slice(40, 58))
CAR = TRAIN_ID["car"]


@pytest.fixture
def street() -> dict[str, torch.Tensor]:
    """A textured wall at 5 m, cars painted on it, the camera moving sideways by half a metre; one car keeps up with it."""
    noise = torch.rand(1, 3, 8, 16, generator=torch.Generator().manual_seed(1))
    source = torch.nn.functional.interpolate(noise, SIZE, mode="bilinear", align_corners=False)
    intrinsics = intrinsics_from_fov(70.0, SIZE)[None]
    motion = pose_matrix(torch.zeros(1, 3), torch.tensor([[-0.5, 0.0, 0.0]]))
    depth = torch.full((1, 1, *SIZE), 5.0)
    target = synthesise(source, depth, intrinsics, motion)
    target[(..., *DRIVING)] = source[(..., *DRIVING)]
    labels = torch.full((1, *SIZE), TRAIN_ID["road"], dtype=torch.uint8)
    labels[(..., *DRIVING)] = labels[(..., *PARKED)] = CAR
    hole = depth.clone()
    hole[(..., *DRIVING)] = 100.0
    return {"source": source, "target": target, "labels": labels, "depth": depth, "hole": hole} | {
        "intrinsics": intrinsics,
        "motion": motion,
    }


def found(street: dict[str, torch.Tensor], depth: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
    warped = synthesise(street["source"], depth, street["intrinsics"], street["motion"])
    errors = (photometric_error(image, street["target"]) for image in (warped, street["source"]))
    return moving_with_camera(street["labels"], *errors, **options)  # type: ignore[misc]


@pytest.mark.parametrize("depth", ["depth", "hole"])
def test_the_car_that_keeps_our_speed_is_found_and_the_parked_one_is_not(
    street: dict[str, torch.Tensor], depth: str
) -> None:
    """Also once the network already takes it for a hole, where the auto-mask, pixel by pixel, is of two minds."""
    expected = torch.zeros_like(street["labels"], dtype=torch.bool)
    expected[(..., *DRIVING)] = True
    assert torch.equal(found(street, street[depth]), expected)


def test_labels_that_are_not_sure_or_missing_mask_nothing(street: dict[str, torch.Tensor]) -> None:
    confidence = torch.ones(1, *SIZE)
    confidence[..., :14] = 0.2
    masked = found(street, street["depth"], confidence=confidence)
    assert not masked[..., :14].any()
    assert masked[0, 8:24, 14:22].all()
    street["labels"] = torch.full_like(street["labels"], IGNORE)
    assert not found(street, street["depth"]).any()


def test_what_can_move(street: dict[str, torch.Tensor]) -> None:
    labels = torch.tensor([[[0, CAR, TRAIN_ID["person"], TRAIN_ID["pole"], IGNORE]]], dtype=torch.uint8)
    assert movable(labels).tolist() == [[[False, True, True, False, False]]]


def test_slivers_are_left_alone(street: dict[str, torch.Tensor]) -> None:
    """They have no pixel of their own to be judged by."""
    street["labels"] = torch.full_like(street["labels"], TRAIN_ID["road"])
    street["labels"][:, 8:24, 10:12] = CAR
    assert not found(street, street["depth"]).any()


def test_images_are_asked_apart(street: dict[str, torch.Tensor]) -> None:
    labels = street["labels"].expand(2, -1, -1)
    still, alone = torch.full((2, 1, *SIZE), 0.1), torch.full((2, 1, *SIZE), 0.2)
    alone[1] = 0.05
    masked = moving_with_camera(labels, alone, still)
    assert torch.equal(masked[0], labels[0] == CAR)
    assert not masked[1].any()


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        moving_with_camera(torch.zeros(1, 4, 4, dtype=torch.uint8), torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 5))
