"""Real servers for the tests of any suite.

    pytest_plugins = ["servers.fixtures"]                # for all suites, in tests/conftest.py
    from servers.fixtures import pg_server, pg_url       # or for one, in its own conftest.py

Either way, and both at once: one server of a kind for a session, started when first asked for.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from fastsched.servers import (
    PrivatePostgres,
    PrivateRedis,
    PrivateServer,
    ServerFailed,
    ServerMissing,
)

S = TypeVar("S", bound=PrivateServer)

_SHARED = pytest.StashKey[dict[str, Any]]()
_numbers = itertools.count(1)


def started(server: S) -> S:
    """Start it. Missing, it is a skip on a desk and an error in CI."""
    try:
        return server.__enter__()
    except ServerMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def shared(config: pytest.Config, name: str, make: Callable[[], S]) -> S:
    """The session's server of that name: a fixture imported into two suites is two fixtures."""
    servers = config.stash.setdefault(_SHARED, {})
    if name not in servers:
        server = started(make())
        config.add_cleanup(server.close)
        servers[name] = server
    shared_one: S = servers[name]
    return shared_one


@pytest.fixture(scope="session")
def pg_server(pytestconfig: pytest.Config) -> PrivatePostgres:
    """A PostgreSQL for many tests: use its databases, do not stop or freeze it."""
    return shared(pytestconfig, "postgres", _quick_postgres)


def _quick_postgres() -> PrivatePostgres:
    settings = {"max_connections": 200}
    return PrivatePostgres(durable=False, settings=settings, directory=_memory())


def _memory() -> Path | None:
    """A folder in memory, where there is one with room for a database that grows.

    On a disk whose other users call fsync, a new database took 20 to 250 ms, here 10.
    """
    folder = Path("/dev/shm")
    try:
        facts = os.statvfs(folder)
    except OSError:
        return None
    roomy = facts.f_bavail * facts.f_frsize > 4 << 30
    return folder if roomy and not facts.f_flag & os.ST_NOEXEC else None


@pytest.fixture(scope="session")
def pg_template() -> str | None:
    """The database that `pg_url` copies. A suite may define its own, with tables in it."""
    return None


@pytest.fixture
def pg_url(pg_server: PrivatePostgres, pg_template: str | None) -> Iterator[str]:
    """A new database, dropped after the test whoever is still connected."""
    name = f"test_{next(_numbers)}"
    yield pg_server.create_database(name, template=pg_template)
    pg_server.drop_database(name)


@pytest.fixture
def breakable_pg(pytestconfig: pytest.Config) -> PrivatePostgres:
    """A PostgreSQL that the test may stop, kill or freeze; it is started again for the next one."""
    server = shared(pytestconfig, "breakable postgres", _quick_postgres)
    server.resume()
    try:
        return server.start()
    except ServerFailed:
        server.close()  # the next test has a new one
        raise


@pytest.fixture
def breakable_pg_url(breakable_pg: PrivatePostgres) -> Iterator[str]:
    """A new database on it, dropped after the test if the server still runs."""
    name = f"test_{next(_numbers)}"
    yield breakable_pg.create_database(name)
    breakable_pg.resume()
    if breakable_pg.running:
        breakable_pg.drop_database(name)


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> PrivateRedis:
    """A Redis for many tests: do not stop or freeze it."""
    return shared(pytestconfig, "redis", PrivateRedis)


@pytest.fixture
def redis_url(redis_server: PrivateRedis) -> str:
    """A Redis without any keys."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def breakable_redis() -> Iterator[PrivateRedis]:
    """A Redis for this test alone, which may stop, kill or freeze it."""
    with started(PrivateRedis()) as server:
        yield server
