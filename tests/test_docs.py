"""The documentation is whole: pages are in the site's menu, links lead somewhere, commands parse, the site builds."""

import os
import re
import shlex
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest
import yaml

from semdepth.apps.cli import COMMANDS
from semdepth.apps.parser import Parser, function_parser
from semdepth.apps.recipes import experiment_parser, parse_experiment
from semdepth.runtime import InputError

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PATTERNS = ("…", "OPTIONS", "WHAT", "$", "[RUN")
"""What stands in commands that are patterns of commands, or parts of a shell's loop."""


@cache
def parser_of(verb: str) -> tuple[Parser, bool]:
    """The parser of a command, and whether it takes a recipe."""
    function = getattr(import_module(f"semdepth.apps.{verb}"), verb)
    if "experiment" in signature(function).parameters:
        return experiment_parser(description=function.__doc__), True
    return function_parser(f"semdepth {verb}", function), False


def understand(command: str) -> None:
    """Parse a command by its own parser, without running it."""
    verb, *arguments = shlex.split(command, comments=True)[1:]
    assert verb in COMMANDS, command
    recipe = arguments[arguments.index("--config") + 1] if "--config" in arguments else None
    if recipe is not None and not Path(recipe).exists():
        return  # a recipe that another command writes
    parser, takes_recipe = parser_of(verb)
    if takes_recipe:
        parse_experiment(arguments, parser)
    else:
        parser.parse_args(arguments)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.S))


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", without_code(text))


def anchors(page: Path) -> set[str]:
    """The ids that a page's headings get, on the site and on a forge, and those that are written out."""
    text = page.read_text()
    found = set(re.findall(r'(?:\{#|<a id=")([\w-]+)', text))
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
        plain = re.sub(r"\{#.*\}|[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip()))
    return found


def wrong_links(page: Path) -> Iterator[str]:
    for link in links(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue  # other hosts are not asked
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.is_file():
            yield f"{link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{link}: no such heading"


def menu(entries: list) -> Iterator[str]:
    for entry in entries:
        for value in [entry] if isinstance(entry, str) else entry.values():
            yield from [value] if isinstance(value, str) else menu(value)


def commands(text: str) -> Iterator[str]:
    """The ``semdepth`` lines of a page's shell blocks, continued lines joined."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.split(" #")[0].strip()
            if command.startswith("semdepth ") and not any(word in command for word in PATTERNS):
                yield command


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(wrong_links(page)) == []


def test_a_wrong_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](page.md#a-heading) [b](#nothing) [c](gone.md) `[d](code.md)` [e](https://host/x)")
    assert list(wrong_links(page)) == ["#nothing: no such heading", "gone.md: no such file"]


def test_the_menu_names_every_page_once() -> None:
    listed = list(menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == [str(page.relative_to(ROOT / "docs")) for page in PAGES]


@pytest.mark.parametrize("page", sorted((ROOT / "docs/api").glob("*.md")), ids=name)
def test_what_the_api_pages_show_is_there(page: Path) -> None:
    for path in re.findall(r"^::: (\S+)", page.read_text(), re.M):
        module, _, member = path.rpartition(".")
        assert getattr(import_module(module), member, None) is not None, path


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_commands_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in commands(page.read_text()):
        understand(command)


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_examples_of_a_help_are_understood(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    heading, *examples = str(parser_of(verb)[0].epilog).splitlines()
    assert heading == "Examples:"
    assert 2 <= len(examples) <= 4
    for example in examples:
        words = shlex.split(example, comments=True)
        assert words[:2] == ["semdepth", verb]
        assert all(Path(word).exists() for word in words if word.startswith("recipes/"))
        understand(example)


def test_a_wrong_example_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for example in (
        "  semdepth demo --wieghts RUN",
        "  semdepth train --config recipes/demo.yaml --trainer.steps many",
    ):
        with pytest.raises(InputError):
            understand(example)


def test_figures_are_small() -> None:
    for figure in (ROOT / "docs/figures").iterdir():
        assert figure.stat().st_size < 150_000, figure.name


@pytest.mark.slow
def test_the_site_builds_and_asks_no_other_host(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is NOT built here: pip install '.[docs]'")
    pytest.importorskip("mkdocstrings", reason="the site is NOT built here: pip install '.[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        asked = re.findall(r'<(?:script|img|iframe|link)[^>]+(?:src|href)="?(?:https?:)?//[^" >]+', page.read_text())
        assert asked == [], page.name
