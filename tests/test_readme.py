"""The papers hold: every program in them runs, every command and every link leads somewhere.

A block fenced as ``python`` is a whole program if it imports something, else a fragment. A program
is run as a script in a folder of its own, under the name in its first line (``# mail.py``), beside
the named programs that stand before it on the page; a name like ``test_mail.py`` is given to
pytest. A block fenced as ``output`` right after it is what it prints.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

import click
import pytest

import fastsched
from fastsched.cli import commands

ROOT = Path(__file__).parents[1]
PAPERS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (\w+\.py)\n")
_IMPORT = re.compile(r"^(from|import) ", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """A program in a paper."""

    name: str
    text: str
    beside: tuple[tuple[str, str], ...]
    """Name and text of the named programs before it."""
    output: str | None


def blocks(paper: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a paper: language and text."""
    return _BLOCK.findall(paper.read_text())


def programs(paper: Path) -> list[Program]:
    found: list[Program] = []
    named: list[tuple[str, str]] = []
    for (language, text), (follower, printed) in pairwise([*blocks(paper), ("", "")]):
        if language != "python" or not _IMPORT.search(text):
            continue
        name = match[1] if (match := _NAME.match(text)) else "program.py"
        output = printed if follower == "output" else None
        found.append(Program(name, text, tuple(named), output))
        if match:
            named.append((name, text))
    return found


def commands_in(paper: Path) -> list[list[str]]:
    """The command lines after a prompt, as words, comments left out."""
    return [
        shlex.split(line.removeprefix("$ "), comments=True)
        for language, text in blocks(paper)
        if language == "console"
        for line in text.splitlines()
        if line.startswith("$ ")
    ]


def name_of(paper: Path) -> str:
    return str(paper.relative_to(ROOT))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, id=f"{name_of(paper)}-{number}")
        for paper in PAPERS
        for number, program in enumerate(programs(paper), 1)
    ],
)
def test_a_program_in_the_papers_runs_and_prints_what_they_say(
    program: Program, tmp_path: Path
) -> None:
    for name, text in (*program.beside, (program.name, program.text)):
        (tmp_path / name).write_text(text)
    under_pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    how = under_pytest if program.name.startswith("test_") else []
    environment = {k: v for k, v in os.environ.items() if k != "FASTSCHED_URL"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # quicker
    result = subprocess.run(
        [sys.executable, *how, program.name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    if program.output is not None:
        assert result.stdout == program.output


def test_the_first_program_of_the_readme_is_whole_and_short() -> None:
    first = programs(ROOT / "README.md")[0]
    assert len(first.text.splitlines()) <= 15
    assert first.output is not None


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_links_lead_to_what_exists(paper: Path) -> None:
    for link in _LINK.findall(paper.read_text()):
        if "://" in link:
            continue
        file, _, place = link.partition("#")
        target = (paper.parent / file) if file else paper
        assert target.exists(), link
        if place:
            assert place in {_place(heading) for heading in _HEADING.findall(target.read_text())}


def _place(heading: str) -> str:
    """The name that a heading has in links."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_command_lines_are_ones_that_exist(paper: Path) -> None:
    for words in commands_in(paper):
        if words[0] == "fastsched":
            _check_options(words[1:])
        elif words[0] == "make":
            makefile = (ROOT / "Makefile").read_text()
            for target in words[1:]:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), words
        for word in words:
            if word.startswith((".ci/", "benchmarks/", "tests/")):
                assert (ROOT / word).exists(), words


def _check_options(words: list[str]) -> None:
    command: click.Command = commands
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"fastsched has no command {words[0]!r}"
        command = command.commands[words[0]]
        words = words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {"--help", "-h"}
    for word in words:
        if word.startswith("-"):
            assert word in known, f"{command.name} has no option {word!r}"


def test_the_guide_or_the_glossary_knows_every_public_name() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("guide.md", "glossary.md"))
    missing = [n for n in fastsched.__all__ if not re.search(rf"\b{n}\b", text)]
    assert not missing, f"say in docs/guide.md what these are: {', '.join(missing)}"


def test_every_module_has_a_group_and_imports_only_from_it_and_those_above() -> None:
    package = ROOT / "src" / "fastsched"
    files = [
        file for file in package.rglob("*.py") if file.parent != package or file.stem[:2] != "__"
    ]
    groups = {module_of(file): group_of(module_of(file)) for file in files}
    for file in files:
        module = module_of(file)
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module[:10] == "fastsched."
            ):
                imported = node.module.removeprefix("fastsched.").replace(".", "/")
                if (package / imported).is_dir():
                    imported += "/__init__"
                assert groups[imported] <= groups[module], f"{module} imports {imported}"


def module_of(file: Path) -> str:
    return file.relative_to(ROOT / "src" / "fastsched").with_suffix("").as_posix()


def group_of(module: str) -> int:
    """The number of the module's group in the table of CONTRIBUTING.md."""
    group = 0
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines():
        if line.startswith("| **"):
            group += 1
        elif line.startswith("| `"):
            for pattern in re.findall(r"`([^`]+)`", line.split("|")[1]):
                if fnmatch(module, f"{pattern}*" if pattern.endswith("/") else pattern):
                    return group
    raise AssertionError(f"give {module} a line in CONTRIBUTING.md")


def test_the_glossary_has_a_word_for_every_state_and_transition() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    words = {*map(str, fastsched.State), *map(str, fastsched.Transition)}
    assert not [word for word in words if f"**{word}**" not in text]
