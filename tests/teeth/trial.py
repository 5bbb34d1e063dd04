"""One copy of the project, one change, one run of some tests: was it noticed?"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
WITNESS = Path(__file__).with_name("witness")
SEED = 20_261_124
"""Of the random numbers in the tests: what catches a defect today catches it tomorrow."""
LIMIT = 60.0
"""Seconds for the tests of one defect. Hanging is no way to catch it."""
PARTS = ("src", "tests", "docs", "pyproject.toml", "setup.py")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".hypothesis")
_NONSENSE = re.compile(
    r"^E .*("
    r"SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError|UnboundLocalError"
    r"|syntax error at|near \"|no such (column|table|function)"
    r"|(column|relation|function|operator|parameter)\b.* does not exist)",
    re.MULTILINE,
)
"""A failure that any mistyped change would bring about: it shows nothing about the tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """Something wrong with the scheduler, and who should notice."""

    name: str
    promise: str
    """The promise that it breaks, as numbered in docs/design."""
    file: str
    """Below src/fastsched."""
    old: str
    new: str
    tests: tuple[str, ...]
    """What should catch it: node ids of pytest, below the folder tests."""


class Verdict(StrEnum):
    CAUGHT = "caught"
    """A test failed, by what it looks at."""
    SURVIVED = "SURVIVED"
    """All tests passed."""
    NONSENSE = "NONSENSE"
    """The change is no defect but a typing error: nothing could be imported, parsed or found."""
    TIMEOUT = "TIMEOUT"
    """The tests had not ended in time."""
    STALE = "DOES NOT APPLY"
    """The text to replace is not in the source, or more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a run on a copy came to."""

    verdict: Verdict
    caught_by: str = ""
    """The first test that failed."""
    output: str = ""
    seconds: float = 0.0


class DoesNotApply(Exception):
    """The text to replace is not there exactly once."""


def changed(defect: Defect, root: Path = ROOT) -> str:
    """The text of the defect's file with the defect in it."""
    file = root / "src" / "fastsched" / defect.file
    text = file.read_text() if file.exists() else ""
    found = text.count(defect.old)
    if found != 1:
        raise DoesNotApply(f"{defect.name}: its old text stands {found} times in {defect.file}")
    return text.replace(defect.old, defect.new)


def try_defect(defect: Defect, folder: Path, *, root: Path = ROOT, limit: float = LIMIT) -> Trial:
    """Put the defect into a copy of the project, made in `folder`, and run its tests there."""
    began = monotonic()
    try:
        text = changed(defect, root)
    except DoesNotApply as error:
        return Trial(verdict=Verdict.STALE, output=str(error))
    copy = Copy(folder, root)
    copy.write(defect.file, text)
    if defect.file.endswith(".pyx"):
        built = copy.build()
        if built.returncode:
            return Trial(verdict=Verdict.NONSENSE, output=built.stdout)
    trial = copy.run(defect.tests, limit=limit)
    return Trial(
        verdict=trial.verdict,
        caught_by=trial.caught_by,
        output=trial.output,
        seconds=monotonic() - began,
    )


class Copy:
    """A copy of the project in a folder of its own, and nothing else, is what is tested."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        folder.mkdir(parents=True)
        folder = folder.resolve()
        self._folder = folder
        self._notes = folder / "imports"
        for part in PARTS:
            source = root / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=_NOT_COPIED)
            elif source.exists():
                shutil.copy2(source, folder / part)

    def write(self, file: str, text: str) -> None:
        (self._folder / "src" / "fastsched" / file).write_text(text)

    def build(self) -> subprocess.CompletedProcess[str]:
        """Compile the heap anew."""
        for old in (self._folder / "src" / "fastsched").glob("_heap*.so"):
            old.unlink()
        return subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
            cwd=self._folder,
            env={**os.environ, "FASTSCHED_REQUIRE_EXT": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def run(self, tests: Sequence[str], *, limit: float, processes: int = 0) -> Trial:
        """Run tests until one fails."""
        report = self._folder / "report.xml"
        command = [
            sys.executable, "-m", "pytest", "--exitfirst", "--quiet", f"--numprocesses={processes}",
            "--timeout=0", f"--randomly-seed={SEED}", f"--hypothesis-seed={SEED}",
            f"--junitxml={report}", *(f"tests/{test}" for test in tests),
        ]  # fmt: skip
        began = monotonic()
        code, output = self._call(command, limit)
        seconds = monotonic() - began
        self._check_imports(some=code in (0, 1))
        if code is None:
            return Trial(verdict=Verdict.TIMEOUT, output=output, seconds=seconds)
        caught_by, why = _first_failure(report) if code == 1 else ("", "")
        if code == 0:
            verdict = Verdict.SURVIVED
        elif not caught_by or _NONSENSE.search(why):
            verdict = Verdict.NONSENSE
        else:
            verdict = Verdict.CAUGHT
        return Trial(verdict=verdict, caught_by=caught_by, output=output, seconds=seconds)

    def _call(self, command: Sequence[str], limit: float) -> tuple[int | None, str]:
        """Exit code (None: killed at the limit) and output of a process and all its children."""
        log = self._folder / "output"
        path = [str(WITNESS), str(self._folder / "src")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path),
                    "TEETH_NOTES": str(self._notes),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code: int | None = None
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(limit)
            finally:
                if code is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        return code, log.read_text(errors="replace")

    def _check_imports(self, *, some: bool) -> None:
        """`AssertionError` if any process imported another `fastsched`, or (`some`) none this."""
        found = set(self._notes.read_text().splitlines()) if self._notes.exists() else set()
        copy = {str(self._folder / "src" / "fastsched" / "__init__.py")}
        if found - copy or (some and not found):
            raise AssertionError(f"not the copy was tested, but {found - copy or 'nothing'}")


def _first_failure(report: Path) -> tuple[str, str]:
    """The first test that failed, and how; empty if none did: something else was wrong."""
    for case in ElementTree.parse(report).iter("testcase"):
        for failure in (*case.iter("failure"), *case.iter("error")):
            if failure.get("message", "").startswith("collection failure"):
                return "", ""
            module = case.get("classname", "").removeprefix("tests.").replace(".", "/")
            return f"{module}.py::{case.get('name')}", failure.text or ""
    return "", ""
