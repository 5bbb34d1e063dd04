"""The database of a lab on PostgreSQL."""

from __future__ import annotations

import psycopg

from fastsched.stores.base import Store
from fastsched.stores.postgres import PostgresStore
from fastsched.stores.postgres_nodes import LOCK_CLASS

_SHIFTS = (
    "UPDATE fastsched.jobs SET due_at = due_at - %(by)s, deadline = deadline - %(by)s,"
    " created_at = created_at - %(by)s, claimed_at = claimed_at - %(by)s,"
    " ended_at = ended_at - %(by)s",
    "UPDATE fastsched.nodes SET started_at = started_at - %(by)s,"
    " lease_until = lease_until - %(by)s",
    "UPDATE fastsched.given_ids SET given_at = given_at - %(by)s",
    "UPDATE fastsched.flushes SET flushed_at = flushed_at - %(by)s",
)
_BY_ITSELF = 0.01
"""Seconds that pass anyway from one call to the next, more or less."""


class PostgresBase:
    """A fresh database. Its clock cannot be set, so time passes by setting all times back."""

    knows_what_ran = False

    def __init__(self, url: str) -> None:
        self._url = url

    def connect(self, *, keep_done: bool) -> Store:
        return PostgresStore(self._url, keep_done=keep_done)

    def pass_time(self, seconds: float) -> None:
        if seconds < _BY_ITSELF:
            return
        with psycopg.connect(self._url) as db:
            for shift in _SHIFTS:
                db.execute(shift.replace("%(by)s", "%(by)s * interval '1 second'"), {"by": seconds})

    def empty(self) -> None:
        """Forget everything, as if the database were fresh."""
        with psycopg.connect(self._url) as db:
            tables = "jobs, nodes, given_ids, flushes"
            db.execute("SET search_path = fastsched")
            db.execute(f"TRUNCATE {tables} RESTART IDENTITY")

    def kill(self, store: Store) -> None:
        assert isinstance(store, PostgresStore)
        store._keeps.disconnect()  # the server drops its locks, as when the process dies
        with psycopg.connect(self._url) as db:
            for place in store._places.values():  # and is a moment about it
                db.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_CLASS, place.number))
        store._places.clear()
