"""What a user meets first: help, typos, errors, and how long it takes to start."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import fastsched


def test_help_fits_on_a_screen_and_names_every_command(run):
    text = run("--help").stdout
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80
    for command in ("demo", "worker", "jobs", "dead", "stats", "db", "doctor"):
        assert f"  {command} " in text
    assert "..." not in text.partition("Commands:")[2]


def test_version(run):
    assert fastsched.__version__ in run("--version").stdout


@pytest.mark.parametrize(
    ("args", "meant"),
    [(["wroker"], "worker"), (["jobs", "lst"], "list"), (["stats", "--wacth"], "--watch")],
)
def test_a_typo_is_answered_with_what_was_meant(run, args, meant):
    result = run(*args)
    assert result.exit_code == 2
    assert meant in result.stderr


@pytest.mark.parametrize(
    ("url", "says"),
    [("mysql://x", "not a store"), ("jobs.db", "no scheme"), ("sqlite://jobs.db", "three slashes")],
)
def test_a_bad_store_url_is_a_configuration_error(run, url, says):
    result = run("stats", "--store", url)
    assert result.exit_code == 3
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_a_password_in_the_url_is_not_repeated(run):
    result = run("stats", "--store", "mysql://me:hunter2@host/jobs")
    assert result.exit_code == 3
    assert "hunter2" not in result.output


def test_help_does_not_import_what_only_commands_need():
    code = (
        "import sys; from fastsched.cli import commands; "
        "commands(['--help'], standalone_mode=False); "
        "heavy = {'rich', 'psycopg', 'redis', 'asyncio', 'subprocess'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_and_help_are_quick():
    def seconds(*args: str) -> float:
        def once() -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, *args], check=True, capture_output=True)
            return time.perf_counter() - began

        return min(once() for _ in range(5))

    # Loose, for slow and busy machines; where it is quiet the two take about 100 and 140 ms.
    bare = seconds("-c", "import json, logging, sqlite3, threading")
    assert seconds("-c", "import fastsched") < 6 * bare
    assert seconds("-m", "fastsched", "--help") < 10 * bare
