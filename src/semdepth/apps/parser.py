"""The one door to jsonargparse: a parser whose complaint is one line, and whose help ends with examples."""

from __future__ import annotations

import re
import textwrap
from argparse import Action
from collections.abc import Callable, Iterable, Sequence
from inspect import cleandoc, getdoc, signature
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, NoReturn, get_args, get_origin

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from semdepth.apps.complaints import in_plain_words
from semdepth.runtime import InputError

set_parsing_settings(docstring_parse_attribute_docstrings=True)  # a field's docstring is its option's help

LONGEST = 1000
"""Characters of a complaint."""
WIDEST = 110
"""Columns of a help, at most; a narrower terminal gets what it has."""


class Help(DefaultHelpFormatter):
    """How a help reads: a usage of one line, paragraphs, options with what there is to choose from, examples as written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(get_terminal_size().columns - 2, WIDEST))

    def _format_usage(self, usage: str | None, actions: Iterable[Action], groups: Any, prefix: str | None) -> str:
        """Name what has a place, and the recipe; the options are listed below."""
        named = [a for a in actions if not a.option_strings or isinstance(a, ActionConfigFile)]
        line: str = super()._format_usage(usage, named, [], prefix)
        return f"{line.rstrip()} [OPTION ...]\n\n"

    def start_section(self, heading: str | None) -> None:
        """Begin a group of options; its heading is wrapped, and without markup."""
        super().start_section(heading and textwrap.fill(heading.replace("``", ""), self._width - 1))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap each paragraph; one with indented lines, such as examples, stays as it is."""
        paragraphs = re.split(r"\n{2,}", text)
        return "\n\n".join(p if "\n " in p else textwrap.fill(p, width) for p in paragraphs)

    def _get_default_metavar_for_positional(self, action: Action) -> str:
        return action.dest.upper()

    def _get_type_str(self, action: Action) -> str | None:
        """Return the name of a type, unless the choices stand beside the option already."""
        if str(action.metavar).startswith("{"):
            return None
        name: str | None = super()._get_type_str(action)
        return name and re.sub(r"<class '(\w+)'>", r"\1", name)

    def _get_help_string(self, action: Action) -> str:
        """Return an option's help without markup; a group's own option says what its file holds."""
        said: str = super()._get_help_string(action).replace("``", "")
        return said.replace("Path to a configuration file.", "A YAML file with the options below.")


class Parser(ArgumentParser):
    """A parser that raises ``InputError`` instead of printing its usage and leaving."""

    asked: Sequence[str] = ()
    """What it was last asked to parse."""

    def __init__(self, *args: Any, description: str | None = None, **others: Any) -> None:
        """Take a docstring as the description: its Examples end the help, its Args stand with the options."""
        prose, *rest = re.split(r"^(Args|Examples|Raises):\n", cleandoc(description or ""), flags=re.M)
        sections = dict(zip(rest[::2], rest[1::2], strict=True))
        examples = textwrap.indent(textwrap.dedent(sections.get("Examples", "")).strip(), "  ")
        epilog = f"Examples:\n{examples}" if examples else None
        # A part of a name would mean another option one day.
        settings = {"formatter_class": Help, "allow_abbrev": False}
        super().__init__(*args, description=prose.strip() or None, epilog=epilog, **settings, **others)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong with the arguments, in one line of bearable length."""
        line = " ".join(in_plain_words(message, self.asked, self._option_string_actions).split())
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
        raise InputError(line) from ex

    def parse_args(self, args: Sequence[str], **others: Any) -> Namespace:  # type: ignore[override, unused-ignore]
        """Parse; files that arguments name and that cannot be read are bad input too.

        Raises:
            InputError: if the arguments, or a file that they name, cannot be used.
        """
        self.asked = underscored(args)
        try:
            return super().parse_args(self.asked, **others)
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

    def instantiate(self, cfg: Namespace, **others: Any) -> Namespace:
        """Build what was parsed; an empty value (``null``) for an option that needs one gets this far, and no further.

        Raises:
            InputError: naming such options, or the contradiction that a class complains of.
        """
        try:
            return super().instantiate(cfg, **others)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            defaults = self.get_defaults()
            empty = [key for key, value in cfg.items() if value is None and defaults.get(key) is not None]
            if empty:
                raise InputError(f"{', '.join(empty)}: empty (null); give a value, or leave the line out") from None
            return self.error(f"an option is empty (null) or of a wrong kind: {error}")


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
        one = name.removesuffix("s").upper()
        parser.add_argument(name, nargs="+", metavar=one, type=get_args(of)[0], help=_help(function, name))
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
