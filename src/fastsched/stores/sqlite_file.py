"""A SQLite file and the one lock under which every process writes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastsched.errors import SchemaError, StoreError, StoreUnavailable
from fastsched.sql import load, migrations

SQL = load("sqlite.sql", "?")
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables
_BUSY_TIMEOUT = 60.0
"""Seconds to wait for a writer that does not take our lock, such as the sqlite3 shell."""
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}
_abandoned: list[sqlite3.Connection] = []
"""Connections of a fork's parent: closing them in the child could disturb the parent's."""


class SqliteFile:
    """One connection that writes, one that reads, and a folder beside the file for its locks."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.folder = self.path.with_name(f"{self.path.name}.d")
        self._lock_file = -1
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._effects: sqlite3.Connection | None = None
        self._locking = threading.Lock()  # the lock on the file excludes processes, not threads

    @property
    def name(self) -> str:
        return f"sqlite:///{self.path}"

    def open(self) -> None:
        """Connect and migrate; a no-op when open."""
        if self._writer is not None:
            return
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreUnavailable(
                f"SQLite {sqlite3.sqlite_version} is too old, wanted 3.37 or later; "
                "use a newer Python"
            )
        self._open_lock()
        with self.locked():
            try:
                self._writer = self._connect()
                _migrate(self._writer, self.name)
                self._reader = self._connect()
                self._reader.execute("PRAGMA query_only = ON")
            except BaseException as error:
                self._drop_connections()
                os.close(self._lock_file)
                if isinstance(error, sqlite3.Error):
                    raise self.failure(error) from error
                raise

    def _open_lock(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock_file = os.open(self.folder / "write.lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot make {self.folder}: {error.strerror}; "
                "give a path in a folder that exists and can be written"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA mmap_size = 0")
        return connection

    def _drop_connections(self) -> None:
        for connection in (self._reader, self._effects, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._effects = self._writer = None

    def close(self) -> None:
        """Disconnect, under the lock: the last connection of all checkpoints."""
        if self._writer is None:
            return
        with self.locked(), self._reading:
            self._drop_connections()
        os.close(self._lock_file)

    def forsake(self) -> None:
        """In the child of a fork: let go without touching what is the parent's."""
        connections = (self._writer, self._reader, self._effects)
        _abandoned.extend(c for c in connections if c is not None)
        if self._writer is not None:
            os.close(self._lock_file)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The advisory lock: one process at a time, the kernel's queue for the others."""
        with self._locking:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: committed when the block ends, rolled back when it raises."""
        db = self._writer
        if db is None:
            raise StoreUnavailable(f"{self.name} is closed")
        try:
            with self.locked():
                db.execute("BEGIN IMMEDIATE")
                with _rolled_back_on_error(db):
                    yield db
                    db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self.failure(error) from error
        except (OverflowError, UnicodeError) as error:  # values that SQLite cannot hold
            raise StoreError(f"{self.name}: {error}") from error

    @contextlib.contextmanager
    def effects(self) -> Iterator[sqlite3.Connection]:
        """Write, for user code: its errors come out as they are."""
        if self._writer is None:
            raise StoreUnavailable(f"{self.name} is closed")
        with self.locked():
            if self._effects is None:
                self._effects = self._connect()
            db = self._effects
            db.execute("BEGIN IMMEDIATE")
            with _rolled_back_on_error(db):
                yield db
                db.execute("COMMIT")

    @contextlib.contextmanager
    def look_up(self) -> Iterator[sqlite3.Connection]:
        """Read, from any thread."""
        with self._reading:
            if self._reader is None:
                raise StoreUnavailable(f"{self.name} is closed")
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise self.failure(error) from error

    def failure(self, error: sqlite3.Error) -> StoreError:
        """The error to raise for one of SQLite's."""
        code = getattr(error, "sqlite_errorcode", 0)
        kind = StoreUnavailable if code & 0xFF in _PASSING else StoreError
        return kind(f"{self.name}: {error}")


def run(db: sqlite3.Connection, name: str, /, **given: Any) -> sqlite3.Cursor:
    """Run a statement by name, with its parameters by name."""
    statement = SQL[name]
    return db.execute(statement.text, statement.values(**given))


def _migrate(db: sqlite3.Connection, name: str) -> None:
    """Bring the tables up to date, in one transaction."""
    todo = migrations("sqlite_migrations")
    newest = todo[-1][0]
    db.execute("BEGIN IMMEDIATE")
    with _rolled_back_on_error(db):
        db.execute("CREATE TABLE IF NOT EXISTS fastsched_schema (version INTEGER NOT NULL) STRICT")
        version = db.execute("SELECT max(version) FROM fastsched_schema").fetchone()[0] or 0
        if version > newest:
            raise SchemaError(
                f"{name} has tables of version {version}, this fastsched knows up to {newest}; "
                "upgrade fastsched on this machine"
            )
        for number, script in todo:
            if number > version:
                for statement in _split(script):
                    db.execute(statement)
                db.execute("INSERT INTO fastsched_schema (version) VALUES (?)", (number,))
        db.execute("COMMIT")


def _split(script: str) -> Iterator[str]:
    """The statements of a migration."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _rolled_back_on_error(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise
