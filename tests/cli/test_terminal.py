"""What a command prints on a terminal, a real one: a pseudo-terminal of this process."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest


@pytest.fixture
def on_terminal(store_url):
    """Run a command with a terminal as its stdout; what appeared there."""

    def run(*args: str, **env: str) -> str:
        inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        ours, its = pty.openpty()
        termios.tcsetwinsize(its, (24, 160))
        process = subprocess.Popen(
            [sys.executable, "-m", "fastsched", *args, "--store", store_url],
            stdout=its,
            stderr=subprocess.PIPE,
            env={**inherited, "TERM": "xterm-256color", **env},
        )
        os.close(its)
        seen = b""
        try:
            while block := os.read(ours, 65536):
                seen += block
        except OSError:  # Linux's way to say end of file
            pass
        finally:
            os.close(ours)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return seen.decode()

    return run


def test_tables_have_headers_in_bold_and_whole_ids(jobs, on_terminal):
    job = jobs.scheduled()
    seen = on_terminal("jobs", "list")
    assert "\x1b[1m" in seen
    assert job.id in seen


def test_no_color_is_respected(jobs, on_terminal):
    jobs.scheduled()
    for command in (["jobs", "list"], ["stats"], ["doctor"]):
        assert "\x1b" not in on_terminal(*command, NO_COLOR="1")


def test_text_from_a_job_cannot_move_the_cursor(jobs, on_terminal):
    jobs.dead("[bold]\x1b[2J\x07")
    seen = on_terminal("dead", "list", NO_COLOR="1")
    assert "[bold]" in seen
    assert not set(seen) & {"\x1b", "\x07"}


def test_the_doctor_colours_its_verdicts(jobs, on_terminal):
    jobs.scheduled()
    assert "\x1b[32mok" in on_terminal("doctor")
