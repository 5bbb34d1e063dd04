"""Jobs stored, and completed, in transactions that are the user's."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence

from psycopg import Cursor, errors, pq
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from fastsched.errors import JobStopped, SchemaError
from fastsched.ids import new_id
from fastsched.job import Claim, NewJob
from fastsched.outcomes import DONE
from fastsched.stores.deadlines import Deadlines
from fastsched.stores.postgres_batches import Ends, job_arrays
from fastsched.stores.postgres_link import (
    CALL_TIMEOUT,
    CONNECT_TIMEOUT,
    SILENCE_TIMEOUT,
    Db,
    conninfo_of,
    run,
)
from fastsched.user_connection import UserConnection

MOST_USER_CONNECTIONS = 10
"""Connections that handlers may use at once for `ctx.transaction()`."""


def insert_through(connection: UserConnection, jobs: Sequence[NewJob]) -> None:
    """Store jobs in a transaction that the user has begun and will end."""
    connection.check_in_transaction()
    db: Db = connection.driver
    given = [job for job in jobs if job.given_id]
    others = [job for job in jobs if not job.given_id]
    try:
        with _own_path(db):
            accepted = len(others)
            if others:
                run(db, "insert", **job_arrays(others))
            if given:
                accepted += len(run(db, "insert_given", **job_arrays(given)).fetchall())
            # A name of its own for the mark: it belongs to no flush of the writer.
            run(db, "mark", writer=new_id(), flush_no=0, counts=_counts(accepted=accepted))
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise SchemaError(
            "the connection's database has no fastsched tables; "
            "is it the one of this scheduler's store_url?"
        ) from error


@contextlib.contextmanager
def _own_path(db: Db) -> Iterator[None]:
    """In a transaction of others: a search path that we can trust, and then theirs again."""
    path = run(db, "trust_no_path").fetchone()[0]
    try:
        yield
    finally:
        if db.info.transaction_status == pq.TransactionStatus.INTRANS:
            run(db, "restore_path", path=path)


class UserConnections:
    """Connections lent to handlers; those of the store itself never are."""

    def __init__(
        self,
        url: str,
        deadlines: Deadlines,
        *,
        keep_done: bool,
        pooled: Callable[[], bool],
        number_of: Callable[[str], int],
    ) -> None:
        """`pooled`: whether a pooler stands between."""
        self._url = url
        self._deadlines = deadlines
        self._keep_done = keep_done
        self._pooled = pooled
        self._number_of = number_of
        self._pooling = threading.Lock()
        self._pool: ConnectionPool[Db] | None = None

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def forsake(self) -> None:
        """In the child of a fork."""
        _abandoned.append(self._pool)

    @contextlib.contextmanager
    def effects(self, claim: Claim) -> Iterator[Db]:
        with (
            contextlib.ExitStack() as ending,
            self._opened().connection() as db,
            db.transaction(),
        ):
            try:
                yield db
            finally:  # what comes now is ours, up to the commit, and has an end
                ending.enter_context(self._deadlines.limit(db.fileno(), CALL_TIMEOUT))
            if not self._complete(db, claim):
                raise JobStopped(f"job {claim.id} is not this run's any more; nothing was written")

    def _complete(self, db: Db, claim: Claim) -> bool:
        """Complete a claim in the transaction of its effects; False if it does not hold."""
        ends = Ends([(claim, DONE)], keep_done=self._keep_done, number_of=self._number_of)
        (statement,) = ends.batches
        with db.pipeline():
            run(db, "ending", silence_timeout=str(int(SILENCE_TIMEOUT * 1000)))
            answer = run(db, statement, **ends.parameters(statement))
            run(db, "mark", writer=new_id(), flush_no=0, counts=_counts(done=1))
        lost = statement == "complete"  # what its rows are; those of the other are what held
        return bool(answer.fetchall()) is not lost

    def _opened(self) -> ConnectionPool[Db]:
        with self._pooling:
            if self._pool is None:
                self._pool = ConnectionPool(
                    conninfo_of(self._url),
                    # Behind a pooler, a prepared statement may be another server's.
                    kwargs={"prepare_threshold": None} if self._pooled() else {},
                    min_size=0,
                    max_size=MOST_USER_CONNECTIONS,
                    timeout=CALL_TIMEOUT,
                    check=self._check,
                    reset=_as_new,
                    open=True,
                )
            return self._pool

    def _check(self, db: Db) -> None:
        with self._deadlines.limit(db.fileno(), CONNECT_TIMEOUT):
            ConnectionPool.check_connection(db)


_abandoned: list[ConnectionPool[Db] | None] = []
"""Pools of a fork's parent: closing them would end the parent's sessions."""


def _as_new(db: Db) -> None:
    """What a handler may have changed of a connection that it gives back."""
    db.row_factory = tuple_row
    db.cursor_factory = Cursor


def _counts(**counts: int) -> str:
    """The counts of a mark."""
    return json.dumps({name: n for name, n in counts.items() if n})
