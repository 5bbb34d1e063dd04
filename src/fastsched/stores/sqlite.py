"""Jobs in a SQLite file, shared by any number of processes of one machine.

Every write and every checkpoint, in any process, happens under one advisory lock beside the file,
then under ``BEGIN IMMEDIATE``: no caller ever sees *database is locked*, and no two connections
checkpoint at once (which can corrupt a database with SQLite before 3.51.3).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastsched.bus import Hint, PipeBus
from fastsched.clock import Clock
from fastsched.errors import SchemaError, StoreError, StoreUnavailable
from fastsched.job import Claim, ClaimedJob, Failure, Job, NewJob, State
from fastsched.outcomes import Cancel, Dead, Done, Expire, Outcome, Release, Retry, Snooze
from fastsched.sql import load, migrations
from fastsched.stores.base import (
    Cancelled,
    ClaimRequest,
    Counts,
    Flush,
    Flushed,
    NodeInfo,
    Rescued,
)
from fastsched.stores.presence import FilePresence, is_dead, was_running

_SQL = load("sqlite.sql", "?")
_PROMOTE_AT_ONCE = 5_000
"""Scheduled rows made ready in one claim."""
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


class SqliteStore:
    """A `Store` in one file. Cost: one commit, with its fsync, a flush."""

    def __init__(self, path: Path, clock: Clock, *, keep_done: bool) -> None:
        self._path = path.absolute()
        self._folder = self._path.with_name(f"{self._path.name}.d")
        self._clock = clock
        self._keep_done = keep_done
        self._lock_file = -1
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._version = 0
        self._presences: dict[str, FilePresence] = {}
        self._bus: PipeBus | None = None

    @property
    def name(self) -> str:
        return f"sqlite:///{self._path}"

    # Life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        if self._writer is not None:
            return
        try:
            self._folder.mkdir(exist_ok=True)
            self._lock_file = os.open(
                self._folder / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
        except OSError as error:
            raise StoreUnavailable(
                f"cannot make {self._folder}: {error.strerror}; "
                "give a path in a folder that exists and can be written"
            ) from error
        with self._locked():
            try:
                self._writer = self._connect()
                self._migrate(self._writer)
                self._reader = self._connect()
                self._reader.execute("PRAGMA query_only = ON")
            except BaseException as error:
                for connection in (self._writer, self._reader):
                    if connection is not None:
                        connection.close()
                self._writer = self._reader = None
                if isinstance(error, sqlite3.Error):
                    raise self._error(error) from error
                raise

    def close(self) -> None:
        if self._bus is not None:
            self._bus.close()
        for presence in self._presences.values():
            presence.close()
        self._presences.clear()
        if self._writer is None:
            return
        with self._locked(), self._reading:
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()  # the last one of all checkpoints
            self._writer = self._reader = None
        os.close(self._lock_file)

    def forsake(self) -> None:
        if self._bus is not None:
            self._bus.forsake()
        for presence in self._presences.values():
            presence.forsake()
        _abandoned.extend(c for c in (self._writer, self._reader) if c is not None)
        if self._writer is not None:
            os.close(self._lock_file)

    def bus(self) -> PipeBus:
        if self._bus is None:
            self._bus = PipeBus(self._folder)
        return self._bus

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=60, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA mmap_size = 0")
        return connection

    def _migrate(self, db: sqlite3.Connection) -> None:
        todo = migrations("sqlite_migrations")
        newest = todo[-1][0]
        db.execute("BEGIN IMMEDIATE")
        with _rollback_on_error(db):
            db.execute(
                "CREATE TABLE IF NOT EXISTS fastsched_schema (version INTEGER NOT NULL) STRICT"
            )
            row = db.execute("SELECT max(version) FROM fastsched_schema").fetchone()
            version = row[0] or 0
            if version > newest:
                raise SchemaError(
                    f"{self.name} has tables of version {version}, this fastsched knows up to "
                    f"{newest}; upgrade fastsched on this machine"
                )
            for number, script in todo:
                if number > version:
                    for statement in _split(script):
                        db.execute(statement)
                    db.execute("INSERT INTO fastsched_schema (version) VALUES (?)", (number,))
            db.execute("COMMIT")

    def schema_version(self) -> int:
        """The version of the tables."""
        with self._look_up() as db:
            row = db.execute("SELECT max(version) FROM fastsched_schema").fetchone()
        return int(row[0])

    # Write ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._writer
        if db is None:
            raise StoreUnavailable(f"{self.name} is closed")
        try:
            with self._locked():
                db.execute("BEGIN IMMEDIATE")
                with _rollback_on_error(db):
                    yield db
                    db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _error(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF in _PASSING:
            return StoreUnavailable(f"{self.name}: {error}")
        return StoreError(f"{self.name}: {error}")

    def flush(self, flush: Flush) -> Flushed:
        tally: Counter[str] = Counter()
        known: frozenset[str] = frozenset()
        stale: frozenset[Claim] = frozenset()
        states: dict[str, State] = {}
        claimed: list[ClaimedJob] = []
        drained, next_due = True, None
        with self._transaction() as db:
            now = self._clock.now()
            if flush.jobs:
                known = self._insert(db, flush.jobs, now)
                tally["accepted"] = len(flush.jobs) - len(known)
            if flush.ends:
                stale, states = self._end(db, flush.ends, now, tally)
            if flush.claim is not None:
                claimed, drained, next_due = self._claim(db, flush.claim, now)
            self._count(db, tally)
        return Flushed(
            known=known,
            stale=stale,
            states=states,
            claimed=claimed,
            drained=drained,
            next_due=next_due,
        )

    def _insert(
        self, db: sqlite3.Connection, jobs: Sequence[NewJob], now: float
    ) -> frozenset[str]:
        known, rows = set(), []
        for job in jobs:
            if job.given_id and not self._take_id(db, job.id, now):
                known.add(job.id)
            else:
                rows.append(_row(job, now))
        db.executemany(_SQL["insert"].text, rows)
        return frozenset(known)

    def _take_id(self, db: sqlite3.Connection, job_id: str, now: float) -> bool:
        return _run(db, "take_given_id", id=job_id, now=now).rowcount == 1

    def _end(
        self,
        db: sqlite3.Connection,
        ends: Sequence[tuple[Claim, Outcome]],
        now: float,
        tally: Counter[str],
    ) -> tuple[frozenset[Claim], dict[str, State]]:
        done = [claim for claim, outcome in ends if type(outcome) is Done]
        stale: list[Claim] = []
        states: dict[str, State] = {}
        if done:
            stale += self._end_done(db, done, now)
            tally["done"] += len(done) - len(stale)
        for claim, outcome in ends:
            if type(outcome) is Done:
                continue
            rows = _end_other(db, claim, outcome, now)
            if not rows:
                stale.append(claim)
                continue
            state = states[claim.id] = State(rows[0][0])
            tally[state if state.ended else type(outcome).__name__.lower()] += 1
        tally["stale"] += len(stale)
        return frozenset(stale), states

    def _end_done(
        self, db: sqlite3.Connection, done: Sequence[Claim], now: float
    ) -> list[Claim]:
        if self._keep_done:
            return [c for c in done if not _end_as(db, c, State.DONE, now)]
        db.execute("SAVEPOINT done")
        text = _SQL["complete"].text
        if db.executemany(text, done).rowcount == len(done):
            db.execute("RELEASE done")
            return []
        db.execute("ROLLBACK TO done")  # some claim no longer holds: find out which
        db.execute("RELEASE done")
        return [claim for claim in done if db.execute(text, claim).rowcount == 0]

    def _claim(
        self, db: sqlite3.Connection, want: ClaimRequest, now: float
    ) -> tuple[list[ClaimedJob], bool, float | None]:
        promoted = _run(db, "promote", now=now, limit=_PROMOTE_AT_ONCE).rowcount
        whose = {
            "node": want.node,
            "kinds": json.dumps(list(want.kinds)),
            "queues": None if want.queues is None else json.dumps(list(want.queues)),
            "now": now,
        }
        rows = _run(
            db, "claim", limit=want.limit, min_priority=want.min_priority, **whose
        ).fetchall()
        if len(rows) < want.limit:
            horizon = now + want.horizon
            rows += _run(
                db, "claim_ahead", limit=want.limit - len(rows), horizon=horizon, **whose
            ).fetchall()
        assert len(rows) <= want.limit, f"claimed {len(rows)} rows for a limit of {want.limit}"
        drained = len(rows) < want.limit and promoted < _PROMOTE_AT_ONCE
        next_due = _run(db, "next_due", after=now + want.horizon).fetchone()[0]
        claimed = [ClaimedJob._make(row) for row in rows]
        claimed.sort(key=lambda job: (-job.priority, job.due_at, job.seq))
        return claimed, drained, next_due

    def _count(self, db: sqlite3.Connection, tally: Counter[str]) -> None:
        for name, by in tally.items():
            if by:
                _run(db, "count", name=name, by=by)

    def register(self, node: NodeInfo, slots: int) -> FilePresence:
        with self._transaction() as db:
            presence = FilePresence(self._alive(node.id), slots)
            self._presences[node.id] = presence
            _run(
                db,
                "register",
                id=node.id,
                host=node.host,
                pid=node.pid,
                workers=node.workers,
                now=node.started_at,
            )
        return presence

    def leave(self, node: str) -> None:
        with self._transaction() as db:
            self._release_all(db, node)
        presence = self._presences.pop(node, None)
        if presence is not None:
            presence.close()
        self.bus().publish(Hint.WORK)

    def _release_all(self, db: sqlite3.Connection, node: str) -> int:
        """Everything that the node holds goes back, and its row goes; how many jobs."""
        states = Counter(
            state for (state,) in _run(db, "release_all", node=node, now=self._clock.now())
        )
        cancelled = states.pop("cancelled", 0)
        self._count(db, Counter(cancelled=cancelled, release=states.total()))
        _run(db, "forget_node", id=node)
        return states.total() + cancelled

    def rescue(self, max_crashes: int) -> Rescued:
        nodes, released, charged, dead = [], 0, [], []
        with self._transaction() as db:
            now = self._clock.now()
            for (node, *_) in _run(db, "nodes").fetchall():
                if not is_dead(self._alive(node)):
                    continue
                nodes.append(node)
                running = was_running(self._alive(node))
                if len(running) == 1:
                    for job_id, kind, queue, attempt, crashes in _run(
                        db, "charge", id=running[0], node=node
                    ).fetchall():
                        charged.append(job_id)
                        if crashes >= max_crashes:
                            _run(db, "bury_crashed", id=job_id, node=node, now=now)
                            dead.append((job_id, kind, queue, attempt))
                else:
                    for job_id in running:
                        _run(db, "suspect", id=job_id, node=node)
                released += self._release_all(db, node)
            self._count(
                db, Counter(rescued=released, crashed=len(charged), dead=len(dead))
            )
            self._sweep(keep={row[0] for row in _run(db, "nodes")})
        if released:
            self.bus().publish(Hint.WORK)
        return Rescued(nodes=nodes, released=released, charged=charged, dead=dead)

    def _sweep(self, keep: set[str]) -> None:
        """Remove the files of nodes that are no more. Under the lock: none is being made now."""
        for path in self._folder.glob("*.alive"):
            if path.stem not in keep:
                path.unlink(missing_ok=True)

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        with self._transaction() as db:
            now = self._clock.now()
            unknown = [
                Claim(job_id, node, claim_no)
                for job_id, claim_no in _run(db, "owned", node=node).fetchall()
                if job_id not in held
            ]
            for claim in unknown:
                _run(db, "release", now=now, **claim._asdict()).fetchall()
            self._count(db, Counter(release=len(unknown)))
        return len(unknown)

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        answers = {}
        with self._transaction() as db:
            now = self._clock.now()
            for job_id in ids:
                if _run(db, "cancel", id=job_id, now=now).rowcount:
                    answers[job_id] = Cancelled.CANCELLED
                elif _run(db, "request_cancel", id=job_id).rowcount:
                    answers[job_id] = Cancelled.REQUESTED
                else:
                    answers[job_id] = Cancelled.TOO_LATE
            self._count(
                db, Counter(cancelled=list(answers.values()).count(Cancelled.CANCELLED))
            )
        return answers

    def requeue(self, ids: Sequence[str]) -> list[str]:
        return self._each("requeue", ids, counted={"dead": -1, "requeued": 1})

    def run_now(self, ids: Sequence[str]) -> list[str]:
        return self._each("run_now", ids, counted={})

    def discard(self, ids: Sequence[str]) -> list[str]:
        return self._each("discard", ids, counted={})

    def _each(self, name: str, ids: Sequence[str], *, counted: dict[str, int]) -> list[str]:
        """Run a statement for every id; the ids of the rows that it changed."""
        statement = _SQL[name]
        with self._transaction() as db:
            now = self._clock.now()
            changed = [
                job_id
                for job_id in dict.fromkeys(ids)
                if db.execute(statement.text, statement.values(id=job_id, now=now)).rowcount
            ]
            self._count(db, Counter({n: by * len(changed) for n, by in counted.items()}))
        return changed

    def expire(self, limit: int) -> Sequence[tuple[str, str, str, int]]:
        with self._transaction() as db:
            expired = _run(db, "expire", now=self._clock.now(), limit=limit).fetchall()
            self._count(db, Counter(expired=len(expired)))
        return expired

    def prune(self, *, done_for: float, ended_for: float, ids_for: float, limit: int) -> int:
        with self._transaction() as db:
            now = self._clock.now()
            gone = _run(
                db,
                "prune",
                done_before=now - done_for,
                ended_before=now - ended_for,
                limit=limit,
            ).rowcount
            gone += _run(db, "prune_given_ids", before=now - ids_for, limit=limit).rowcount
        return gone

    # Look-ups ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _look_up(self) -> Iterator[sqlite3.Connection]:
        with self._reading:
            if self._reader is None:
                raise StoreUnavailable(f"{self.name} is closed")
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise self._error(error) from error

    def dead_nodes(self) -> bool:
        return any(is_dead(path) for path in self._folder.glob("*.alive"))

    def changed(self) -> bool:
        with self._look_up() as db:
            version: int = db.execute("PRAGMA data_version").fetchone()[0]
        changed, self._version = version != self._version, version
        return changed

    def cancel_requests(self, node: str) -> list[str]:
        with self._look_up() as db:
            return [row[0] for row in _run(db, "cancel_requests", node=node)]

    def job(self, job_id: str) -> Job | None:
        with self._look_up() as db:
            row = _run(db, "job", id=job_id).fetchone()
        return None if row is None else _job(row)

    def jobs(
        self,
        *,
        state: State | None,
        kind: str | None,
        queue: str | None,
        after: str | None,
        limit: int,
    ) -> list[Job]:
        with self._look_up() as db:
            rows = _run(
                db, "jobs", state=state, kind=kind, queue=queue, after=after, limit=limit
            ).fetchall()
        return [_job(row) for row in rows]

    def states_of(self, ids: Sequence[str]) -> dict[str, State]:
        with self._look_up() as db:
            rows = _run(db, "live", ids=json.dumps(list(ids))).fetchall()
        return {job_id: State(state) for job_id, state in rows}

    def busy(self, include_scheduled: bool) -> bool:
        until = float("inf") if include_scheduled else self._clock.now()
        with self._look_up() as db:
            return bool(_run(db, "busy", until=until).fetchone()[0])

    def counts(self) -> Counts:
        with self._look_up() as db:
            states = {State(state): n for state, n in _run(db, "states")}
            totals = dict(_run(db, "totals").fetchall())
        return Counts(states=states, totals=totals)

    def nodes(self) -> list[NodeInfo]:
        with self._look_up() as db:
            return [
                NodeInfo(id=node, host=host, pid=pid, workers=workers, started_at=started_at)
                for node, host, pid, workers, started_at in _run(db, "nodes")
            ]

    def _alive(self, node: str) -> Path:
        return self._folder / f"{node}.alive"


def _run(db: sqlite3.Connection, name: str, /, **given: Any) -> sqlite3.Cursor:
    statement = _SQL[name]
    return db.execute(statement.text, statement.values(**given))


def _row(job: NewJob, now: float) -> tuple[Any, ...]:
    """The values of the statement `insert`, in its order."""
    due_at = now + job.delay if job.at is None else job.at
    deadline = job.deadline_at
    if deadline is None and job.deadline is not None:
        deadline = due_at + job.deadline
    return (
        job.id,
        job.kind,
        job.queue,
        "scheduled" if due_at > now else "ready",
        job.priority,
        due_at,
        deadline,
        job.timeout,
        job.max_attempts,
        job.payload,
        now,
    )


def _end_other(
    db: sqlite3.Connection, claim: Claim, outcome: Outcome, now: float
) -> list[tuple[str]]:
    """The new state of a job whose run did not succeed, or nothing if the claim is stale."""
    match outcome:
        case Retry(delay, reason, failure):
            return _end_run(db, claim, now, delay or 0.0, 0, reason, failure)
        case Snooze(delay, reason):
            return _end_run(db, claim, now, delay, 1, reason, None)
        case Release():
            return _run(db, "release", now=now, **claim._asdict()).fetchall()
        case Dead(reason, failure):
            return _end_as(db, claim, State.DEAD, now, reason, failure)
        case Cancel(reason):
            return _end_as(db, claim, State.CANCELLED, now, reason)
        case Expire():
            return _end_as(db, claim, State.EXPIRED, now, "deadline passed")
        case Done():
            return _end_as(db, claim, State.DONE, now)


def _end_run(
    db: sqlite3.Connection,
    claim: Claim,
    now: float,
    delay: float,
    attempt_back: int,
    reason: str | None,
    failure: Failure | None,
) -> list[tuple[str]]:
    return _run(
        db,
        "end_run",
        due_at=now + delay,
        attempt_back=attempt_back,
        reason=reason,
        failure=_failure_text(failure),
        now=now,
        **claim._asdict(),
    ).fetchall()


def _end_as(
    db: sqlite3.Connection,
    claim: Claim,
    state: State,
    now: float,
    reason: str | None = None,
    failure: Failure | None = None,
) -> list[tuple[str]]:
    return _run(
        db,
        "end_job",
        state=state,
        reason=reason,
        failure=_failure_text(failure),
        now=now,
        **claim._asdict(),
    ).fetchall()


def _failure_text(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    return json.dumps(
        {"type": failure.type, "message": failure.message, "traceback": failure.traceback}
    )


def _job(row: tuple[Any, ...]) -> Job:
    """A row of the statements `job` and `jobs`."""
    (
        job_id, kind, queue, state, priority, due_at, deadline, timeout, attempt, max_attempts,
        crashes, claim_no, node, created_at, claimed_at, ended_at, cancel_requested, reason,
        failure, payload,
    ) = row  # fmt: skip
    return Job(
        id=job_id,
        kind=kind,
        queue=queue,
        state=State(state),
        priority=priority,
        due_at=due_at,
        deadline=deadline,
        timeout=timeout,
        attempt=attempt,
        max_attempts=max_attempts,
        crashes=crashes,
        claim_no=claim_no,
        node=node,
        created_at=created_at,
        claimed_at=claimed_at,
        ended_at=ended_at,
        cancel_requested=bool(cancel_requested),
        reason=reason,
        failure=None if failure is None else Failure(**json.loads(failure)),
        payload=payload,
    )


def _split(script: str) -> Iterable[str]:
    """The statements of a migration."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _rollback_on_error(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise
