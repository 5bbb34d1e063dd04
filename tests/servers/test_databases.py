"""Databases of a private PostgreSQL, and the fixtures that give one to each test."""

from __future__ import annotations

import psycopg
import pytest
import redis

from fastsched.servers import PrivatePostgres, PrivateRedis, ServerMissing
from servers.fixtures import shared, started


def databases(server: PrivatePostgres) -> set[str]:
    with psycopg.connect(server.url) as db:
        return {name for (name,) in db.execute("SELECT datname FROM pg_database")}


def test_a_database_has_what_its_template_has(pg_server: PrivatePostgres) -> None:
    template = pg_server.create_database("odd % \" 'name")
    try:
        with psycopg.connect(template) as db:
            db.execute("CREATE TABLE t AS SELECT 7 AS n")
        url = pg_server.create_database("copy", template="odd % \" 'name")
        with psycopg.connect(url) as db:
            assert db.execute("SELECT n FROM t").fetchone() == (7,)
    finally:
        pg_server.drop_database("copy")
        pg_server.drop_database("odd % \" 'name")
    assert not databases(pg_server) & {"copy", "odd % \" 'name"}


def test_a_database_in_use_can_be_dropped(pg_server: PrivatePostgres) -> None:
    with psycopg.connect(pg_server.create_database("busy")) as client:
        pg_server.drop_database("busy")
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    pg_server.drop_database("busy")


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_has_a_database_of_its_own(pg_url: str, time: str) -> None:
    with psycopg.connect(pg_url) as db:
        db.execute("CREATE TABLE t (n int)")  # refused if there were one


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_has_a_redis_without_keys(redis_url: str, time: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.set("key", 1, nx=True)


def test_suites_share_one_server(
    pg_server: PrivatePostgres, redis_server: PrivateRedis, pytestconfig: pytest.Config
) -> None:
    assert shared(pytestconfig, "postgres", PrivatePostgres) is pg_server
    assert shared(pytestconfig, "redis", PrivateRedis) is redis_server


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_breakable_server_is_whole_again_for_the_next_test(
    breakable_pg: PrivatePostgres, breakable_pg_url: str, time: str
) -> None:
    with psycopg.connect(breakable_pg_url) as db:
        db.execute("CREATE TABLE t (n int)")
    breakable_pg.process.kill()
    breakable_pg.process.wait()


def test_a_missing_server_is_a_skip_on_a_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nowhere"):
        started(PrivateRedis("/nowhere"))


def test_a_missing_server_is_an_error_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ServerMissing, match="nowhere"):
        started(PrivateRedis("/nowhere"))
