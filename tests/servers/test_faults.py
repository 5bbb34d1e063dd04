"""What a test can do to a server, and what is cleaned up after it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import pq

from fastsched.servers import PrivatePostgres, PrivateRedis, PrivateServer

PATIENCE = 30.0


@contextmanager
def bare_connection(url: str) -> Iterator[pq.PGconn]:
    connection = pq.PGconn.connect(url.encode())
    try:
        yield connection
    finally:
        connection.finish()


def answered(connection: pq.PGconn, patience: float) -> bool:
    """Whether something comes, be it the end of the connection."""
    readable, _, _ = select.select([connection.socket], [], [], patience)
    return bool(readable)


def test_a_busy_backend_does_not_outlive_a_killed_server(breakable_pg: PrivatePostgres) -> None:
    # It looks for its parent only between queries: left alone it would hold up the restart.
    pg = breakable_pg
    with bare_connection(pg.url) as busy, psycopg.connect(pg.url, autocommit=True) as witness:
        busy.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
        asked = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
        while witness.execute(asked, (busy.backend_pid,)).fetchone() != (True,):
            pass
        pg.process.kill()
        pg.process.wait()
        assert not answered(busy, 0.0)
        pg.start()
        assert answered(busy, 0.0)
        with pytest.raises(psycopg.OperationalError):
            witness.execute("SELECT 1")
    with psycopg.connect(pg.url) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(not Path("/proc/sysvipc/shm").exists(), reason="looks into Linux's /proc")
def test_a_killed_postgres_leaves_no_shared_memory(breakable_pg: PrivatePostgres) -> None:
    def segments() -> set[str]:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return {line.split()[1] for line in lines}

    lock_file = breakable_pg.folder / "data" / "postmaster.pid"
    segment = lock_file.read_text().splitlines()[6].split()[1]
    files = set(Path("/dev/shm").glob("PostgreSQL.*"))
    assert segment in segments()
    breakable_pg.kill()
    assert segment not in segments()
    assert not lock_file.exists()
    breakable_pg.start()
    breakable_pg.kill()
    assert set(Path("/dev/shm").glob("PostgreSQL.*")) <= files


def test_a_paused_redis_is_silent_until_resumed(breakable_redis: PrivateRedis) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(breakable_redis.folder / "redis.sock"))
        breakable_redis.pause()
        client.sendall(b"PING\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        breakable_redis.resume()
        client.settimeout(PATIENCE)
        assert client.recv(100) == b"+PONG\r\n"


def test_a_pause_reaches_the_connections_that_postgres_has(breakable_pg: PrivatePostgres) -> None:
    with bare_connection(breakable_pg.url) as connection:
        breakable_pg.pause()
        connection.send_query(b"SELECT 1")
        assert not answered(connection, 0.2)
        breakable_pg.resume()
        assert answered(connection, PATIENCE)


@pytest.mark.parametrize("kind", ["breakable_pg", "breakable_redis"])
def test_a_paused_server_can_be_stopped(kind: str, request: pytest.FixtureRequest) -> None:
    server: PrivateServer = request.getfixturevalue(kind)
    process = server.process
    server.pause()
    server.stop()
    assert process.returncode == 0


@pytest.mark.parametrize("kind", ["breakable_pg", "breakable_redis"])
def test_a_paused_server_can_be_killed(kind: str, request: pytest.FixtureRequest) -> None:
    server: PrivateServer = request.getfixturevalue(kind)
    server.pause()
    server.kill()
    server.start()
    assert server.running
