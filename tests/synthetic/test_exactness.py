"""Depth, poses and labels against an independent, slow, float64 ray caster, and against the images themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semdepth.labels import GROUND, TRAIN_ID
from semdepth.synthetic.block import BLOCK
from semdepth.synthetic.drive import camera_of, render_drive
from semdepth.synthetic.layout import KERB
from semdepth.synthetic.placement import move_frames
from semdepth.synthetic.scene import camera_poses
from semdepth.synthetic.shapes import BALL, BOX, CYLINDER, WEDGE
from semdepth.synthetic.style import WorldConfig
from semdepth.synthetic.traffic import Traffic
from semdepth.synthetic.world import World


def _solids(world, number):
    """Every prim in world axes at one frame: kind, centre, inverse, taper, label."""
    frames = np.array([float(number)])
    ego = world.ego.at(frames)[0][0]
    parts = []
    for index in range(int(ego // BLOCK) - 2, int(ego // BLOCK) + 7):
        table = world.block(index).prims
        parts.append((table.kind, table.centre, table.inverse, table.taper, table.label))
    movers = Traffic(world).over(frames)
    x, z, heading = world.route.pose(movers.s[0], movers.d)
    o = movers.owner
    centre, inverse = move_frames(movers.prims.centre, movers.prims.inverse, x[o], z[o], (heading + movers.turned)[o])
    parts.append((movers.prims.kind, centre, inverse, movers.prims.taper, movers.prims.label))
    return [np.concatenate(p) for p in zip(*parts, strict=True)]


def _first_solid(solids, origin, direction):
    """Try where the ray crosses every plane and quadric of every solid; return depth and label of the first valid one."""
    kind, centre, inverse, taper, label = solids
    o = np.einsum("pij,pj->pi", inverse, origin - centre)
    d = np.einsum("pij,j->pi", inverse, direction)
    best, found = np.inf, -1
    for this in np.unique(kind):
        here = kind == this
        candidate = _nearest(this, o[here], d[here], taper[here])
        if candidate.min() < best:
            best, found = candidate.min(), label[here][candidate.argmin()]
    return best, found


def _nearest(kind, o, d, taper):
    one, zero = np.ones(len(o)), np.zeros(len(o))
    planes = [] if kind == BALL else [((zero, one, zero), one), ((zero, -one, zero), one)]
    if kind in (BOX, WEDGE):
        planes += [((zero, zero, one), one), ((zero, zero, -one), one)]
        a, b = taper.T if kind == WEDGE else (zero, zero)
        planes += [((one, -a / 2, zero), 1 - a / 2), ((-one, -b / 2, zero), 1 - b / 2)]
    planes = [(np.stack(n, axis=1), c) for n, c in planes]
    axes = {BALL: [0, 1, 2], CYLINDER: [0, 2]}.get(kind, [])
    crossings = [(c - (n * o).sum(1)) / (n * d).sum(1) for n, c in planes]
    if axes:
        a, b, c = (d[:, axes] ** 2).sum(1), (o[:, axes] * d[:, axes]).sum(1), (o[:, axes] ** 2).sum(1) - 1
        root = np.sqrt(b * b - a * c)
        crossings += [(-b - root) / a, (-b + root) / a]
    best = np.full(len(o), np.inf)
    for t in crossings:
        p = o + t[:, None] * d
        valid = (t > 0.1) & (t < best)
        for n, c in planes:
            valid &= (n * p).sum(1) <= c + 1e-7
        if axes:
            valid &= (p[:, axes] ** 2).sum(1) <= 1 + 1e-7
        best = np.where(valid, t, best)
    return best


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
@pytest.mark.parametrize("seed", [1, 5, 8])
def test_depth_and_label_agree_with_brute_force(seed):
    config = WorldConfig(scene="complex")
    number, height, width = 25, 64, 192
    drive = render_drive(seed, 1, height, width, config=config, start=number)
    world = World(seed, config)
    pose, _ = camera_poses(world, np.array([float(number)]))
    camera = camera_of(config, height, width)
    solids = _solids(world, number)
    rng = np.random.default_rng(0)
    agree = 0
    for row, column in zip(rng.integers(0, height, 250), rng.integers(0, width, 250), strict=True):
        ray = np.array([(column - camera.cx) / camera.fx, (row - camera.cy) / camera.fy, 1.0])
        direction = pose[0, :3, :3] @ ray
        depth, label = _first_solid(solids, pose[0, :3, 3], direction)
        seen, seen_label = float(drive.depth[0, 0, row, column]), int(drive.labels[0, row, column])
        if seen_label in GROUND:
            # On one of the ground's planes, or on the kerb's face between them, and before any solid.
            y = pose[0, 1, 3] + seen * direction[1]
            assert -KERB - 1e-4 * max(seen, 1) < y < 1e-4 * max(seen, 1) or seen == 0
            assert seen < depth + 1e-3
        elif label >= 0 and depth < 200 and seen_label == label:
            assert seen == pytest.approx(depth, rel=2e-4)
            agree += 1
        elif depth > 200:
            assert seen == 0
        else:
            pytest.fail(f"pixel {row},{column}: {seen} m, class {seen_label}; expected {depth} m, class {label}")
    assert agree >= 60


def _warp(source, depth, intrinsics, source_from_target):
    """Look up every target pixel in the source image."""
    height, width = depth.shape
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixel = torch.stack([column, row, torch.ones_like(row)]).double().reshape(3, -1)
    points = torch.linalg.inv(intrinsics.double()) @ pixel * depth.double().reshape(1, -1)
    moved = source_from_target[:3, :3] @ points + source_from_target[:3, 3:]
    place = intrinsics.double() @ moved
    place = place[:2] / place[2].clamp(min=1e-6)
    grid = torch.stack([place[0] / (width - 1) * 2 - 1, place[1] / (height - 1) * 2 - 1], -1).reshape(
        1, height, width, 2
    )
    sampled = F.grid_sample(source[None].double(), grid, align_corners=True)[0]
    return sampled, moved[2].reshape(height, width), grid.abs().amax(-1)[0] < 1


@pytest.mark.parametrize(
    "config", [WorldConfig(scene="complex", noise=0.0), WorldConfig(scene="simple", style="foreign", noise=0.0)]
)
def test_next_frame_warps_onto_this_one(config):
    drive = render_drive(11, 2, 192, 640, config=config, start=40)
    target, source = drive.images.double() / 255
    poses = drive.world_from_camera.double()
    source_from_target = torch.linalg.inv(poses[1]) @ poses[0]
    assert source_from_target[:3, 3].norm() > 0.2
    depth = drive.depth[:, 0]
    warped, moved_depth, inside = _warp(source, depth[0], drive.intrinsics, source_from_target)
    there, _, _ = _warp(depth[1][None], depth[0], drive.intrinsics, source_from_target)
    static = inside & (depth[0] > 0) & ~drive.moving[0]
    visible = static & ((there[0] - moved_depth).abs() < 0.02 * moved_depth)
    # Geometry: nearly every static pixel that stays in the image is seen again at the depth that the motion predicts.
    assert visible.sum() / static.sum() > 0.85
    error = (warped - target).abs().mean(0)
    still = (source - target).abs().mean(0)
    assert error[visible].mean() < 0.025
    assert error[visible].mean() < 0.4 * still[visible].mean()


def test_sky_and_far_points_have_no_depth(clean_drive):
    depth = clean_drive.depth[:, 0]
    assert (depth[clean_drive.labels == TRAIN_ID["sky"]] == 0).all()
    assert depth.max() <= 200
    assert depth[depth > 0].min() > 0.3


def test_moving_pixels_are_where_things_move(clean_drive):
    moving = clean_drive.labels[clean_drive.moving].unique().tolist()
    assert moving
    assert set(moving) <= {
        TRAIN_ID[n] for n in ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    }
    # An object moves as a whole.
    for number in clean_drive.instances[clean_drive.moving].unique():
        assert clean_drive.moving[clean_drive.instances == number].all()
