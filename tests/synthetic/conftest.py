"""Worlds that several tests look at, rendered once."""

import pytest

from semdepth.synthetic.drive import Drive, render_drive
from semdepth.synthetic.style import WorldConfig


@pytest.fixture(scope="session")
def clean_drive() -> Drive:
    """Four frames of a full street without sensor noise."""
    return render_drive(11, 4, 96, 320, config=WorldConfig(scene="complex", noise=0.0), start=40)


@pytest.fixture(scope="session")
def small_drive() -> Drive:
    return render_drive(3, 3, 64, 192, start=10)
