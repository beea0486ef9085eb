import pytest
import torch

from semdepth.geometry.rigid import pose_matrix
from semdepth.models.pose_net import FOCAL_RANGE, FocalLength, build_pose_network

SMALL = "resnet10-small"


def test_shapes_and_small_start():
    axis_angle, translation = build_pose_network(SMALL, seed=0)(torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96))
    assert axis_angle.shape == translation.shape == (2, 3)
    assert max(axis_angle.abs().max(), translation.abs().max()) < 0.1


def test_order_of_the_pair_matters():
    network = build_pose_network(SMALL, seed=0).eval()
    a, b = torch.rand(2, 1, 3, 64, 96)
    assert not torch.allclose(network(a, b)[0], network(b, a)[0], atol=1e-8)


def test_seed_decides():
    first, again, other = (build_pose_network(SMALL, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(v, again[k]) for k, v in first.items())
    assert not torch.equal(first["squeeze.weight"], other["squeeze.weight"])


def test_gradient_reaches_every_parameter():
    network = build_pose_network(SMALL, seed=0)
    axis_angle, translation = network(torch.rand(2, 3, 64, 96), torch.rand(2, 3, 64, 96))
    (axis_angle.square().sum() + translation.square().sum()).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("encoder", ["resnet18", "convnextv2-atto"])
def test_other_encoders(encoder):
    axis_angle, _ = build_pose_network(encoder)(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    assert torch.isfinite(axis_angle).all()


def test_the_learnt_focal_length_starts_as_given_and_stays_in_bounds():
    given = torch.tensor([[[100.0, 0.5, 63.0], [0, 110.0, 31.0], [0, 0, 1]]])
    focal = FocalLength()
    assert torch.equal(focal(given), given)
    for raw, factor in ((1e6, FOCAL_RANGE), (-1e6, 1 / FOCAL_RANGE)):
        with torch.no_grad():
            focal.raw.fill_(raw)
        learnt = focal(given)
        assert torch.allclose(learnt[0, 0, 0], torch.tensor(100.0 * factor))
        assert torch.allclose(learnt[0, 1, 1], torch.tensor(110.0 * factor))
        assert torch.equal(learnt[..., 2], given[..., 2])  # the principal point is not learnt


def test_a_network_that_learns_no_focal_length_is_as_before():
    plain, learning = (build_pose_network(SMALL, learn_focal=learn, seed=0) for learn in (False, True))
    assert plain.focal is None
    assert set(learning.state_dict()) - set(plain.state_dict()) == {"focal.raw", "turn.share"}
    assert all(torch.equal(value, learning.state_dict()[key]) for key, value in plain.state_dict().items())


def test_training_can_start_straight_ahead():
    """Whatever it sees, what is ahead comes nearer by the given way; all else starts as without."""
    plain, ahead = (build_pose_network("resnet10-small", initial_motion=way, seed=1) for way in (0.0, 0.02))
    first, second = torch.rand(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0)).unbind()
    axis_angle, translation = ahead(first, second)
    assert not axis_angle.any()
    torch.testing.assert_close(translation, torch.tensor([[0.0, 0.0, -0.02]]).expand(2, 3))
    second_from_first = pose_matrix(axis_angle, translation)
    torch.testing.assert_close(
        second_from_first @ torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([[0.0, 0.0, 0.98, 1.0]] * 2)
    )
    others = {k: v for k, v in plain.named_parameters() if not k.startswith("motion.")}
    assert all(torch.equal(ahead.get_parameter(k), v) for k, v in others.items())


def test_a_start_straight_ahead_can_be_unlearnt():
    """A camera that drives backwards: the bias and the weights both get a gradient that leads there."""
    network = build_pose_network("resnet10-small", initial_motion=0.02, seed=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    frames = torch.rand(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for _ in range(60):
        loss = (network(*frames)[1] - torch.tensor([0.0, 0.0, 0.02])).abs().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert network.motion.weight.abs().max() > 0
    assert (network(*frames)[1][:, 2] > 0).all()


def test_where_the_focal_length_is_learnt_the_turn_is_what_the_shift_shows() -> None:
    """Before training the network says nothing of turns; a camera of twice the focal length turned half as far."""
    network = build_pose_network(SMALL, learn_focal=True, initial_motion=0.02, seed=0).eval()
    noise = torch.nn.functional.avg_pool2d(
        torch.rand(1, 3, 64, 104, generator=torch.Generator().manual_seed(1)), 3, 1, 1
    )
    first, second = noise[..., 5:101], noise[..., :96]  # things move right by five pixels: the camera turns left
    camera = torch.tensor([[[100.0, 0, 47.5], [0, 110.0, 31.5], [0, 0, 1]]])
    axis_angle, translation = network(first, second, camera)
    assert torch.allclose(axis_angle, torch.tensor([[0.0, 0.05, 0.0]]), atol=3e-3)
    assert torch.allclose(translation, torch.tensor([[0.0, 0.0, -0.02]]))
    twice = camera * torch.tensor([[2.0, 1, 1], [1, 2, 1], [1, 1, 1]])
    assert torch.allclose(network(first, second, twice)[0], axis_angle / 2)
    with pytest.raises(ValueError, match="camera"):
        network(first, second)


def test_a_network_with_a_given_camera_ignores_it() -> None:
    given = build_pose_network(SMALL, seed=0).eval()
    pair = torch.rand(2, 1, 3, 64, 96)
    assert torch.equal(given(*pair)[0], given(*pair, torch.eye(3)[None])[0])
