"""The tables of the PostgreSQL store: made and brought up to date once, whoever comes first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from psycopg import errors

from fastsched.errors import SchemaError
from fastsched.sql import migrations
from fastsched.stores.postgres_link import SQL, Db, Link, begin

_MIGRATION_LOCK = 0x66737364_00000000
_MIGRATION_TIMEOUT = 600.0


def version(db: Db) -> int:
    """The version of the tables; 0 when there are none."""
    try:
        row = db.execute(SQL["schema_version"]).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return 0
    return (row[0] if row else 0) or 0


def newest() -> int:
    """The version that this fastsched works with."""
    return migrations("postgres_migrations")[-1][0]


def migrate(link: Link, name: str) -> None:
    """Run what is missing, under a lock; a no-op, without a lock, when nothing is."""
    with link.use() as db:
        found = version(db)
    _refuse_newer(found, name)
    if found == newest():
        return
    with link.use(_MIGRATION_TIMEOUT) as db, _told_who_may(name):
        begin(db, _MIGRATION_TIMEOUT)
        db.execute("SELECT set_config('lock_timeout', '0', true)")
        db.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (_MIGRATION_LOCK,))
        db.execute("CREATE SCHEMA IF NOT EXISTS fastsched")
        db.execute("CREATE TABLE IF NOT EXISTS fastsched.schema (version integer PRIMARY KEY)")
        found = version(db)
        _refuse_newer(found, name)
        for number, script in migrations("postgres_migrations"):
            if number > found:
                db.execute(script.encode())
                db.execute("INSERT INTO fastsched.schema (version) VALUES (%s)", (number,))
        db.execute("COMMIT")


@contextlib.contextmanager
def _told_who_may(name: str) -> Iterator[None]:
    try:
        yield
    except errors.InsufficientPrivilege as error:
        text = str(error).strip().split("\n")[0]
        raise SchemaError(
            f"{name}: the tables must be made or upgraded, and this user may not: {text}; as their "
            "owner run: fastsched db upgrade"
        ) from error


def _refuse_newer(found: int, name: str) -> None:
    if found > newest():
        raise SchemaError(
            f"{name} has tables of version {found}, this fastsched knows up to {newest()}; "
            "upgrade fastsched on this machine"
        )
