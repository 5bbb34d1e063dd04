"""The tables of a store, looked at without making or changing them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fastsched.cli.problems import OutOfReach
from fastsched.sql import migrations
from fastsched.stores import make_store


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteFacts:
    """What a SQLite file says of itself."""

    path: Path
    size: int
    wal_size: int
    journal_mode: str
    integrity: str | None
    """`ok`, what is wrong, or None if it was not checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """How far a store is from what this fastsched works with."""

    store: str
    """Its name, without secrets."""
    version: int
    """0 if there are none."""
    newest: int
    sqlite: SqliteFacts | None = None

    @property
    def standing(self) -> str:
        """That, in words, with what to do."""
        if not self.version:
            return "none yet: fastsched db upgrade"
        if self.version < self.newest:
            return f"version {self.version}, not the newest {self.newest}: fastsched db upgrade"
        if self.version > self.newest:
            return (
                f"version {self.version}, newer than this fastsched knows ({self.newest}): "
                "upgrade fastsched on this machine"
            )
        return f"version {self.version}, the newest"


def tables_of(url: str, *, check: bool = False) -> Tables:
    """Look; `check` reads a SQLite file from end to end. `OutOfReach` if that is not possible."""
    store = make_store(url)
    file = sqlite_file(store.name)
    if file is None:
        try:
            version = store.schema_version()  # needs no `open`, which would upgrade
        finally:
            store.close()
        return Tables(store=store.name, version=version, newest=_newest("postgres_migrations"))
    newest = _newest("sqlite_migrations")
    if not file.exists():
        return Tables(store=store.name, version=0, newest=newest)
    try:
        with _read_only(file) as connection:
            version, facts = _version(connection), _facts(connection, file, check=check)
    except (OSError, sqlite3.Error) as error:
        raise OutOfReach(f"{file} cannot be read: {error}") from error
    return Tables(store=store.name, version=version, newest=newest, sqlite=facts)


def sqlite_file(store_name: str) -> Path | None:
    """The file of a SQLite store; None for a store that is not a file."""
    prefix = "sqlite:///"
    return Path(store_name.removeprefix(prefix)) if store_name.startswith(prefix) else None


def _newest(folder: str) -> int:
    return migrations(folder)[-1][0]


@contextlib.contextmanager
def _read_only(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, so it cannot checkpoint either."""
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _version(connection: sqlite3.Connection) -> int:
    tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'fastsched_schema'")
    if tables.fetchone() is None:
        return 0
    version: int = connection.execute("SELECT max(version) FROM fastsched_schema").fetchone()[0]
    return version


def _facts(connection: sqlite3.Connection, file: Path, *, check: bool) -> SqliteFacts:
    wal = file.with_name(f"{file.name}-wal")
    return SqliteFacts(
        path=file,
        size=file.stat().st_size,
        wal_size=wal.stat().st_size if wal.exists() else 0,
        journal_mode=connection.execute("PRAGMA journal_mode").fetchone()[0],
        integrity=_integrity(connection) if check else None,
    )


def _integrity(connection: sqlite3.Connection) -> str:
    return "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check(10)"))
