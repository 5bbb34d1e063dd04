"""However the process that started a server ends, nothing is left of the server."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

OWNER = Path(__file__).with_name("owner.py")
PATIENCE = 9.0
"""Seconds; after 10 the keeper kills what did not end in good order."""

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="waits for processes that are not its children: Linux"
)


class Watch:
    """Waits for the end of a process that may be anybody's child."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def ended(self) -> bool:
        readable, _, _ = select.select([self._fd], [], [], PATIENCE)
        return bool(readable)

    def close(self) -> None:
        os.close(self._fd)


class Owner:
    """A running owner, and watches on its server and on the keeper of the home."""

    def __init__(self, process: subprocess.Popen[bytes], told: dict[str, Any]) -> None:
        self.process = process
        self.url = str(told["url"])
        self.refused = str(told["refused"])
        self.folder = Path(told["folder"])
        self.pid = int(told["pid"])
        self.server = Watch(self.pid)
        self.keeper = Watch(int(told["keeper"]))

    def finish(self) -> None:
        """Let it come to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def left_nothing(self) -> bool:
        return self.server.ended() and self.keeper.ended() and not self.folder.exists()

    def close(self) -> None:
        self.server.close()
        self.keeper.close()


@contextlib.contextmanager
def owner(kind: str, *how: str) -> Iterator[Owner]:
    process = subprocess.Popen(
        [sys.executable, OWNER, kind, *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"no {kind} in a process of its own"
            with contextlib.closing(Owner(process, json.loads(line))) as it:
                yield it
        finally:
            process.kill()


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize(
    "signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name
)
def test_a_signal_that_ends_the_owner_ends_the_server(signum: signal.Signals) -> None:
    with owner("redis") as it:
        it.process.send_signal(signum)
        assert it.left_nothing()


@pytest.mark.usefixtures("redis_server")
def test_an_owner_that_forgets_to_close_leaves_nothing() -> None:
    with owner("redis") as it:
        it.finish()
        assert it.left_nothing()


@pytest.mark.usefixtures("pg_server")
def test_the_server_of_a_killed_owner_ends_also_when_it_is_frozen() -> None:
    with owner("postgres") as it, psycopg.connect(it.url) as client:
        os.kill(it.pid, signal.SIGSTOP)
        it.process.kill()
        assert it.left_nothing()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


@pytest.mark.usefixtures("redis_server")
def test_in_the_child_of_a_fork_the_server_is_the_parents() -> None:
    with owner("redis", "fork") as it:
        assert f"belongs to process {it.process.pid}" in it.refused
        with redis.Redis.from_url(it.url) as client:
            assert client.ping()
        # It holds all that the parent held, and lives on; the server must not.
        it.process.kill()
        assert it.left_nothing()
