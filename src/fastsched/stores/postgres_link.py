"""One connection to PostgreSQL that comes back by itself, and whose calls always end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import Cursor, errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row

from fastsched.clock import Clock
from fastsched.errors import ConfigurationError, StoreError, StoreUnavailable
from fastsched.sql import load
from fastsched.stores.deadlines import Deadlines

SQL = {name: s.text.encode() for name, s in load("postgres.sql", r"%(\1)s").items()}
"""Statements by name, with psycopg's marks."""
CONNECT_TIMEOUT = 5
CALL_TIMEOUT = 15.0
"""Seconds for one call; the server gives a statement a little less."""
LOCK_TIMEOUT = 5.0
SILENCE_TIMEOUT = 2.0
"""Seconds between two statements of a transaction, after which the server ends it: a process
frozen in one would keep its locks, and with them its jobs from being rescued."""

_TRIES = 5

T = TypeVar("T")
Db = psycopg.Connection[tuple[Any, ...]]

_PASSING = (
    errors.OperationalError,  # lost or refused connections, shutdowns, no space, no memory
    errors.InterfaceError,
    errors.ReadOnlySqlTransaction,  # connected to a standby after a failover
    errors.QueryCanceled,  # by our own statement_timeout
)
_TOO_SLOW = {"25P03", "25P04"}
"""SQLSTATEs of sessions ended by the timeouts of a transaction."""
_FORGOTTEN = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
"""After a failure in a pipeline, psycopg and the server may differ about what is prepared."""
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, *_FORGOTTEN)


class ConnectionLost(StoreUnavailable):
    """The connection broke during a call: what it did is not known."""


class TryAgain(StoreError):
    """The server undid the transaction because of others; it may simply be repeated."""


def again(write: Callable[[], T]) -> T:
    """Write, and repeat it while the server undoes it because of others, a few times at most."""
    for _ in range(_TRIES - 1):
        try:
            return write()
        except TryAgain:
            continue
    try:
        return write()
    except TryAgain as error:
        raise StoreUnavailable(str(error)) from error


def conninfo_of(url: str) -> str:
    """The URL with what fastsched needs: a writable server, and connections that are watched."""
    try:
        given = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError) as error:
        # What libpq quotes may be a part of the password.
        text = re.sub(r'".*"', '"***"', str(error).strip(), flags=re.DOTALL)
        raise _refused(text) from None
    if any("@" in str(given.get(name, "")) for name in ("host", "dbname")):
        raise _refused("an @ stands in the name of its host or database")
    if not re.fullmatch(r"[0-9,]*", str(given.get("port", ""))):
        raise _refused("its port is no number")
    wanted: dict[str, str | int] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "target_session_attrs": "read-write",
        "application_name": "fastsched",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }
    return make_conninfo("", **{**wanted, **given})


def _refused(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"store_url is not a PostgreSQL URL: {why}; give "
        "postgresql://user:password@host:5432/database, and in a password write "
        "/ as %2F, @ as %40, % as %25"
    )


def shown(url: str) -> str:
    """The URL for people, of those that `conninfo_of` takes: without password."""
    given = conninfo_to_dict(url)
    user = f"{given['user']}@" if given.get("user") else ""
    host = given.get("host") or "localhost"
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{user}{host}{port}/{given.get('dbname', '')}"


class Link:
    """A connection for one purpose, made when first used. One thread at a time uses it."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        deadlines: Deadlines,
        *,
        on_connect: Callable[[Db], None] | None = None,
    ) -> None:
        self._conninfo = conninfo_of(url)
        self._name = shown(url)
        self._clock = clock
        self._deadlines = deadlines
        self._on_connect = on_connect
        self._using = threading.RLock()
        self._db: Db | None = None
        self._closed = False
        self.pooled = False
        """Whether a pooler such as PgBouncer stands between; known once connected."""
        self._connected_at = 0.0

    @property
    def uptime(self) -> float:
        """Seconds since the present connection was made."""
        return self._clock.monotonic() - self._connected_at

    @contextlib.contextmanager
    def use(self, seconds: float = CALL_TIMEOUT) -> Iterator[Db]:
        """The connection, in autocommit mode, for a call that must end within `seconds`.

        As long again it waits for other threads' calls to end, and `CONNECT_TIMEOUT` to connect.
        """
        with self._turn(seconds):
            db = self._connected()
            try:
                with self._deadlines.limit(db.fileno(), seconds):
                    yield db
            except psycopg.Error as error:
                self._tidy(db, error)
                raise self._failure(db, error) from error
            except (UnicodeError, OverflowError, struct.error) as error:
                self._tidy(db, None)  # values that PostgreSQL cannot hold
                raise StoreError(f"{self._name}: {error}") from error
            except BaseException:
                self._tidy(db, None)
                raise

    @contextlib.contextmanager
    def _turn(self, seconds: float) -> Iterator[None]:
        if not self._using.acquire(timeout=seconds):
            raise StoreUnavailable(f"{self._name}: other calls have not ended for {seconds:g} s")
        try:
            yield
        finally:
            self._using.release()

    @contextlib.contextmanager
    def transaction(self, seconds: float = CALL_TIMEOUT) -> Iterator[Db]:
        """The connection inside a transaction with the settings of all our transactions."""
        with self.use(seconds) as db:
            begin(db, seconds)
            yield db
            db.execute("COMMIT")

    def open(self) -> None:
        """Allow its use; it connects by itself."""
        self._closed = False

    def close(self) -> None:
        """Disconnect, and refuse to be used."""
        self._closed = True
        self.disconnect()

    def disconnect(self) -> None:
        """Disconnect; the next use connects again."""
        with self._using:
            db, self._db = self._db, None
            if db is not None:
                with contextlib.suppress(psycopg.Error):
                    db.close()

    def forsake(self) -> None:
        """In the child of a fork: close the socket without a word to the server.

        Left open, it would keep the session alive after the parent's death, and with it its locks.
        """
        db, self._db = self._db, None
        self._using = threading.RLock()
        if db is not None and not db.closed:
            _abandoned.append(db)
            os.close(db.fileno())

    def _connected(self) -> Db:
        if self._closed:
            raise StoreUnavailable(f"{self._name} is closed")
        if self._db is not None and not self._db.closed:
            if not _hung_up(self._db):
                return self._db
            self._db.close()
        try:
            db = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=2)
        except (psycopg.Error, UnicodeError) as error:  # the latter: a host that can be no name
            raise StoreUnavailable(f"{self._name}: {_text(error)}") from error
        self._connected_at = self._clock.monotonic()
        try:
            with self._deadlines.limit(db.fileno(), CALL_TIMEOUT):
                row = db.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
                self.pooled = row is None or row[0] != db.info.backend_pid
                if self.pooled:
                    db.prepare_threshold = None
                else:
                    settle(db, CALL_TIMEOUT, in_transaction=False)
                    db.execute(SQL["isolate"])
                if self._on_connect is not None:
                    self._on_connect(db)
        except psycopg.Error as error:
            db.close()
            raise StoreUnavailable(f"{self._name}: {_text(error)}") from error
        self._db = db
        return db

    def _tidy(self, db: Db, error: psycopg.Error | None) -> None:
        """After a failure: back to an idle connection, or none."""
        if isinstance(error, (errors.ReadOnlySqlTransaction, errors.AdminShutdown, *_FORGOTTEN)):
            db.close()
        if error is not None and error.sqlstate in _TOO_SLOW:
            db.close()
        if not db.closed and db.info.transaction_status != pq.TransactionStatus.IDLE:
            try:
                with self._deadlines.limit(db.fileno(), CONNECT_TIMEOUT):
                    db.execute("ROLLBACK")
            except psycopg.Error:
                db.close()
        if db.closed:
            self._db = None

    def _failure(self, db: Db, error: psycopg.Error) -> StoreError:
        text = f"{self._name}: {_text(error)}"
        if isinstance(error, _AGAIN):
            return TryAgain(text)
        lost = isinstance(error, (errors.OperationalError, errors.InterfaceError))
        if db.closed and (lost or error.sqlstate in _TOO_SLOW):
            return ConnectionLost(text)
        if isinstance(error, _PASSING):
            return StoreUnavailable(text)
        return StoreError(text)


_abandoned: list[Db] = []
"""Connections of a fork's parent: what is left of them here must never be used again."""


def begin(db: Db, seconds: float = CALL_TIMEOUT) -> None:
    """Start a transaction that trusts no search path, waits for its commit, and ends in time."""
    db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    settle(db, seconds, in_transaction=True)


def settle(db: Db, seconds: float, *, in_transaction: bool) -> None:
    """Make the settings under which our statements run, of this transaction or of the session."""
    db.execute(
        SQL["settings"],
        {
            "in_transaction": in_transaction,
            "statement_timeout": str(int(seconds * 900)),
            "lock_timeout": str(int(LOCK_TIMEOUT * 1000)),
            "silence_timeout": str(int(SILENCE_TIMEOUT * 1000)),
            "transaction_timeout": str(int(seconds * 1000)),
        },
    )


def _hung_up(db: Db) -> bool:
    """Whether the server has closed an idle connection, as far as this side knows already."""
    try:
        while _wait(db.pgconn.socket, select.POLLIN, 0):  # that, or news of a changed setting
            db.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return False


def _wait(descriptor: int, events: int, timeout: float | None = None) -> int:
    """Wait on a socket for any of the events; those that came. (`select` knows only 1024.)"""
    poll = select.poll()
    poll.register(descriptor, events)
    found = poll.poll(None if timeout is None else timeout * 1000)
    return found[0][1] if found else 0


def run(db: Db, statement: str, /, **given: Any) -> Any:
    """Run a statement by name, with its parameters by name; its rows are binary."""
    cursor = Cursor(db, row_factory=tuple_row)  # a user's connection may make others
    cursor.format = pq.Format.BINARY
    return cursor.execute(SQL[statement], given)


def send_all(db: Db) -> None:
    """Send what a pipeline has queued, to the last byte.

    psycopg (3.3) waits for results once libpq has taken all statements, even if libpq has not sent
    them all: with more than a socket buffer, both sides would wait for each other for ever.
    """
    pgconn = db.pgconn
    while pgconn.flush():
        if _wait(pgconn.socket, select.POLLIN | select.POLLOUT) & ~select.POLLOUT:
            pgconn.consume_input()  # or the server could not send, and would not read


def _text(error: Exception) -> str:
    """An error's first line; the rest repeats the statement."""
    return str(error).strip().split("\n")[0] or type(error).__name__
