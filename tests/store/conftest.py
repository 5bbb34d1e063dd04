"""One suite for every store: a test that takes `lab` runs once on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from fastsched.stores import postgres_nodes
from fastsched.stores.postgres import PostgresStore

from .lab import Lab, MemoryBase, SqliteBase
from .postgres_base import PostgresBase

settings.register_profile("store", max_examples=30)
settings.register_profile("store-thorough", max_examples=2_000)


@pytest.fixture(scope="session")
def pg_template(pg_server) -> str:
    """A database with the tables in it."""
    store = PostgresStore(pg_server.create_database("store_template"), keep_done=False)
    store.open()
    store.close()
    return "store_template"


@pytest.fixture(params=["sqlite", "postgres", "memory", "memory, suspects only"])
def lab(request, tmp_path, monkeypatch) -> Iterator[Lab]:
    if request.param == "sqlite":
        lab = Lab(SqliteBase(tmp_path))
    elif request.param.startswith("memory"):
        lab = Lab(MemoryBase(knows_what_ran=request.param == "memory"))
    else:
        # A server just started may be judged at once: its nodes do not have to lock anew.
        monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
        lab = Lab(PostgresBase(request.getfixturevalue("pg_url")))
    yield lab
    try:
        lab.check_conservation()
    finally:
        lab.close()


@pytest.fixture
def node(lab) -> str:
    """The id of a registered node."""
    return lab.node()
