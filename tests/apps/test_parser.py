"""The help of every command: a usage of one line, no markup, no line too wide, examples at its end."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from semdepth.apps.cli import COMMANDS, main
from semdepth.apps.parser import function_parser


@dataclass(frozen=True)
class Size:
    """How large."""

    height: int = 192
    """Rows; ``0``: all."""


def command(
    inputs: list[str], root: Path, what: Literal["a", "b"] = "a", size: Size = Size(), out: Path = Path("out")
) -> None:
    """Say what it does, in one line.

    A paragraph that is long enough to be wrapped wherever it is shown, since it goes on for more than a hundred and ten
    columns, in the docstring as well as in the help.

    Args:
        inputs: What is read.
        root: Where from.
        what: Which of them.
        size: The size of ``inputs``.
        out: Where to.

    Examples:
        semdepth command x root         # with a comment, aligned
        semdepth command x y root -- z
    """


def help_of(monkeypatch: pytest.MonkeyPatch, columns: int = 200) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    return function_parser("semdepth command", command).format_help()


def test_usage_is_one_line_that_names_what_has_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert help_of(monkeypatch).startswith("usage: semdepth command INPUT [INPUT ...] ROOT [OPTION ...]\n\n")


def test_arguments_are_explained_once_and_examples_end_it_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(monkeypatch)
    assert "Args:" not in said
    assert said.count("What is read.") == 1
    assert said.endswith("""
Examples:
  semdepth command x root         # with a comment, aligned
  semdepth command x y root -- z
""")


@pytest.mark.parametrize(("columns", "widest"), [(70, 68), (90, 88), (300, 110)])
def test_paragraphs_stay_apart_and_fit_the_terminal(columns: int, widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = help_of(monkeypatch, columns).splitlines()
    assert max(map(len, lines)) <= widest
    assert lines[lines.index("Say what it does, in one line.") + 1] == ""
    assert max(map(len, lines)) > widest - 20


def test_options_say_what_there_is_to_choose_from_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    said = help_of(monkeypatch)
    assert re.search(r"--what \{a,b\} +Which of them\. \(default: a\)", said)
    assert re.search(r"--out OUT +Where to\. \(type: Path, default: out\)", said)
    assert re.search(r"--size\.height HEIGHT\n? +Rows; 0: all\. \(type: int, default: 192\)", said)
    assert "The size of inputs:\n" in said


def test_a_group_can_be_given_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert re.search(r"--size CONFIG +A YAML file with the options below\.", help_of(monkeypatch))
    (tmp_path / "size.yaml").write_text("height: 7\n")
    parser = function_parser("semdepth command", command)
    assert parser.instantiate(parser.parse_args(["x", "root", f"--size={tmp_path / 'size.yaml'}"])).size == Size(7)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_help_reads_well(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    usage, blank, *_ = said.splitlines()
    assert usage.startswith(f"usage: semdepth {name} ")
    assert usage.endswith("[OPTION ...]")
    assert blank == ""
    assert "``" not in said
    assert not re.search(r"^(Args|Raises):|Path to a configuration file|<class", said, re.M)
    prose, examples = said.split("\nExamples:\n")
    assert all(len(line) <= 98 or " " not in line.strip() or "{" in line for line in prose.splitlines())
    assert all(len(line) <= 116 for line in examples.splitlines())
