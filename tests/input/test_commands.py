"""Whatever is typed: an exit code, a line that says why, and nothing that moves a cursor."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastsched import Scheduler
from fastsched.cli import commands

Run = Callable[..., Result]
ODD = [
    "", " ", "-", "--", "x", "\x1b[2J", "\u202e", "a\nb", "\ud800", "0", "-1", "1e999", "nan",
    "inf", "ä", "9" * 5_000, "x" * 10_000, "../..", "%s", "{}", "'; --", "$(true)", "*", "-h",
    "--help",
]  # fmt: skip
WORDS = [
    "worker", "jobs", "dead", "stats", "db", "doctor", "list", "show", "cancel", "retry", "requeue",
    "discard", "upgrade", "status", "--store", "--json", "--state", "--kind", "--queue", "--after",
    "--limit", "--all", "--yes", "--show-args", "--check", "--workers", "--grace", "--until-idle",
    "--strict", "--log-level", "--json-logs", "01a20d6d-05a7-7f01-ad17-2655a916a133", "ready",
]  # fmt: skip
TARGETS = [
    ":", "::", "a:b:c", ".", "..", "...:x", "a..b", "a.b.c", ":x", "x:", "json", "json:", "os:path",
    "json:loads", "json:loads.x", "fastsched:Scheduler", "jobs.py", "./jobs", "/etc/passwd",
    "__main__:x", "fastsched.:x", ".json:x", "x\0y:z", "json:\x1b[2J", "json:__class__.__mro__",
    "sys:modules",
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a store with a few jobs, in an empty folder."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTSCHED_URL", url)
    monkeypatch.setattr(sys, "path", list(sys.path))
    scheduler = Scheduler(url)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.enqueue_many(job.job() for _ in range(3))
    scheduler.stop()
    return lambda *args, **options: CliRunner().invoke(commands, list(args), **options)


def check(result: Result, *codes: int) -> Result:
    assert result.exit_code in codes, (result.exit_code, result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert all(c.isprintable() or c == "\n" for c in result.output), ascii(result.output)
    assert len(result.output) < 20_000
    return result


@pytest.mark.parametrize(
    "command",
    [
        ["jobs", "show"], ["jobs", "cancel"], ["jobs", "retry"], ["dead", "show"],
        ["dead", "requeue"], ["dead", "discard"], ["jobs", "list", "--after"],
        ["jobs", "list", "--limit"], ["jobs", "list", "--state"], ["dead", "list", "--limit"],
        ["stats", "--watch"], ["worker", "x:y", "--workers"], ["worker", "x:y", "--grace"],
        ["worker", "x:y", "--log-level"], [], ["jobs"], ["dead"], ["db"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_no_id_number_or_word_is_a_mistake_in_usage(run: Run, command: list[str]) -> None:
    for odd in ODD:
        if odd in ("-h", "--help"):
            continue
        check(run(*command, odd), 2, *([3] if command[:1] == ["worker"] else []))


@pytest.mark.parametrize("command", [["jobs", "list"], ["dead", "list"], ["worker", "x:y"]])
@pytest.mark.parametrize("option", ["--kind", "--queue"])
def test_what_is_no_name_is_a_mistake_in_usage_or_setting(
    run: Run, command: list[str], option: str
) -> None:
    for odd in ("a b", "\x1b[2J", "x" * 10_000, "é", "'; --", "a\nb"):
        check(run(*command, option, odd), 2, 3)


@pytest.mark.parametrize(
    "target",
    [*TARGETS, *(odd for odd in ODD if not odd.startswith("-"))],
    ids=lambda target: ascii(target)[:30],
)
def test_a_target_that_is_no_scheduler_is_a_mistake_in_settings(run: Run, target: str) -> None:
    result = check(run("worker", target, "--until-idle"), 2, 3)
    assert "fastsched" in result.stderr or "Usage" in result.stderr


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ValueError('\\x1b[2J\\n' * 3)", "ValueError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("raise RecursionError", "RecursionError"),
        ("def f(:", "importing broken failed"),
        ("\x00", "importing broken failed"),
        ("import no_such_module_x", "no_such_module_x"),
        ("from fastsched import Scheduler; scheduler = Scheduler('mysql://u:hunter2@h')", "mysql"),
        ("scheduler = 5", "no Scheduler"),
        ("from fastsched import Scheduler; a = Scheduler(); b = Scheduler()", "several"),
    ],
)
def test_a_module_that_cannot_be_used_says_why_in_a_line(
    run: Run, tmp_path: Path, code: str, says: str
) -> None:
    (tmp_path / "broken.py").write_text(code)
    result = check(run("worker", "broken", "--until-idle"), 3)
    sys.modules.pop("broken", None)
    assert says in result.stderr
    assert "hunter2" not in result.output


def test_a_file_that_is_no_store_is_said_to_be_none(run: Run, tmp_path: Path) -> None:
    strange = tmp_path / "strange.db"
    for content in (b"x" * 10_000, b"SQLite format 3\0" + b"\xff" * 10_000, b"\0" * 4096):
        strange.write_bytes(content)
        for command in (
            ["jobs", "list"],
            ["stats"],
            ["db", "status"],
            ["db", "upgrade"],
            ["doctor"],
        ):
            check(run(*command, "--store", f"sqlite:///{strange}"), 4)
        assert strange.read_bytes() == content


def test_answers_in_json_are_json_whatever_is_asked(run: Run) -> None:
    for command in (
        "jobs list", "stats", "db status", "doctor", "dead list", "dead requeue --all --yes",
        "jobs cancel 01a20d6d-05a7-7f01-ad17-2655a916a133",
    ):  # fmt: skip
        json.loads(check(run(*command.split(), "--json"), 0, 1).stdout)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    args=st.lists(
        st.sampled_from(WORDS) | st.sampled_from(ODD) | st.text(max_size=5), min_size=1, max_size=6
    ).filter(lambda args: "--watch" not in args)
)
def test_any_words_are_answered(run: Run, args: list[str]) -> None:
    check(run(*args, input=""), 0, 1, 2, 3, 4)
