"""MODULE:SCHEDULER, and what is said when it cannot be had."""

from __future__ import annotations

import sys

import pytest

from cli.processes import PROGRAM


@pytest.fixture
def refusal(run, tmp_path, monkeypatch):
    """Run ``fastsched worker`` in a folder with a program; the one line that it answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def call(target: str, **modules: str) -> str:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        result = run("worker", target)
        for name in set(sys.modules) - before:
            del sys.modules[name]
        assert result.exit_code == 3, result.output
        assert "Traceback" not in result.output
        assert len(result.stderr.splitlines()) == 1
        return result.stderr

    return call


def test_a_module_that_is_not_there(refusal, tmp_path):
    said = refusal("prorgam:scheduler", program=PROGRAM)
    assert "no module 'prorgam'" in said
    assert str(tmp_path) in said
    assert "did you mean 'program'" in said


def test_a_submodule_that_is_not_there(refusal):
    assert "no module 'program.jobs'" in refusal("program.jobs:scheduler", program=PROGRAM)


def test_a_module_that_misses_one_itself(refusal):
    said = refusal("needs_more:scheduler", needs_more="\nimport not_there_at_all\n")
    assert "not_there_at_all" in said
    assert "needs_more.py, line 2" in said


@pytest.mark.parametrize(
    ("text", "what"),
    [("x = 1\n1 / 0\n", "ZeroDivisionError"), ("import sys\nsys.exit('bye')\n", "SystemExit")],
)
def test_a_module_that_fails(refusal, text, what):
    said = refusal("breaks:scheduler", breaks=text)
    assert what in said
    assert "breaks.py, line 2" in said


def test_a_module_that_is_not_python(refusal):
    said = refusal("broken:scheduler", broken="def f(:\n")
    assert "broken.py, line 1" in said


def test_an_attribute_that_is_not_there(refusal):
    assert "did you mean 'scheduler'" in refusal("program:schedluer", program=PROGRAM)
    assert "give program:scheduler" in refusal("program:app", program=PROGRAM)


def test_something_else_than_a_scheduler(refusal):
    said = refusal("program:quick", program=PROGRAM)
    assert "is a JobFunction, not a Scheduler; give program:scheduler" in said


@pytest.mark.parametrize("target", ["program.py", "./program.py:scheduler"])
def test_a_file_instead_of_a_module(refusal, target):
    assert "give the module: program:scheduler" in refusal(target, program=PROGRAM)


@pytest.mark.parametrize("target", [":scheduler", "a:b:c", ""])
def test_a_target_of_another_form(refusal, target):
    assert "wanted MODULE:SCHEDULER" in refusal(target)


def test_several_schedulers_need_a_name(refusal):
    said = refusal("two", two="from fastsched import Scheduler\na = Scheduler()\nb = Scheduler()\n")
    assert "two:a or two:b" in said


def test_no_scheduler_at_all(refusal):
    assert "has no Scheduler" in refusal("none", none="x = 1\n")
