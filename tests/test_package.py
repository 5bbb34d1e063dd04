"""The package as a whole: what it exports, says and imports; and how its tests are written."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fastsched
from fastsched import errors

TESTS = Path(__file__).parent
PACKAGE = Path(fastsched.__file__).parent
HEAVY = ["psycopg", "redis", "rich", "click", "asyncio"]

# Names -------------------------------------------------------------------------------------------


def test_the_public_names_are_sorted_and_all_there():
    assert fastsched.__all__ == sorted(fastsched.__all__)
    assert all(hasattr(fastsched, name) for name in fastsched.__all__)


def test_nothing_public_is_left_out():
    found = {
        name
        for name, value in vars(fastsched).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert found == set(fastsched.__all__)


def has_words_of_its_own(thing, name):
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return bool(doc and doc.strip()) and not doc.startswith(f"{name}(")


@pytest.mark.parametrize("name", fastsched.__all__)
def test_every_public_name_says_what_it_is(name):
    thing = getattr(fastsched, name)
    assert has_words_of_its_own(thing, name)
    if inspect.isclass(thing):
        methods = {
            method_name: method
            for method_name, method in vars(thing).items()
            if inspect.isfunction(method) and not method_name.startswith("_")
        }
        silent = [m for m, method in methods.items() if not has_words_of_its_own(method, m)]
        assert silent == []


ERRORS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_says_what_it_means(error):
    assert error.__module__ == "fastsched.errors"
    assert has_words_of_its_own(error, error.__name__)
    assert issubclass(error, errors.FastschedError | errors.JobInterrupt)
    inside = {"JobInterrupt", "CommitUnknown"}
    assert (error.__name__ in fastsched.__all__) != (error.__name__ in inside)


def test_interrupts_are_not_caught_by_except_exception():
    for interrupt in (fastsched.JobTimeout, fastsched.JobCancelled, fastsched.JobStopped):
        assert not issubclass(interrupt, Exception)


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


# Imports -----------------------------------------------------------------------------------------


def imported_by(statement):
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_the_package_imports_no_driver_and_no_terminal():
    assert imported_by("import fastsched").isdisjoint(HEAVY)


def test_a_scheduler_on_sqlite_needs_none_of_them_either(tmp_path):
    used = imported_by(
        "from fastsched import Scheduler; "
        f"s = Scheduler('sqlite:///{tmp_path}/jobs.db'); "
        "j = s.job(kind='k')(print); s.start(); j.enqueue().wait(10); s.stop()"
    )
    assert "sqlite3" in used
    assert used.isdisjoint(HEAVY)


# The tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_no_test_sleeps(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            assert "sleep" not in {alias.name for alias in node.names}, f"line {node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep"):
            letting_others_run = ast.unparse(node) == "asyncio.sleep(0)"
            assert letting_others_run, f"line {node.lineno}: {ast.unparse(node)}"
