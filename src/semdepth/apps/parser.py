"""The one door to jsonargparse: a parser whose complaint is one line."""

from __future__ import annotations

from typing import NoReturn

from jsonargparse import ArgumentParser

from semdepth.runtime import InputError


class Parser(ArgumentParser):
    """A parser that raises ``InputError`` instead of printing its usage and leaving."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong with the arguments."""
        raise InputError(message) from ex
