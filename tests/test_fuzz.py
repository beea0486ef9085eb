"""A short part of benchmarks/fuzz.py: mutated files are read, or refused in one line, whatever is wrong with them."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CASES = {"recipe": 15, "weights": 60, "video": 60, "laser": 80, "onnx": 40, "openvino": 40}
"""Those whose reader is slow; 150 of the others."""


@pytest.fixture(scope="module")
def fuzz(monkeypatch_module: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch_module.syspath_prepend(str(BENCHMARKS))
    import fuzz

    return fuzz


@pytest.fixture(scope="module")
def monkeypatch_module() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


TARGETS = [
    "image", "label", "depth", "calibration", "lidar", "split", "poses", "camera", "recipe", "weights", "checkpoint",
    "foreign", "video", "laser", "onnx", "openvino", "ncnn",
]  # fmt: skip


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="FUZZING NEEDS fork AND /proc: readers NOT fuzzed here"
)
@pytest.mark.parametrize("name", TARGETS)
def test_damage_is_refused_in_one_line(fuzz: ModuleType, name: str, tmp_path: Path) -> None:
    outcome = fuzz.fuzz(fuzz.TARGETS[name], CASES.get(name, 150), seed=1, out=tmp_path)
    complaints = "\n".join(path.read_text()[-400:] for path in sorted(tmp_path.glob("*.txt")))
    assert not outcome.failures, f"python benchmarks/fuzz.py {name} --seed 1 --only N\n{complaints}"
    assert outcome.refused > 0
    assert outcome.read + outcome.refused == outcome.cases


def test_every_target_is_tested(fuzz: ModuleType) -> None:
    assert set(TARGETS) == set(fuzz.TARGETS)


def test_what_goes_wrong_is_seen(fuzz: ModuleType, tmp_path: Path) -> None:
    """A reader that raises, one that ends its process, and one that takes all memory are failures, each with its case."""
    import os

    def bad(path: Path) -> None:
        content = path.read_bytes()
        if content[0] % 4 == 0:
            raise KeyError("traceback")
        if content[0] % 4 == 1:
            os._exit(3)
        if content[0] % 4 == 2:
            bytearray(1 << 40)

    target = fuzz.Target("bad", ".bin", lambda folder: [bytes(range(k, k + 60)) for k in range(4)], bad)
    outcome = fuzz.fuzz(target, 24, seed=0, out=tmp_path)
    assert 10 <= len(outcome.failures) < 24
    assert len(list(tmp_path.glob("*.bin"))) == len(outcome.failures)
    told = "".join(path.read_text() for path in tmp_path.glob("*.txt"))
    assert all(word in told for word in ("KeyError", "ended with 3", "MemoryError"))


def test_a_case_is_a_function_of_its_number(fuzz: ModuleType, tmp_path: Path) -> None:
    target = fuzz.TARGETS["poses"]
    cases = [fuzz.case_bytes(target, target.seeds(tmp_path), 0, number) for number in (7, 7, 8)]
    assert cases[0] == cases[1] != cases[2]


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    from semdepth.images import read_image
    from semdepth.runtime import InputError

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(InputError, match="64 megapixels"):
        read_image(tmp_path / "huge.png")
