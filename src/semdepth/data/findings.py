"""What an audit says: findings, one a question."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from semdepth.runtime import InputError

State = Literal["ok", "warning", "problem"]
Each = Callable[[Sequence[Any], str], Iterable[Any]]
"""Goes through things, with a word for what is done to them."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """The answer to one question about a dataset."""

    topic: str
    state: State
    text: str
    mend: str = ""
    """What the user can do about it; empty where all is well."""


def from_error(topic: str, error: InputError, before: str = "") -> Finding:
    """Return the problem that an ``InputError`` speaks of; what it says after the first semicolon is the mend."""
    text, _, mend = str(error).partition("; ")
    return Finding(topic, "problem", before + text, mend)


def plain(things: Sequence[_T], what: str) -> Iterable[_T]:
    """Go through things without showing it."""
    del what
    return things


def evenly(things: Sequence[_T], count: int) -> list[_T]:
    """Return at most ``count`` of the things, evenly spread, the first and the last among them."""
    if len(things) <= count:
        return list(things)
    return [things[i * (len(things) - 1) // (count - 1)] for i in range(count)]
