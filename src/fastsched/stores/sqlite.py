"""Jobs in a SQLite file, shared by any number of processes of one machine.

Every write and every checkpoint, in any process, happens under one advisory lock beside the file,
then under ``BEGIN IMMEDIATE``: no caller ever sees *database is locked*, and no two connections
checkpoint at once (which can corrupt a database with SQLite before 3.51.3).
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastsched.clock import Clock
from fastsched.errors import ConfigurationError, JobStopped, StoreError, StoreUnavailable
from fastsched.job import Claim, ClaimedJob, Job, NewJob, State
from fastsched.pipe_bus import PipeBus
from fastsched.stores.base import (
    Cancelled,
    ClaimRequest,
    Counts,
    Flush,
    Flushed,
    NodeInfo,
    Rescued,
    Tended,
)
from fastsched.stores.presence import FilePresence, is_dead, was_running
from fastsched.stores.rows import job_of, listing
from fastsched.stores.sqlite_ends import complete_one, end_runs
from fastsched.stores.sqlite_file import SQL, SqliteFile, run
from fastsched.stores.sqlite_rows import new_row
from fastsched.user_connection import UserConnection

_log = logging.getLogger("fastsched.sqlite")
_ID_LENGTH = 36
_PROMOTE_AT_ONCE = 5_000
"""Scheduled rows made ready in one claim."""


class SqliteStore:
    """A `Store` in one file. Cost: one commit, with its fsync, a flush."""

    look_every = 1.0

    def __init__(self, path: Path, clock: Clock, *, keep_done: bool) -> None:
        self._file = SqliteFile(path)
        self.clock = clock
        self._keep_done = keep_done
        self._version = 0
        self._presences: dict[str, FilePresence] = {}
        self._bus: PipeBus | None = None

    @property
    def name(self) -> str:
        return self._file.name

    # Life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        self._file.open()

    def close(self) -> None:
        if self._bus is not None:
            self._bus.close()
        for presence in self._presences.values():
            presence.close()
        self._presences.clear()
        self._file.close()

    def forsake(self) -> None:
        if self._bus is not None:
            self._bus.forsake()
        for presence in self._presences.values():
            presence.forsake()
        self._file.forsake()

    def bus(self) -> PipeBus:
        if self._bus is None:
            self._bus = PipeBus(self._file.folder)
        return self._bus

    def schema_version(self) -> int:
        """The version of the tables."""
        with self._file.look_up() as db:
            version: int = db.execute("SELECT max(version) FROM fastsched_schema").fetchone()[0]
        return version

    # Write ---------------------------------------------------------------------------------------

    def flush(self, flush: Flush) -> Flushed:
        tally: Counter[str] = Counter()
        known: frozenset[str] = frozenset()
        stale: frozenset[Claim] = frozenset()
        states: dict[str, State] = {}
        claimed: list[ClaimedJob] = []
        drained, next_due = True, None
        with self._file.transaction() as db:
            now = self.clock.now()
            if flush.jobs:
                known, tally["accepted"] = self._insert(db, flush.jobs, now)
            if flush.ends:
                stale, states = end_runs(db, flush.ends, now, tally, keep_done=self._keep_done)
            if flush.claim is not None:
                claimed, drained, next_due = self._claim(db, flush.claim, now)
            self._count(db, tally)
        return Flushed(
            known=known,
            accepted=tally["accepted"],
            stale=stale,
            states=states,
            claimed=claimed,
            drained=drained,
            next_due=next_due,
        )

    def _insert(
        self, db: sqlite3.Connection, jobs: Sequence[NewJob], now: float
    ) -> tuple[frozenset[str], int]:
        """The given ids that were known, and how many jobs were inserted."""
        known, rows = set(), []
        for job in jobs:
            if job.given_id and not self._take_id(db, job.id, now):
                known.add(job.id)
            else:
                rows.append(new_row(job, now))
        db.executemany(SQL["insert"].text, rows)
        return frozenset(known), len(rows)

    def _take_id(self, db: sqlite3.Connection, job_id: str, now: float) -> bool:
        return run(db, "take_given_id", id=job_id, now=now).rowcount == 1

    def _claim(
        self, db: sqlite3.Connection, want: ClaimRequest, now: float
    ) -> tuple[list[ClaimedJob], bool, float | None]:
        promoted = run(db, "promote", now=now, limit=_PROMOTE_AT_ONCE).rowcount
        whose = {
            "node": want.node,
            "kinds": json.dumps(list(want.kinds)),
            "queues": None if want.queues is None else json.dumps(list(want.queues)),
            "min_priority": want.min_priority,
            "now": now,
        }
        rows = run(db, "claim", limit=want.limit, **whose).fetchall()
        if len(rows) < want.limit:
            horizon = now + want.horizon
            rows += run(
                db, "claim_ahead", limit=want.limit - len(rows), horizon=horizon, **whose
            ).fetchall()
        if len(rows) > want.limit:
            raise StoreError(f"claimed {len(rows)} rows for a limit of {want.limit}")
        drained = len(rows) < want.limit and promoted < _PROMOTE_AT_ONCE
        next_due = run(db, "next_due", after=now + want.horizon).fetchone()[0]
        claimed = [ClaimedJob._make(row) for row in rows]
        if any(_is_strange(job) for job in claimed):
            claimed = self._without_strange(db, claimed, now)
        claimed.sort(key=lambda job: (-job.priority, job.due_at, job.seq))
        return claimed, drained, next_due

    def _without_strange(
        self, db: sqlite3.Connection, claimed: Sequence[ClaimedJob], now: float
    ) -> list[ClaimedJob]:
        """Bury jobs with ids that cannot be ours: such a job would harm the worker that runs it."""
        strange = [job for job in claimed if _is_strange(job)]
        for job in strange:
            run(db, "bury_strange", seq=job.seq, now=now)
        self._count(db, Counter(dead=len(strange)))
        _log.error("buried %d jobs whose ids are not those of jobs", len(strange))
        return [job for job in claimed if not _is_strange(job)]

    def _count(self, db: sqlite3.Connection, tally: Counter[str]) -> None:
        for name, by in tally.items():
            if by:
                run(db, "count", name=name, by=by)

    def insert_through(self, connection: UserConnection, jobs: Sequence[NewJob]) -> None:
        raise ConfigurationError(
            f"{self.name} is not the database of that connection; use a postgresql:// store_url, "
            "or ctx.transaction() inside a handler"
        )

    @contextlib.contextmanager
    def effects(self, claim: Claim) -> Iterator[sqlite3.Connection]:
        with self._file.effects() as db:
            yield db
            if not complete_one(db, claim, self.clock.now(), keep_done=self._keep_done):
                raise JobStopped(f"job {claim.id} is not this run's any more; nothing was written")
            self._count(db, Counter(done=1))

    def register(self, node: NodeInfo, slots: int) -> FilePresence:
        try:
            with self._file.transaction() as db:
                presence = self._presences[node.id] = FilePresence(self._alive(node.id), slots)
                run(
                    db,
                    "register",
                    id=node.id,
                    host=node.host,
                    pid=node.pid,
                    workers=node.workers,
                    now=node.started_at,
                )
        except BaseException as error:
            self._give_up_place(node.id)
            if isinstance(error, OSError):
                raise StoreUnavailable(f"{self.name}: no place for a node: {error}") from error
            raise
        return presence

    def leave(self, node: str) -> None:
        with self._file.transaction() as db:
            self._release_all(db, node)
        self._give_up_place(node)

    def _give_up_place(self, node: str) -> None:
        presence = self._presences.pop(node, None)
        if presence is not None:
            presence.close()

    def _release_all(self, db: sqlite3.Connection, node: str) -> int:
        """Everything that the node holds goes back, and its row goes; how many jobs."""
        states = Counter(
            state for (state,) in run(db, "release_all", node=node, now=self.clock.now())
        )
        self._count_released(db, states)
        run(db, "forget_node", id=node)
        return states.total()

    def _count_released(self, db: sqlite3.Connection, states: Counter[str]) -> None:
        cancelled = states["cancelled"]
        self._count(db, Counter(cancelled=cancelled, release=states.total() - cancelled))

    def rescue(self, max_crashes: int) -> Rescued:
        nodes, released, charged, dead = [], 0, [], []
        with self._file.transaction() as db:
            now = self.clock.now()
            for node, *_ in run(db, "nodes").fetchall():
                if not is_dead(self._alive(node)):
                    continue
                nodes.append(node)
                running = was_running(self._alive(node))
                if len(running) == 1:
                    for job_id, kind, queue, attempt, crashes in run(
                        db, "charge", id=running[0], node=node
                    ).fetchall():
                        charged.append(job_id)
                        if crashes >= max_crashes:
                            run(db, "bury_crashed", id=job_id, node=node, now=now)
                            dead.append((job_id, kind, queue, attempt))
                else:
                    for job_id in running:
                        run(db, "suspect", id=job_id, node=node)
                released += self._release_all(db, node)
            run(db, "forget_strange_nodes")
            orphans = Counter(row[0] for row in run(db, "release_orphans", now=now))
            self._count_released(db, orphans)
            released += orphans.total()
            self._count(db, Counter(rescued=released, crashed=len(charged), dead=len(dead)))
            self._sweep(keep={row[0] for row in run(db, "nodes")})
        return Rescued(nodes=nodes, released=released, charged=charged, dead=dead)

    def _sweep(self, keep: set[str]) -> None:
        """Remove the files of nodes that are no more. Under the lock: none is being made now."""
        for path in self._file.folder.glob("*.alive"):
            if path.stem not in keep:
                path.unlink(missing_ok=True)

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        with self._file.transaction() as db:
            now = self.clock.now()
            unknown = [
                Claim(job_id, node, claim_no)
                for job_id, claim_no in run(db, "owned", node=node).fetchall()
                if job_id not in held
            ]
            states = Counter(
                state
                for claim in unknown
                for (state,) in run(db, "release", now=now, **claim._asdict())
            )
            self._count_released(db, states)
        return len(unknown)

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        answers = {}
        with self._file.transaction() as db:
            now = self.clock.now()
            for job_id in ids:
                if run(db, "cancel", id=job_id, now=now).rowcount:
                    answers[job_id] = Cancelled.CANCELLED
                elif run(db, "request_cancel", id=job_id).rowcount:
                    answers[job_id] = Cancelled.REQUESTED
                else:
                    answers[job_id] = Cancelled.TOO_LATE
            self._count(db, Counter(cancelled=list(answers.values()).count(Cancelled.CANCELLED)))
        return answers

    def requeue(self, ids: Sequence[str]) -> list[str]:
        return self._each("requeue", ids, counted={"dead": -1, "requeued": 1})

    def run_now(self, ids: Sequence[str]) -> list[str]:
        return self._each("run_now", ids, counted={})

    def discard(self, ids: Sequence[str]) -> list[str]:
        return self._each("discard", ids, counted={})

    def _each(self, name: str, ids: Sequence[str], *, counted: dict[str, int]) -> list[str]:
        """Run a statement for every id; the ids of the rows that it changed."""
        statement = SQL[name]
        with self._file.transaction() as db:
            now = self.clock.now()
            changed = [
                job_id
                for job_id in dict.fromkeys(ids)
                if db.execute(statement.text, statement.values(id=job_id, now=now)).rowcount
            ]
            self._count(db, Counter({n: by * len(changed) for n, by in counted.items()}))
        return changed

    def expire(self, limit: int) -> Sequence[tuple[str, str, str, int]]:
        with self._file.transaction() as db:
            expired = run(db, "expire", now=self.clock.now(), limit=limit).fetchall()
            self._count(db, Counter(expired=len(expired)))
        return expired

    def prune(self, *, done_for: float, ended_for: float, ids_for: float, limit: int) -> int:
        with self._file.transaction() as db:
            now = self.clock.now()
            gone = run(
                db,
                "prune",
                done_before=now - done_for,
                ended_before=now - ended_for,
                limit=limit,
            ).rowcount
            gone += run(db, "prune_given_ids", before=now - ids_for, limit=limit).rowcount
        return gone

    # Look-ups ------------------------------------------------------------------------------------

    def tend(self, node: str) -> Tended:
        with self._file.look_up() as db:
            version: int = db.execute("PRAGMA data_version").fetchone()[0]
            news, self._version = version != self._version, version
            cancel = [row[0] for row in run(db, "cancel_requests", node=node)]
            nodes = [row[0] for row in run(db, "nodes")]
        presence = self._presences.get(node)
        return Tended(
            stands=presence is not None and presence.stands(),
            dead_nodes=any(is_dead(self._alive(other)) for other in nodes),
            news=news,
            cancel=cancel,
        )

    def job(self, job_id: str) -> Job | None:
        with self._file.look_up() as db:
            row = run(db, "job", id=job_id).fetchone()
        return None if row is None else job_of(row)

    def jobs(
        self,
        *,
        state: State | None,
        kind: str | None,
        queue: str | None,
        after: str | None,
        limit: int,
    ) -> list[Job]:
        with self._file.look_up() as db:
            rows = run(
                db, listing(state), state=state, kind=kind, queue=queue, after=after, limit=limit
            ).fetchall()
        return [job_of(row) for row in rows]

    def states_of(self, ids: Sequence[str]) -> dict[str, State]:
        with self._file.look_up() as db:
            rows = run(db, "live", ids=json.dumps(list(ids))).fetchall()
        return {job_id: State(state) for job_id, state in rows}

    def busy(self, include_scheduled: bool) -> bool:
        until = float("inf") if include_scheduled else self.clock.now()
        with self._file.look_up() as db:
            return bool(run(db, "busy", until=until).fetchone()[0])

    def counts(self) -> Counts:
        with self._file.look_up() as db:
            db.execute("BEGIN")  # both of one moment, or they would not balance
            try:
                states = {State(state): n for state, n in run(db, "states")}
                totals = dict(run(db, "totals").fetchall())
            finally:
                db.execute("COMMIT")
        return Counts(states=states, totals=totals)

    def nodes(self) -> list[NodeInfo]:
        with self._file.look_up() as db:
            rows = run(db, "nodes").fetchall()
        return [
            NodeInfo(
                id=node,
                host=host,
                pid=pid,
                workers=workers,
                started_at=started_at,
                alive=not is_dead(self._alive(node)),
            )
            for node, host, pid, workers, started_at in rows
        ]

    def _alive(self, node: str) -> Path:
        """The presence file of a node; none that exists, for a name that cannot be ours."""
        ours = len(node) == _ID_LENGTH and node.isascii() and node.replace("-", "").isalnum()
        return self._file.folder / f"{node if ours else 'nobody'}.alive"


def _is_strange(job: ClaimedJob) -> bool:
    return len(job.id) != _ID_LENGTH or not job.id.isascii()
