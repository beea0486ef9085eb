"""What a run leaves to read, whatever happened to the machine."""

from pathlib import Path

import pytest

from semdepth.training.recorder import read_curves


@pytest.mark.parametrize("spoilt", [b"2,train/lo", b"2,\xff\xfe,1.0", b"\0" * 200_000, b'2,"open', b"x" * 200_000])
def test_curves_are_read_around_what_is_spoilt(spoilt: bytes, tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_bytes(
        b"step,name,value\r\n1,train/loss,0.5\r\n" + spoilt + b"\r\n3,train/loss,0.25\r\n"
    )
    found = [row for row in read_curves(tmp_path) if row[1] == "train/loss"]
    assert found == [(1, "train/loss", 0.5), (3, "train/loss", 0.25)]
