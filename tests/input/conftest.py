"""Both stores, and a hand that writes into their tables behind fastsched's back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from fastsched.stores.postgres import PostgresStore
from input.tables import PostgresTables, SqliteTables, Tables

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def pg_template(pg_server) -> str:
    """A database with the tables in it; a suite that imports this has one of its own."""
    name = f"input_template_{next(_numbers)}"
    store = PostgresStore(pg_server.create_database(name), keep_done=False)
    store.open()
    store.close()
    return name


@pytest.fixture
def tables(store_url: str, make) -> Iterator[Tables]:
    """The tables of the test's store, made already."""
    maker = make()
    maker.store_stats()
    maker.stop()
    tables = (SqliteTables if store_url.startswith("sqlite") else PostgresTables)(store_url)
    yield tables
    tables.close()
