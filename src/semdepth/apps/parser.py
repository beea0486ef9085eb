"""The one door to jsonargparse: a parser whose complaint is one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from semdepth.runtime import InputError

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its option's help


class Parser(ArgumentParser):
    """A parser that raises ``InputError`` instead of printing its usage and leaving."""

    def add_command(self, function: Callable[..., None]) -> None:
        """Take a command's parameters: the required ones by position (a list takes one value or more), the others by name."""
        hints = get_type_hints(function)
        parameters = signature(function).parameters
        several = [name for name, p in parameters.items() if p.default is p.empty and get_origin(hints[name]) is list]
        for name in several:
            said = re.search(rf"^\s+{name}: (.+)$", function.__doc__ or "", re.M)
            self.add_argument(name, type=get_args(hints[name])[0], nargs="+", help=said[1] if said else None)
        self.add_function_arguments(function, as_group=False, as_positional=True, skip=set(several))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong with the arguments."""
        raise InputError(message) from ex

    def parse_args(self, args: Sequence[str], **others: Any) -> Namespace:  # type: ignore[override, unused-ignore]
        """Parse; files that arguments name and that cannot be read are bad input too.

        Raises:
            InputError: if the arguments, or a file that they name, cannot be used.
        """
        try:
            return super().parse_args(args, **others)
        except UnicodeDecodeError as error:
            name = next((str(path) for path in _files(args) if not _is_text(path)), "a file that an option names")
            raise InputError(f"{name}: is not UTF-8 text ({error.reason}); save it as UTF-8") from None
        except OSError as error:
            name = error.filename or "a file that an option names"
            raise InputError(f"{name}: cannot be read ({error.strerror}); check the file and its permissions") from None


def _files(args: Sequence[str]) -> list[Path]:
    """Return the files among what ``--option=VALUE`` and ``--option VALUE`` name."""
    values = [arg.partition("=")[2] if arg.startswith("-") else arg for arg in args]
    return [Path(value) for value in values if value and len(value) < 4096 and Path(value).is_file()]


def _is_text(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True
