"""The one door to jsonargparse: a parser whose complaint is one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from inspect import getdoc, signature
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from semdepth.runtime import InputError

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its option's help

LONGEST = 1000
"""Characters of a complaint."""


class Parser(ArgumentParser):
    """A parser that raises ``InputError`` instead of printing its usage and leaving."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong with the arguments, in one line of bearable length."""
        line = " ".join(message.split())
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        raise InputError(line) from ex

    def parse_args(self, args: Sequence[str], **others: Any) -> Namespace:  # type: ignore[override, unused-ignore]
        """Parse; files that arguments name and that cannot be read are bad input too.

        Raises:
            InputError: if the arguments, or a file that they name, cannot be used.
        """
        try:
            return super().parse_args(underscored(args), **others)
        except UnicodeDecodeError as error:
            name = next((str(path) for path in _files(args) if not _is_text(path)), "a file that an option names")
            raise InputError(f"{name}: is not UTF-8 text ({error.reason}); save it as UTF-8") from None
        except OSError as error:
            name = error.filename or "a file that an option names"
            raise InputError(f"{name}: cannot be read ({error.strerror}); check the file and its permissions") from None
        except (RecursionError, AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
            # What the guest stumbles over in a recipe that is YAML, but no recipe: numbers as keys, a thousand brackets.
            name = next((str(path) for path in _files(args)), "the arguments")
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"{name}: cannot be understood ({reason}); check its form against recipes/*.yaml"
            ) from None


def underscored(args: Sequence[str]) -> list[str]:
    """Return the arguments with ``--camera-height`` spelled ``--camera_height``: both are the same option.

    Values, and everything behind a lone ``--``, stay as they are.
    """
    end = list(args).index("--") if "--" in args else len(args)
    spelled = []
    for arg in args[:end]:
        name, equals, value = arg.partition("=")
        is_option = name.startswith("--") and len(name) > 2
        spelled.append("--" + name[2:].replace("-", "_") + equals + value if is_option else arg)
    return [*spelled, *args[end:]]


def function_parser(prog: str, function: Callable[..., None]) -> Parser:
    """Return a parser of a function's parameters: those without a default are positional, a list of them takes many."""
    parser = Parser(prog=prog, description=function.__doc__)
    parameters = signature(function, eval_str=True).parameters.values()
    many = {p.name: p.annotation for p in parameters if p.default is p.empty and get_origin(p.annotation) is list}
    for name, of in many.items():
        parser.add_argument(name, nargs="+", type=get_args(of)[0], help=_help(function, name))
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=set(many))
    return parser


def _help(function: Callable[..., None], parameter: str) -> str:
    """Return what a docstring's Args section says of a parameter."""
    found = re.search(rf"^ {{4}}{parameter}: (.+(?:\n {{8}}.+)*)", getdoc(function) or "", re.M)
    return " ".join(found[1].split()) if found else ""


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
