"""What a parser complains of, in the words of those who typed it: which file or option, what is wrong, what was perhaps meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "NoneType": "null",
    "str": "text",
    "tuple": "a list, e.g. [1,2]",
}
_QUOTE = "'"
_NO_NAME = 'in "<unicode string>", '
_CLASS = re.compile(r"<class '(?:\w+\.)*(\w+)'>")
_LIST, _OF = re.compile(r"tuple\[([^\]]*)\]"), re.compile(r"list of \d+")
_NO_OPTION = re.compile(r"Option '([^']*)' is not accepted|Group '([^']*)' does not accept option '([^']*)'")
_NO_FILE = re.compile(r"""Parser key "config": File does not exist: '(.*)'""")
_CHOICE = re.compile(r'Parser key "([^"]*)": Expected a typing\.Literal\[(.*)\]\. Got value: (.*)')
_CHOICES = re.compile(r"^typing\.Literal\[([^\]]*)\]")
_KIND = re.compile(r"""Parser key "([^"]*)": Expected an? <class '(?:\w+\.)*(\w+)'>\. Got value: (.*)""")
_ONE_OF_KINDS = re.compile(
    r'Parser key "([^"]*)": Does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors: .*Given value: (.*)'
)


def in_plain_words(message: str, arguments: Sequence[str], options: Collection[str]) -> str:
    """Return a complaint of jsonargparse's, told anew where it is one that people meet often.

    Args:
        message: as it says it.
        arguments: what it was to parse.
        options: all that there are, with their hyphens, e.g. ``--data.root``.
    """
    message, recipe = " ".join(message.split()), _recipe(arguments)
    if found := _NO_OPTION.search(message):
        name = found[1] or f"{found[2]}.{found[3]}"
        return f"{_in(recipe)}there is no option {name}{_perhaps(name, [o.lstrip('-') for o in options])}"
    if message.startswith(unknown := "unrecognized arguments: "):
        first = message.removeprefix(unknown).split()[0].partition("=")[0]
        return f"there is no option {first}{_perhaps(first, options)}" if first.startswith("-") else message
    if message.startswith(no_yaml := "Problems parsing config: "):
        return f"{_in(recipe)}is no YAML: {message.removeprefix(no_yaml).replace(_NO_NAME, '')}"
    if found := _NO_FILE.search(message):
        return f"{found[1]}: no such recipe; those that come with the repository lie in its folder recipes"
    if found := _CHOICE.search(message):
        return f"{_in(recipe, found[1], arguments)}{found[1]} {found[3]}: choose one of {found[2].replace(_QUOTE, '')}"
    if (found := _ONE_OF_KINDS.search(message)) and (choices := _CHOICES.search(found[2])):
        known = choices[1].replace(_QUOTE, "")
        return f"{_in(recipe, found[1], arguments)}{found[1]} {found[3]}: choose one of {known}"
    if found := _KIND.search(message) or _ONE_OF_KINDS.search(message):
        named = _LIST.sub(lambda items: f"list of {items[1].count(',') + 1}", _CLASS.sub(r"\1", found[2]))
        kinds = [_KINDS.get(kind, f"a {kind}" if _OF.fullmatch(kind) else None) for kind in named.split(", ")]
        if None not in kinds:
            return f"{_in(recipe, found[1], arguments)}{found[1]} {found[3]}: give {' or '.join(map(str, kinds))}"
    return message


def _recipe(arguments: Sequence[str]) -> Path | None:
    """Return the last recipe that the arguments name."""
    named = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if argument == "--config":
            named = Path(following)
        elif argument.startswith("--config="):
            named = Path(argument.partition("=")[2])
    return named


def _in(recipe: Path | None, key: str | None = None, arguments: Sequence[str] = ()) -> str:
    """Name the recipe that something stands in, unless it was given as an option."""
    given = key is not None and any(a.partition("=")[0] == f"--{key}" for a in arguments)
    return "" if recipe is None or given else f"{recipe}: "


def _perhaps(name: str, options: Collection[str]) -> str:
    """Name the option that is nearest to one that there is not."""
    near = difflib.get_close_matches(name, options, 1, 0.7)
    return f"; did you mean {near[0]}?" if near else "; see --help"
