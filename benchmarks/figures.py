"""Make the documentation's figures, from rendered worlds alone.

python benchmarks/figures.py [--weights RUN] [--cloud cloud.ply] [--out docs/figures]

Without weights, all figures but prediction.jpg, without a cloud all but drive.jpg. Half a minute on one core.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
import trimesh
from PIL import Image, ImageDraw, ImageFont

from semdepth import visualise
from semdepth.geometry.camera import intrinsics_from_fov, resize_intrinsics
from semdepth.inference.outputs import panel_of
from semdepth.inference.point_cloud import PointCloud, point_cloud
from semdepth.inference.predictor import load
from semdepth.labels import GROUND, membership
from semdepth.losses.pair_config import PairConfig
from semdepth.losses.pairs import PointPairs, sample_pairs
from semdepth.synthetic.drive import Drive, render_drive, world_seed
from semdepth.synthetic.label_noise import corrupt_labels
from semdepth.synthetic.style import WorldConfig

Picture = npt.NDArray[np.uint8]
SIZE = (192, 640)
WORLD = 4
"""Number of the world, of the split ``test``, that is shown."""
INK, RED, BLUE = "#333333", "#d1495b", "#2a6f97"


def main() -> None:
    """Render one frame of one world, and make the figures of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="a run folder or a weights file, for prediction.jpg")
    parser.add_argument("--cloud", type=Path, help="a cloud that semdepth odometry wrote, for drive.jpg")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--world", type=int, default=WORLD)
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    seed = world_seed("test", options.world)
    drive = render_drive(seed, 1, *SIZE, config=WorldConfig(style="varied"))
    noisy, confidence = corrupt_labels(drive.labels, seed, instances=drive.instances)
    rendered(drive, noisy, confidence, out / "rendered.jpg")
    points(drive, out / "points.jpg")
    pairs(drive, noisy, confidence, out / "pairs.jpg")
    resize(out / "resize.png")
    if options.weights:
        pixels = image_of(drive)
        save(panel_of(pixels, load(options.weights, "cpu").predict(pixels)), out / "prediction.jpg", width=1000)
    if options.cloud:
        found = trimesh.load(options.cloud)
        cloud = PointCloud(np.asarray(found.vertices, np.float32), np.asarray(found.colors)[:, :3])
        save(seen_from_above(cloud, size=(380, 1000), eye=(-7.0, -9.0, -8.0)), out / "drive.jpg")
    for path in sorted(out.iterdir()):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def image_of(drive: Drive) -> Picture:
    """Return the first frame, (H, W, 3)."""
    return drive.images[0].permute(1, 2, 0).contiguous().numpy()


def save(picture: Picture, path: Path, width: int | None = None) -> None:
    """Write a picture, made smaller where a width is given."""
    image = Image.fromarray(picture)
    if width is not None:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(path, quality=82, optimize=True)


def rendered(drive: Drive, noisy: torch.Tensor, confidence: torch.Tensor, path: Path) -> None:
    """What a rendered frame brings: exact depth, labels with a segmenter's faults, and how sure it would be of them."""
    cells = {
        "rendered image": image_of(drive),
        "exact depth (near is bright)": visualise.colourise_depth(drive.depth[0, 0].numpy()),
        "noisy labels": visualise.colourise_labels(noisy[0].numpy()),
        "their uncertainty": visualise.colourise_uncertainty(1 - confidence[0].numpy()),
    }
    save(visualise.panel(list(cells.values()), titles=list(cells), columns=2), path, width=1000)


def points(drive: Drive, path: Path) -> None:
    """The same depth, from above and aside: with the camera's intrinsics, with a wrong focal length, with the ramps."""
    pixels, depth = image_of(drive), drive.depth[0, 0].numpy()
    smeared = smear(depth)
    right = drive.intrinsics.double().numpy()
    wrong = right.copy()
    wrong[:2, :2] *= 0.5
    clouds = {
        "the camera's own intrinsics": point_cloud(pixels, smeared, right, max_depth=45),
        "focal length halved: everything twice as wide for its depth": point_cloud(
            pixels, smeared, wrong, max_depth=45
        ),
        "right intrinsics, ramps between surfaces kept (drop_edges=0)": point_cloud(
            pixels, smeared, right, max_depth=45, drop_edges=0
        ),
    }
    views = [seen_from_above(cloud) for cloud in clouds.values()]
    save(visualise.panel(views, titles=list(clouds), columns=1), path, width=760)


def smear(depth: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Blur disparity a little, as every network does; what is unknown (the sky) stays so."""
    disparity = torch.from_numpy(np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0))[None, None]
    soft = torch.nn.functional.avg_pool2d(disparity, 5, 1, 2, count_include_pad=False)[0, 0].numpy()
    return np.where(depth > 0, 1 / np.maximum(soft, 1e-6), 0).astype(np.float32)


def seen_from_above(
    cloud: PointCloud, size: tuple[int, int] = (215, 860), eye: tuple[float, float, float] = (-3.5, -5.0, -3.0)
) -> Picture:
    """Draw points as a camera sees them that stands behind, above and to the left of the one that took the picture."""
    height, width = size
    pitch, yaw = np.radians(21), np.radians(12)
    moved = cloud.points - np.array(eye)
    around_y = np.array(((np.cos(yaw), 0, -np.sin(yaw)), (0, 1, 0), (np.sin(yaw), 0, np.cos(yaw))))
    around_x = np.array(((1, 0, 0), (0, np.cos(pitch), -np.sin(pitch)), (0, np.sin(pitch), np.cos(pitch))))
    x, y, z = (moved @ around_y.T @ around_x.T).T
    focal = 0.62 * width
    order = [k for k in np.argsort(-z) if z[k] > 0.5]  # far first, so that near points cover them
    picture = Image.new("RGB", (width, height), "#fafafa")
    pen = ImageDraw.Draw(picture)
    for k in order:
        column, row, side = (
            focal * x[k] / z[k] + width / 2,
            focal * y[k] / z[k] + height / 2,
            0.014 * focal / z[k] + 0.8,
        )
        pen.rectangle((column - side, row - side, column + side, row + side), fill=tuple(cloud.colours[k].tolist()))
    return np.asarray(picture)


def pairs(drive: Drive, noisy: torch.Tensor, confidence: torch.Tensor, path: Path, shown: int = 90) -> None:
    """Pairs that the rules keep, and some that they drop, by the rule that does."""
    disparity = 1 / drive.depth.clamp(min=1e-3)
    every = PairConfig(prediction_decides=False, agreement=False)

    def draw(config: PairConfig) -> PointPairs:
        return sample_pairs(
            noisy, disparity, None, confidence, config=config, generator=torch.Generator().manual_seed(0)
        )

    kept = ends(draw(every))
    dropped = {
        "1: mixed labels around a point": ends(draw(replace(every, uniform_neighbourhood=False))) - kept,
        "3: label unsure": ends(draw(replace(every, confidence=False))) - kept,
        "5: contact, not occlusion": contacts(ends(draw(replace(every, contact=False))), noisy[0].numpy()),
    }
    base = visualise.overlay(image_of(drive), visualise.colourise_labels(noisy[0].numpy()), 0.4)
    top = draw_pairs(base, {"kept: the white end is nearer": (kept, "white")}, shown)
    colours = ("#ffe600", "#ff3d7f", "#00e5ff")
    below = {f"dropped by rule {name}": (found, c) for (name, found), c in zip(dropped.items(), colours, strict=True)}
    both = np.concatenate((top, np.full((8, top.shape[1], 3), 255, np.uint8), draw_pairs(base, below, shown // 2)))
    save(both, path, width=1000)


Ends = tuple[int, int, int, int]


def ends(pairs: PointPairs) -> set[Ends]:
    """Return rows and columns of the nearer and the farther point of the pairs across borders."""
    found = set()
    for order, i, j in zip(pairs.ordinal.tolist(), pairs.i.tolist(), pairs.j.tolist(), strict=True):
        if order:
            found.add((*i, *j) if order > 0 else (*j, *i))
    return found


def contacts(found: set[Ends], labels: Picture) -> set[Ends]:
    """Return the pairs whose farther point is ground that lies lower in the image: what rule 5 forbids."""
    ground = membership(GROUND)
    return {p for p in found if ground[labels[p[2], p[3]]] and p[2] > p[0]}


def draw_pairs(base: Picture, groups: dict[str, tuple[set[Ends], str]], shown: int, zoom: int = 2) -> Picture:
    """Draw some pairs of each group over a picture, under a legend."""
    picture = Image.fromarray(base).resize((base.shape[1] * zoom, base.shape[0] * zoom), Image.Resampling.LANCZOS)
    pen, rng = ImageDraw.Draw(picture), np.random.default_rng(0)
    for found, colour in groups.values():
        rows = sorted(found)
        for k in rng.permutation(len(rows))[:shown]:
            (top, left), (low, right) = ((zoom * a, zoom * b) for a, b in (rows[k][:2], rows[k][2:]))
            pen.line((left, top, right, low), fill=colour, width=3)
            pen.ellipse((left - 4, top - 4, left + 4, top + 4), fill="white", outline="black")
            pen.ellipse((right - 4, low - 4, right + 4, low + 4), fill="black", outline="white")
    font, line = ImageFont.load_default(size=20), 32
    canvas = Image.new("RGB", (picture.width, picture.height + line), "white")
    canvas.paste(picture, (0, line))
    pen, at = ImageDraw.Draw(canvas), 6
    for title, (_, colour) in groups.items():
        pen.rectangle((at, 8, at + 18, 24), fill=colour, outline="black")
        pen.text((at + 26, 3), title, fill="black", font=font)
        at += 52 + int(font.getlength(title))
    return np.asarray(canvas)


def resize(path: Path) -> None:
    """Why the principal point does not simply scale: the image's edges stay, and pixel centres are at integers."""
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    camera = intrinsics_from_fov(90.0, (6, 8))
    half = resize_intrinsics(camera, (6, 8), (3, 4))
    figure, axes = plt.subplots(figsize=(8, 2.7), dpi=120)
    for y, count, step, centre in ((1.0, 8, 1.0, float(camera[0, 2])), (0.0, 4, 2.0, float(half[0, 2]))):
        for k in range(count):
            axes.add_patch(plt.Rectangle((k * step - 0.5, y), step, 0.5, facecolor="#eef2f6", edgecolor=INK))
            axes.text(k * step - 0.5 + step / 2, y + 0.25, str(k), ha="center", va="center", color=INK)
        axes.text(-0.9, y + 0.25, f"{count} px wide", ha="right", va="center", color=INK)
        x = (centre + 0.5) * step - 0.5
        axes.plot([x, x], [y - 0.08, y + 0.58], color=BLUE, linewidth=2.5)
        axes.text(x + 0.12, y + 0.66, f"cx = {centre:g}", color=BLUE, ha="left", va="center")
    naive = float(camera[0, 2]) / 2
    x = (naive + 0.5) * 2 - 0.5
    axes.plot([x, x], [-0.08, 0.58], color=RED, linewidth=2.5, linestyle="--")
    axes.text(x + 0.1, -0.25, f"cx / 2 = {naive:g}: a quarter of a pixel off", color=RED, ha="left", va="center")
    axes.text(-0.5, -0.25, "(cx + ½) / 2 − ½ = 1.5", color=BLUE, ha="left", va="center")
    axes.set_xlim(-2.6, 7.8)
    axes.set_ylim(-0.45, 1.85)
    axes.set_axis_off()
    figure.tight_layout(pad=0.3)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    main()
