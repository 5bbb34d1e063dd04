"""Which half is in use, and what is said about it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .halves import load

SHOW = "import fastsched.heap as h; print(h.IMPLEMENTATION, h.IndexedHeap.__module__, h.REASON)"
# What a machine without the extension sees.
HIDE = "import sys; sys.modules['fastsched._heap'] = None; "


def python(code, heap=None, *flags):
    environment = {key: value for key, value in os.environ.items() if key != "FASTSCHED_HEAP"}
    if heap is not None:
        environment["FASTSCHED_HEAP"] = heap
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("heap", [None, "", "cython"])
def test_the_compiled_half_is_the_first_choice(heap):
    load("cython")
    result = python(SHOW, heap, "-Werror")
    assert result.stderr == ""
    assert result.stdout.startswith("cython fastsched._heap ")


def test_python_can_be_forced():
    result = python(SHOW, "python", "-Werror")
    assert (result.stdout, result.stderr) == (
        "python fastsched._heap_py FASTSCHED_HEAP=python\n",
        "",
    )


@pytest.mark.parametrize("word", ["c", "Cython", "pure", "python ", "0"])
def test_other_words_are_refused_with_the_words_that_are_not(word):
    result = python(SHOW, word)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"ValueError: FASTSCHED_HEAP must be 'cython' or 'python', or not be set; it is {word!r}"
    )


def test_a_forced_compiled_half_that_cannot_load_is_an_import_error():
    result = python(HIDE + SHOW, "cython")
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: FASTSCHED_HEAP=cython, but the compiled heap cannot be")
    assert "reinstall" in last
    assert "unset FASTSCHED_HEAP" in last


def test_falling_back_is_said_once_with_the_cure():
    again = "; import importlib, fastsched.heap; from fastsched.heap import IndexedHeap"
    result = python(HIDE + SHOW + again)
    assert result.returncode == 0
    assert result.stdout.startswith(
        "python fastsched._heap_py the compiled heap cannot be loaded: "
    )
    assert result.stderr.count("RuntimeWarning") == 1
    assert "reinstall with a C compiler" in result.stderr
    assert "FASTSCHED_HEAP=python" in result.stderr


def test_a_forced_python_half_says_nothing():
    assert python(HIDE + SHOW, "python").stderr == ""
