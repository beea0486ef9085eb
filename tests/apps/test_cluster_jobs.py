"""A chunk of images is done whole, given up, or found done, without any Ray."""

from pathlib import Path

import pytest
from PIL import Image

from semdepth.apps.cluster_jobs import Job, deal_with, sweep


class Counting:
    """Writes a byte for an image, and what it was computed with."""

    def __init__(self) -> None:
        self.computed: list[int] = []

    def is_done(self, job: Job) -> bool:
        return job.place.exists()

    def compute(self, images: list) -> list[int]:
        self.computed.append(len(images))
        return [len(images)] * len(images)

    def write(self, job: Job, pixels: object, result: int) -> None:
        job.place.write_text(str(result))


def test_a_chunk_is_computed_whole_and_written_where_it_is_missing(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / f"{i}.png", tmp_path / str(i)) for i in range(3)]
    for job in jobs:
        Image.new("RGB", (8, 8)).save(job.image)
    jobs[0].place.write_text("old")
    worker = Counting()
    assert deal_with(worker, jobs).new == 2
    assert [job.place.read_text() for job in jobs] == ["old", "3", "3"]
    report = deal_with(worker, jobs, lambda: pytest.fail("there is nothing to begin"))
    assert (report.there, worker.computed) == (3, [3])
    jobs[1].image.write_bytes(b"no image")
    jobs[1].place.unlink()
    report = deal_with(worker, jobs, lambda: 2)
    assert (report.new, report.there, report.begun_again) == (0, 2, 1)
    assert [image for image, _ in report.failed] == [str(jobs[1].image)]


def test_images_that_kill_every_worker_are_given_up(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / "bomb.png", tmp_path / "out")]
    worker = Counting()
    ((image, why),) = deal_with(worker, jobs, lambda: 4).failed
    assert image.endswith("bomb.png")
    assert "given up, 3 workers died" in why
    assert not worker.computed


def test_only_unfinished_files_of_our_own_are_swept(tmp_path: Path) -> None:
    names = [".1.png.abc_efgh", ".1_depth.npy.abcdefgh.npy", ".2.png.abcdefgh", "1.png", "1_depth.npy", ".hidden.png"]
    for name in names:
        (tmp_path / name).touch()
    sweep([tmp_path / "1.png", tmp_path / "1_depth.npy", tmp_path / "gone" / "1.png"])
    assert {p.name for p in tmp_path.iterdir()} == set(names[2:])
