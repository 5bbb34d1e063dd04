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
from fastsched.stores.sqlite_forks import opening, pause_around_forks

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
_torn: dict[Path, tuple[sqlite3.Connection | None, ...]] = {}
"""Files that cannot be used in this process: it was forked inside a transaction of its parent."""


class SqliteFile:
    """One connection that writes, one that reads, and a folder beside the file for its locks."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.folder = self.path.with_name(f"{self.path.name}.d")
        self._opened = False
        self._lock_file = -1
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._effects: sqlite3.Connection | None = None
        # Reentrant, since a thread that holds them may fork.
        self._reading = threading.RLock()
        self._locking = threading.RLock()  # the lock on the file excludes processes, not threads

    @property
    def name(self) -> str:
        return f"sqlite:///{self.path}"

    def open(self) -> None:
        """Connect and migrate; a no-op when open."""
        if self._opened:
            return
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreUnavailable(
                f"SQLite {sqlite3.sqlite_version} is too old, wanted 3.37 or later; "
                "use a newer Python"
            )
        with opening:
            if self.path in _torn:
                raise StoreUnavailable(
                    f"{self.name} was being written by the thread that forked this process; "
                    "fork outside of ctx.transaction(), or start the process by spawn"
                )
            self._open_lock()
            try:
                with self.locked(), self._reading:
                    self._make_private()
                    _migrate(self._connected_writer(), self.name)
                    self._connected_reader()
            except BaseException as error:
                self._drop_connections()
                os.close(self._lock_file)
                if isinstance(error, sqlite3.Error):
                    raise self.failure(error) from error
                raise
            self._opened = True
            pause_around_forks(self)

    def _open_lock(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._lock_file = os.open(self.folder / "write.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"cannot make {self.folder}: {error.strerror}; "
                "give a path in a folder that exists and can be written"
            ) from error

    def _make_private(self) -> None:
        """Make the file, if there is none, so that others cannot read the arguments in it."""
        with contextlib.suppress(OSError):  # it is there, or SQLite will say why it cannot be
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA mmap_size = 0")
        return connection

    def _connected_writer(self) -> sqlite3.Connection:
        """Under `locked`. A connection is made anew after a fork."""
        if self._writer is None:
            self._writer = self._connect()
            self._writer.text_factory = _text
        return self._writer

    def _connected_reader(self) -> sqlite3.Connection:
        """Under `_reading`."""
        if self._reader is None:
            self._reader = self._connect()
            self._reader.text_factory = _text
            self._reader.execute("PRAGMA query_only = ON")
        return self._reader

    def _connections(self) -> tuple[sqlite3.Connection | None, ...]:
        return (self._reader, self._effects, self._writer)

    def _drop_connections(self) -> None:
        for connection in self._connections():
            if connection is not None:
                connection.close()
        self._reader = self._effects = self._writer = None

    def close(self) -> None:
        """Disconnect, under the lock: the last connection of all checkpoints."""
        if not self._opened:
            return
        with self.locked(), self._reading:
            self._opened = False
            self._drop_connections()
        os.close(self._lock_file)

    def pause(self) -> None:
        """Before a fork: finish what is being written, disconnect, and let nobody connect."""
        self._locking.acquire()
        self._reading.acquire()
        connections = self._connections()
        if any(c is not None and c.in_transaction for c in connections):
            _torn[self.path] = connections  # this very thread is inside a transaction
        elif self._opened:
            with self.locked():
                self._drop_connections()

    def resume(self) -> None:
        """After a fork, in the parent or in the child; see `forsake` for what else the child does.

        A torn file stays so in the child, which has forsaken it.
        """
        if self._opened:
            _torn.pop(self.path, None)
        self._reading.release()
        self._locking.release()

    def forsake(self) -> None:
        """In the child of a fork: let go of what is the parent's."""
        if self._opened:
            self._opened = False
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
        self._check_open()
        try:
            with self.locked():
                db = self._connected_writer()
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
        self._check_open()
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
            self._check_open()
            try:
                yield self._connected_reader()
            except sqlite3.Error as error:
                raise self.failure(error) from error

    def _check_open(self) -> None:
        if not self._opened:
            raise StoreUnavailable(f"{self.name} is closed")

    def failure(self, error: sqlite3.Error) -> StoreError:
        """The error to raise for one of SQLite's."""
        code = getattr(error, "sqlite_errorcode", 0)
        kind = StoreUnavailable if code & 0xFF in _PASSING else StoreError
        return kind(f"{self.name}: {error}")


def _text(stored: bytes) -> str:
    """Text from the file. One that is not UTF-8 must not hide its row, or hold up a claim."""
    return str(stored, "utf-8", "replace")


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
