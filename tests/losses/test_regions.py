import numpy as np
import torch
from drawn_streets import BUILDING, CAR, HEIGHT, WIDTH

from semdepth.losses.regions import (
    Borders,
    Points,
    border_edges,
    border_normals,
    connected_regions,
    middle_points,
    upright_partners,
)


def test_samples_follow_the_border_normal_on_a_slant() -> None:
    row, column = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    labels = torch.where(column > 100 + row, CAR, BUILDING).to(torch.uint8)[None]
    edges = border_edges(labels)
    normal = border_normals(labels, edges, radius=3)
    inner = (edges[1][:, 0] > 5) & (edges[1][:, 0] < HEIGHT - 6)
    sign = torch.where(labels[edges[0], edges[1][:, 0], edges[1][:, 1]] == BUILDING, 1.0, -1.0)[:, None]
    expected = torch.tensor([-1.0, 1.0]) / 2**0.5
    assert ((normal * sign)[inner] @ expected).min() > 0.97


def test_regions_agree_with_flood_fill(generator: torch.Generator) -> None:
    labels = torch.randint(0, 3, (2, 12, 17), generator=generator, dtype=torch.uint8)
    region, area = connected_regions(labels)
    for b in range(2):
        seen = np.zeros((12, 17), dtype=bool)
        for start in np.ndindex(12, 17):
            if seen[start]:
                continue
            stack, members = [start], []
            seen[start] = True
            while stack:
                r, c = stack.pop()
                members.append((r, c))
                for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                    if 0 <= y < 12 and 0 <= x < 17 and not seen[y, x] and labels[b, y, x] == labels[b, r, c]:
                        seen[y, x] = True
                        stack.append((y, x))
            numbers = {int(region[b, r, c]) for r, c in members}
            assert len(numbers) == 1
            number = numbers.pop()
            assert int(area[number]) == len(members)
            assert int((region == number).sum()) == len(members)


def test_upright_partners_fill_their_run_and_no_more(generator: torch.Generator) -> None:
    labels = torch.randint(0, 2, (2, 12, 5), generator=generator, dtype=torch.uint8)
    region, _ = connected_regions(labels)
    image, row, column = (index.repeat(200)[:, None] for index in torch.ones_like(region).nonzero().unbind(1))
    points = Points(image, row, column, labels[image, row, column].long(), torch.ones_like(row, dtype=torch.bool))
    met = upright_partners(region, points, torch.rand(row.shape, generator=generator))
    for b, r, c in np.ndindex(2, 12, 5):
        first = last = r
        while first > 0 and labels[b, first - 1, c] == labels[b, r, c]:
            first -= 1
        while last < 11 and labels[b, last + 1, c] == labels[b, r, c]:
            last += 1
        mine = (image == b) & (row == r) & (column == c)
        assert (met.column[mine] == c).all()
        assert set(met.row[mine].tolist()) == set(range(first, last + 1))


def test_middle_points_halve_the_run_that_begins_at_the_border(generator: torch.Generator) -> None:
    labels = torch.randint(0, 2, (2, 5, 12), generator=generator, dtype=torch.uint8)
    region, _ = connected_regions(labels)
    image, *ends = border_edges(labels)
    ends = torch.stack(ends, 1)
    side = labels[image[:, None], ends[..., 0], ends[..., 1]].long()
    middle, width = middle_points(region, Borders(image, ends, torch.zeros(len(image), 2), side))
    for n, k in np.ndindex(len(image), 2):
        b, r, c = int(image[n]), *ends[n, k].tolist()
        first = last = c
        while first > 0 and labels[b, r, first - 1] == labels[b, r, c]:
            first -= 1
        while last < 11 and labels[b, r, last + 1] == labels[b, r, c]:
            last += 1
        assert (int(middle.row[n, k]), int(middle.column[n, k])) == (r, (first + last) // 2)
        assert int(width[n, k]) == last - first + 1


def test_points_read_a_map_in_any_layout(generator: torch.Generator) -> None:
    image, row, column = (torch.randint(0, n, (5, k), generator=generator) for n, k in ((2, 1), (6, 3), (7, 3)))
    points = Points(image, row, column, torch.zeros(5, 3), torch.ones(5, 3, dtype=torch.bool))
    maps = torch.rand(2, 4, 6, 7, generator=generator)
    for channels in (maps.movedim(1, 3), maps.movedim(1, 3).contiguous()):
        found = points.at(channels)
        assert found.shape == (5, 3, 4)
        assert torch.equal(found[2, 1], maps[image[2, 0], :, row[2, 1], column[2, 1]])
    assert torch.equal(points.at(maps[:, 0]), points.at(maps.movedim(1, 3))[..., 0])
