"""The defects still apply, and a run on a copy tells what was noticed from what was not."""

from __future__ import annotations

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from teeth.defects import DEFECTS
from teeth.trial import ROOT, Copy, Defect, Trial, Verdict, changed, try_defect

# The list ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_still_applies_and_the_tests_that_should_catch_it_are_there(defect):
    text = changed(defect)
    if defect.file.endswith(".py"):
        compile(text, defect.file, "exec")
    for test in defect.tests:
        file, _, rest = test.partition("::")
        name = rest.partition("[")[0]
        tree = ast.parse((ROOT / "tests" / file).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not name or name in functions


def test_no_defect_is_listed_twice():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    assert len({(defect.file, defect.old, defect.new) for defect in DEFECTS}) == len(DEFECTS)


# The runs ----------------------------------------------------------------------------------------

GOOD = '"""Adds."""\n\nBY = 1\n\n\ndef up(n):\n    return n + BY\n'
TESTS = """
import fastsched

def test_one():
    assert fastsched.up(1) == 2

def test_two():
    assert fastsched.up(2) == 3
"""
CHANGES = {
    "harmless": ('"""Adds."""', '"""Adds, and nothing else."""'),
    "wrong": ("return n + BY", "return n + 2 * BY - 1 if n < 2 else n"),
    "no Python": ("return n + BY", "return n +"),
    "fails at import": ("BY = 1", "BY = by"),
    "a name mistyped": ("return n + BY", "return n + BUY"),
    "hangs": ("    return n + BY", "    while True:\n        pass"),
    "not there": ("return n - BY", "return n"),
    "there twice": ("BY", "1"),
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    """What each change to a small project came to."""
    folder = tmp_path_factory.mktemp("teeth")
    root = project(folder / "project")

    def tried(name: str) -> Trial:
        return try_defect(
            defect(name), folder / name, root=root, limit=2 if name == "hangs" else 60
        )

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CHANGES, pool.map(tried, CHANGES), strict=True))


def project(root: Path) -> Path:
    for folder, name, text in (
        ("src/fastsched", "__init__.py", GOOD),
        ("tests", "test_up.py", TESTS),
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / name).write_text(text)
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntestpaths = ["tests"]\n')
    return root


def defect(name: str) -> Defect:
    old, new = CHANGES[name]
    return Defect(
        name=name, promise="", file="__init__.py", old=old, new=new, tests=("test_up.py",)
    )


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("harmless", Verdict.SURVIVED),
        ("wrong", Verdict.CAUGHT),
        ("no Python", Verdict.NONSENSE),
        ("fails at import", Verdict.NONSENSE),
        ("a name mistyped", Verdict.NONSENSE),
        ("hangs", Verdict.TIMEOUT),
        ("not there", Verdict.STALE),
        ("there twice", Verdict.STALE),
    ],
)
def test_the_verdict_on_a_change(trials, name, verdict):
    assert trials[name].verdict is verdict, trials[name].output


def test_what_is_caught_names_the_test_that_did(trials):
    assert trials["wrong"].caught_by == "test_up.py::test_two"
    assert re.search(r"assert 2 == 3", trials["wrong"].output)


def test_a_test_that_is_not_there_catches_nothing(tmp_path):
    root = project(tmp_path / "project")
    nowhere = replace(defect("wrong"), tests=("test_up.py::test_three",))
    assert try_defect(nowhere, tmp_path / "copy", root=root).verdict is Verdict.NONSENSE


def test_a_run_on_anything_but_the_copy_is_an_error(tmp_path):
    root = project(tmp_path / "project")
    (root / "tests" / "test_up.py").write_text(
        "import subprocess, sys\n"
        "def test_elsewhere():\n"
        f"    subprocess.run([sys.executable, '-c', 'import fastsched'], check=True,"
        f" cwd={str(root / 'src')!r})\n"
    )
    copy = Copy(tmp_path / "copy", root)
    with pytest.raises(AssertionError, match="not the copy was tested"):
        copy.run(["test_up.py"], limit=10.0)
