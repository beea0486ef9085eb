"""Rendered drives as the scripts about the ablation see them: with exact labels, or with noisy and with exact ones."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

from semdepth.apps.benchmark_pairs import Frames, open_judged
from semdepth.data.catalog import DataConfig


def parser(description: str, several: bool = False) -> ArgumentParser:
    """Return a parser of ROOT, HEIGHTxWIDTH and WEIGHTS, of which ``several`` are seeds of one variant."""
    made = ArgumentParser(description=description)
    made.add_argument("root", type=Path, help="rendered drives with exact depth")
    made.add_argument("size", help="HEIGHTxWIDTH that the network sees, e.g. 64x192")
    made.add_argument("weights", type=Path, nargs="+" if several else None, help=".safetensors")
    return made


def open_exact(root: Path, size: str) -> Frames:
    """Return the frames that have true depth, with exact labels."""
    return open_noisy_and_exact(root, size)[1]


def open_noisy_and_exact(root: Path, size: str) -> tuple[Frames, Frames]:
    """Return the same frames twice, in the same order: with noisy labels, and with exact ones."""
    height, width = map(int, size.split("x"))
    noisy = DataConfig(name="kitti_raw", root=root, height=height, width=width, labels="noisy", require_depth=True)
    return open_judged(noisy), open_judged(replace(noisy, labels="exact"))
