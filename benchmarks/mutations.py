"""How fuzz.py spoils a file: bits, lengths, numbers, pieces of other files."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence

WORDS = (
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e400",
    b"99999999999999999999",
    b"-0.0",
    b"1e-320",
    b"2147483648",
    b"null",
    b"true",
)
PIECES = (
    b"\0",
    b"\xff\xfe",
    b"\r\n",
    b"[" * 3000,
    b"{a: " * 300,
    b"&a [*a, *a]",
    b"!!python/name:os.system",
    b"\xe2\x80\xa8",
    b"%s",
)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 50_000, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -1, -2)


def flip_bits(chance: random.Random, data: bytearray) -> None:
    """Flip a few bits."""
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def set_bytes(chance: random.Random, data: bytearray) -> None:
    """Overwrite a few bytes."""
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def lie(chance: random.Random, data: bytearray) -> None:
    """Overwrite a binary number, mostly near the beginning, where headers are."""
    kind = chance.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
    size = struct.calcsize(kind)
    end = min(len(data), 128) if chance.random() < 0.7 else len(data)
    if end > size:
        place = chance.randrange(end - size)
        data[place : place + size] = struct.pack(kind, chance.choice(EXTREMES) % (1 << 8 * size))


def cut(chance: random.Random, data: bytearray) -> None:
    """Cut the end off, or a piece out."""
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 16, 1000, len(data)))]


def repeat(chance: random.Random, data: bytearray) -> None:
    """Write a piece again."""
    start = chance.randrange(len(data))
    piece = data[start : start + chance.randint(1, 200)]
    data[start:start] = piece * chance.choice((1, 2, 50))


def swap(chance: random.Random, data: bytearray) -> None:
    """Exchange two lines."""
    lines = data.split(b"\n")
    i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    data[:] = b"\n".join(lines)


def other_number(chance: random.Random, data: bytearray) -> None:
    """Replace a written number by an extreme one."""
    found = list(NUMBER.finditer(bytes(data[:20_000])))
    if found:
        hit = chance.choice(found)
        data[hit.start() : hit.end()] = chance.choice(WORDS)


def insert(chance: random.Random, data: bytearray) -> None:
    """Put something strange in."""
    place = chance.randrange(len(data))
    data[place:place] = chance.choice((*PIECES, chance.randbytes(chance.randint(1, 40))))


OPERATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flip_bits, set_bytes, lie, lie, cut, repeat, swap, other_number, other_number, insert,
)  # fmt: skip


def mutate(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds, spoilt in one to four ways; now and then spliced with another.

    Args:
        chance: decides everything.
        seeds: valid files.
    """
    data = bytearray(chance.choice(seeds))
    if chance.random() < 0.1:
        other = chance.choice(seeds)
        data[chance.randrange(len(data)) :] = other[chance.randrange(len(other)) :]
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        if not data:
            break
        chance.choice(OPERATIONS)(chance, data)
    return bytes(data)
