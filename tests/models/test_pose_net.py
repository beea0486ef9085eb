import pytest
import torch

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
    assert set(learning.state_dict()) - set(plain.state_dict()) == {"focal.raw"}
    assert all(torch.equal(value, learning.state_dict()[key]) for key, value in plain.state_dict().items())
