"""The tables of a store, written by hand."""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol

import psycopg

from fastsched.ids import new_id


class Tables(Protocol):
    """What is the same for both stores: `{jobs}` and `{nodes}` are the names of tables."""

    refusals: tuple[type[Exception], ...]
    """What the database raises when it does not take a row."""
    infinity: Any
    a_node: Any
    """What a claim by a node that there is not looks like."""

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement with `?` for its values, and commit."""

    def close(self) -> None:
        """Disconnect."""


class SqliteTables:
    refusals = (sqlite3.Error,)
    infinity = float("inf")
    a_node = new_id()

    def __init__(self, url: str) -> None:
        self._db = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        statement = statement.format(jobs="fastsched_jobs", nodes="fastsched_nodes")
        return self._db.execute(statement, values).fetchall()

    def close(self) -> None:
        self._db.close()


class PostgresTables:
    refusals = (psycopg.Error,)
    infinity = "infinity"
    a_node = 1_000_000

    def __init__(self, url: str) -> None:
        self._db = psycopg.connect(url, autocommit=True)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        statement = statement.format(jobs="fastsched.jobs", nodes="fastsched.nodes")
        cursor = self._db.execute(statement.replace("%", "%%").replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        self._db.close()


def write_job(tables: Tables, **columns: Any) -> str:
    """Write the row of a job that is ready, with these columns; its id."""
    row: dict[str, Any] = {
        "id": new_id(),
        "kind": "job",
        "queue": "default",
        "state": "ready",
        "priority": 0,
        "max_attempts": 1,
        "payload": b"[[],{}]",
    }
    if isinstance(tables, SqliteTables):
        row |= {"due_at": 1.0, "created_at": 1.0}
    row |= columns
    marks = ", ".join("?" * len(row))
    tables.run(f"INSERT INTO {{jobs}} ({', '.join(row)}) VALUES ({marks})", *row.values())
    return str(row["id"])
