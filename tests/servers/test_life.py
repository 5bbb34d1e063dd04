"""Start, stop and start again, on every program that this machine has."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from fastsched.errors import ConfigurationError
from fastsched.servers import PrivatePostgres, PrivateRedis, PrivateServer, ServerFailed
from fastsched.servers import postgres as postgres_module
from fastsched.servers import redis as redis_module
from fastsched.servers.server import Mode
from servers.fixtures import started


def programs(module: Any) -> list[Any]:
    """The programs that are run by default, and those of every other place."""
    found: dict[Path, Any] = {}
    for place, folders in module.PLACES:
        for program in filter(None, map(module._accept, folders())):
            found.setdefault(program.resolve(), pytest.param(program.parent, id=place))
    return [pytest.param(None, id="default"), *list(found.values())[1:]]


@pytest.fixture(params=programs(postgres_module))
def pg(request: pytest.FixtureRequest) -> Iterator[PrivatePostgres]:
    with started(PrivatePostgres(request.param, durable=False)) as server:
        yield server


@pytest.fixture(params=programs(redis_module))
def keeping_redis(request: pytest.FixtureRequest) -> Iterator[PrivateRedis]:
    """One that was told to keep its data."""
    settings = {"appendonly": "yes", "appendfsync": "always"}
    with started(PrivateRedis(request.param, settings=settings)) as server:
        yield server


def test_what_was_committed_survives_every_end_of_postgres(pg: PrivatePostgres) -> None:
    with psycopg.connect(pg.url) as db:
        db.execute("CREATE TABLE t (n int)")
    ends: list[Mode] = ["fast", "immediate", "kill"]
    for n, end in enumerate(ends):
        with psycopg.connect(pg.url) as db:
            db.execute("INSERT INTO t VALUES (%s)", (n,))
            db.commit()
            pg.stop(end)  # under a client
            db.close()
        assert not pg.running
        pg.start()
        with psycopg.connect(pg.url) as db:
            rows = db.execute("SELECT n FROM t ORDER BY n").fetchall()
        assert rows == [(i,) for i in range(n + 1)], end


def test_a_postgres_killed_by_somebody_else_starts_again(breakable_pg: PrivatePostgres) -> None:
    old = breakable_pg.process
    os.kill(old.pid, signal.SIGKILL)
    old.wait()
    assert not breakable_pg.running
    breakable_pg.start()
    with psycopg.connect(breakable_pg.url) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_what_redis_was_told_to_keep_survives_every_end_of_it(keeping_redis: PrivateRedis) -> None:
    for n, end in enumerate([keeping_redis.stop, keeping_redis.kill]):
        with redis.Redis.from_url(keeping_redis.url) as client:
            client.rpush("n", n)
        end()
        keeping_redis.start()
        with redis.Redis.from_url(keeping_redis.url) as client:
            assert client.llen("n") == n + 1


def test_redis_keeps_nothing_unless_told_to(breakable_redis: PrivateRedis) -> None:
    with redis.Redis.from_url(breakable_redis.url) as client:
        client.set("a", 1)
    breakable_redis.restart()
    with redis.Redis.from_url(breakable_redis.url) as client:
        assert client.get("a") is None


@pytest.mark.parametrize("kind", ["breakable_pg", "breakable_redis"])
def test_nothing_is_left_after_close(kind: str, request: pytest.FixtureRequest) -> None:
    server: PrivateServer = request.getfixturevalue(kind)
    folder, process = server.folder, server.process
    server.close()
    assert process.returncode == 0
    assert not folder.exists()
    assert not server.running
    server.close()
    server.stop()


def test_after_close_a_start_begins_anew(breakable_redis: PrivateRedis) -> None:
    first = breakable_redis.folder
    breakable_redis.close()
    breakable_redis.start()
    assert breakable_redis.running
    assert breakable_redis.folder != first


def test_a_start_of_a_running_server_changes_nothing(breakable_redis: PrivateRedis) -> None:
    pid = breakable_redis.pid
    assert breakable_redis.start() is breakable_redis
    assert breakable_redis.pid == pid


def test_servers_do_not_disturb_each_other(
    breakable_redis: PrivateRedis,
    redis_server: PrivateRedis,
    breakable_pg: PrivatePostgres,
    pg_server: PrivatePostgres,
) -> None:
    assert len({s.url for s in (breakable_redis, redis_server, breakable_pg, pg_server)}) == 4
    breakable_redis.kill()
    breakable_pg.kill()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()
    with psycopg.connect(pg_server.url) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_an_unknown_way_to_stop_is_refused_and_stops_nothing(breakable_redis: PrivateRedis) -> None:
    with pytest.raises(ConfigurationError, match="'fast', 'kill'"):
        breakable_redis.stop("immediate")
    assert breakable_redis.running


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    tmp = Path("/tmp")
    before = set(tmp.glob("fs-redis-*"))
    with pytest.raises(ServerFailed, match="nonsense") as failure:
        started(PrivateRedis(settings={"nonsense": "yes"}, directory=tmp))
    assert "nonsense" in failure.value.log
    assert set(tmp.glob("fs-redis-*")) <= before


def test_the_log_can_be_read_until_close(breakable_redis: PrivateRedis) -> None:
    breakable_redis.stop()
    assert "bye bye" in breakable_redis.log_tail(3)
    breakable_redis.close()
    assert breakable_redis.log_tail() == ""
