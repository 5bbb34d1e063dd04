"""Jobs in PostgreSQL, shared by any number of processes and servers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from fastsched.bus import Bus, NoBus
from fastsched.clock import RemoteClock, boot_seconds
from fastsched.job import Claim, Job, NewJob, State
from fastsched.stores.base import (
    HORIZON,
    LEASE,
    Cancelled,
    Counts,
    Flush,
    Flushed,
    NodeInfo,
    Rescued,
    Tended,
)
from fastsched.stores.deadlines import Deadlines
from fastsched.stores.postgres_flush import Flusher
from fastsched.stores.postgres_link import (
    ConnectionLost,
    Db,
    Link,
    TryAgain,
    again,
    run,
    shown,
)
from fastsched.stores.postgres_nodes import (
    Place,
    end_sessions,
    judging,
    lock_again,
    register,
    sign,
    tend,
)
from fastsched.stores.postgres_schema import migrate, version
from fastsched.stores.postgres_users import UserConnections, insert_through
from fastsched.stores.rows import job_of, listing
from fastsched.user_connection import UserConnection

_log = logging.getLogger("fastsched.postgres")


class PostgresStore:
    """A `Store` on a PostgreSQL server, 14 or later."""

    look_every = 1.2
    """With its chores, an idle node then makes 0.97 transactions a second."""

    def __init__(self, url: str, *, keep_done: bool, lease: float = LEASE) -> None:
        self._url = url
        self._lease = lease
        self.clock = RemoteClock()
        self._deadlines = Deadlines(self.clock)
        self._writes = Link(url, self.clock, self._deadlines, on_connect=self._greet)
        self._looks = Link(url, self.clock, self._deadlines)
        self._keeps = Link(url, self.clock, self._deadlines, on_connect=self._lock_again)
        self._flusher = Flusher(self._writes, self.clock, keep_done=keep_done, lease=lease)
        self._users = UserConnections(
            url,
            self._deadlines,
            keep_done=keep_done,
            pooled=lambda: self._keeps.pooled,
            number_of=self._flusher.number,
        )
        self._places: dict[str, Place] = {}

    @property
    def name(self) -> str:
        return shown(self._url)

    # Life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        for link in (self._keeps, self._looks, self._writes):
            link.open()
        try:
            migrate(self._writes, self.name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for link in (self._keeps, self._looks, self._writes):
            link.close()
        self._deadlines.close()
        self._users.close()
        self._places.clear()

    def forsake(self) -> None:
        for link in (self._keeps, self._looks, self._writes):
            link.forsake()
        self._deadlines.forsake()
        self._users.forsake()

    def bus(self) -> Bus:
        return NoBus()

    def schema_version(self) -> int:
        """The version of the tables."""
        with self._looks.use() as db:
            found: int = version(db)
        return found

    # Write ---------------------------------------------------------------------------------------

    def flush(self, flush: Flush) -> Flushed:
        return self._flusher.flush(flush)

    def insert_through(self, connection: UserConnection, jobs: Sequence[NewJob]) -> None:
        insert_through(connection, jobs)

    def effects(self, claim: Claim) -> AbstractContextManager[Db]:
        return self._users.effects(claim)

    def register(self, node: NodeInfo, slots: int) -> Place:
        with self._keeps.use() as db:
            number = register(db, node, lease=self._lease, locked=not self._keeps.pooled)
        if self._keeps.pooled:
            _log.warning(
                "%s is reached through a connection pooler: a killed node is found by its lease "
                "only, after %.0f s",
                self.name,
                self._lease,
            )
        place = Place(number, self._lease, self._run_alone)
        place.locked = not self._keeps.pooled
        self._places[node.id] = place
        with self._writes.use() as db:
            self._sign_again(db)
        self._flusher.numbers[node.id] = number
        return place

    def _lock_again(self, db: Db) -> None:
        """The locks of this process's nodes went with the last connection."""
        for place in list(self._places.values()):
            if not self._keeps.pooled:
                lock_again(db, place)

    def _greet(self, db: Db) -> None:
        """In a new session for writing: learn the time, without which a process that only enqueues
        would tell the others due times by its own clock; and sign."""
        (now,) = run(db, "now").fetchone()
        self.clock.read(now)
        self._sign_again(db)

    def _sign_again(self, db: Db) -> None:
        """The session in which this process's nodes write is a new one, or has a new node."""
        for place in list(self._places.values()):
            if not self._writes.pooled:
                sign(db, place.number)

    def _run_alone(self, number: int, job_id: str, claim_no: int) -> None:
        with self._keeps.use() as db:
            run(db, "run_alone", id=job_id, claim_no=claim_no, node=number)

    def leave(self, node: str) -> None:
        number = self._flusher.number(node)
        with self._writes.transaction() as db:
            run(db, "forget_node", node=number)
            self._release_all(db, number)
        self._places.pop(node, None)
        if not self._places:
            self._keeps.disconnect()

    def _release_all(self, db: Db, number: int) -> int:
        """Everything that a node holds goes back; how many jobs."""
        states = Counter(row[0] for row in run(db, "release_all", node=number))
        self._count_released(db, states)
        return states.total()

    def _count_released(self, db: Db, states: Counter[str]) -> None:
        cancelled = states["cancelled"]
        self._flusher.count(db, Counter(cancelled=cancelled, release=states.total() - cancelled))

    def rescue(self, max_crashes: int) -> Rescued:
        nodes: list[str] = []
        released = 0
        charged: list[str] = []
        dead: list[tuple[str, str, str, int]] = []
        with self._writes.transaction() as db:
            end_sessions(db)
            judge = judging(self._writes)
            for number, node, alone, crashed in run(db, "dead_nodes", **judge).fetchall():
                nodes.append(node)
                run(db, "forget_node", node=number)
                if crashed:
                    self._charge(db, number, alone, max_crashes, charged, dead)
                released += self._release_all(db, number)
            orphans = Counter(row[0] for row in run(db, "release_orphans"))
            self._count_released(db, orphans)
            released += orphans.total()
            self._flusher.count(db, Counter(rescued=released, crashed=len(charged), dead=len(dead)))
        return Rescued(nodes=nodes, released=released, charged=charged, dead=dead)

    def _charge(
        self,
        db: Db,
        number: int,
        alone: str | None,
        max_crashes: int,
        charged: list[str],
        dead: list[tuple[str, str, str, int]],
    ) -> None:
        """Whose fault was the crash? That of a suspect that ran alone, or nobody's yet."""
        rows = [] if alone is None else run(db, "charge", id=alone, node=number).fetchall()
        for job_id, kind, queue, attempt, crashes in rows:
            charged.append(job_id)
            if crashes >= max_crashes:
                run(db, "bury_crashed", id=job_id, node=number)
                dead.append((job_id, kind, queue, attempt))
        if not rows:
            run(db, "suspect_all", node=number)

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        number = self._flusher.number(node)
        with self._writes.transaction() as db:
            unknown = [
                row for row in run(db, "owned", node=number).fetchall() if row[0] not in held
            ]
            if unknown:
                unknown.sort()
                rows = run(
                    db,
                    "release",
                    ids=[row[0] for row in unknown],
                    nodes=[number] * len(unknown),
                    claim_nos=[row[1] for row in unknown],
                )
                self._count_released(db, Counter(state for _, _, state in rows))
        self._flusher.doubt = False
        return len(unknown)

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        return again(lambda: self._cancel(ids))

    def _cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        answers = dict.fromkeys(ids, Cancelled.TOO_LATE)
        with self._writes.transaction() as db:
            for job_id, state in run(db, "cancel", ids=list(ids)).fetchall():
                ended = state == "cancelled"
                answers[job_id] = Cancelled.CANCELLED if ended else Cancelled.REQUESTED
            cancelled = list(answers.values()).count(Cancelled.CANCELLED)
            self._flusher.count(db, Counter(cancelled=cancelled))
        return answers

    def requeue(self, ids: Sequence[str]) -> list[str]:
        return self._each("requeue", ids, counted={"dead": -1, "requeued": 1})

    def run_now(self, ids: Sequence[str]) -> list[str]:
        return self._each("run_now", ids, counted={})

    def discard(self, ids: Sequence[str]) -> list[str]:
        return self._each("discard", ids, counted={})

    def _each(self, statement: str, ids: Sequence[str], *, counted: dict[str, int]) -> list[str]:
        """Run a statement for ids; those whose rows it changed."""
        with self._writes.transaction() as db:
            changed = [row[0] for row in run(db, statement, ids=list(ids))]
            self._flusher.count(db, Counter({n: by * len(changed) for n, by in counted.items()}))
        return changed

    def expire(self, limit: int) -> Sequence[tuple[str, str, str, int]]:
        with self._writes.transaction() as db:
            expired: list[tuple[str, str, str, int]] = run(db, "expire", limit=limit).fetchall()
            self._flusher.count(db, Counter(expired=len(expired)))
        return expired

    def prune(self, *, done_for: float, ended_for: float, ids_for: float, limit: int) -> int:
        with self._writes.transaction() as db:
            pruned = run(db, "prune", done_for=done_for, ended_for=ended_for, limit=limit)
            gone = int(pruned.rowcount)
            gone += int(run(db, "prune_given_ids", age=ids_for, limit=limit).rowcount)
            self._flusher.fold_marks(db)
        return gone

    # Look-ups ------------------------------------------------------------------------------------

    def tend(self, node: str) -> Tended:
        place = self._places.get(node)
        if place is None:
            return Tended(stands=False, dead_nodes=False, news=False, cancel=())
        sent_at = boot_seconds()
        with self._keeps.use() as db:
            if not place.locked and not self._keeps.pooled:
                lock_again(db, place)
            tended, now = tend(
                db,
                place.number,
                lease=self._lease,
                horizon=HORIZON,
                judge=judging(self._keeps),
            )
        self.clock.read(now)
        if tended.stands:
            place.renewed(sent_at)
        else:
            self._places.pop(node, None)
        return replace(tended, doubt=self._flusher.doubt)

    def job(self, job_id: str) -> Job | None:
        rows = self._look("job", id=job_id)
        return job_of(rows[0]) if rows else None

    def jobs(
        self,
        *,
        state: State | None,
        kind: str | None,
        queue: str | None,
        after: str | None,
        limit: int,
    ) -> list[Job]:
        wanted = None if state is None else state.value
        rows = self._look(
            listing(state), state=wanted, kind=kind, queue=queue, after=after, limit=limit
        )
        return [job_of(row) for row in rows]

    def states_of(self, ids: Sequence[str]) -> dict[str, State]:
        return {job_id: State(state) for job_id, state in self._look("live", ids=list(ids))}

    def busy(self, include_scheduled: bool) -> bool:
        return bool(self._look("busy", ever=include_scheduled)[0][0])

    def counts(self) -> Counts:
        with self._looks.use() as db, db.transaction():  # one snapshot, or they would not balance
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            states = {State(state): n for state, n in run(db, "states")}
            totals = dict(run(db, "totals").fetchall())
        return Counts(states=states, totals=totals)

    def nodes(self) -> list[NodeInfo]:
        return [
            NodeInfo(
                id=node, host=host, pid=pid, workers=workers, started_at=started_at, alive=alive
            )
            for node, host, pid, workers, started_at, alive in self._look("nodes")
        ]

    def _look(self, statement: str, /, **given: Any) -> list[Any]:
        """Read, once more if the connection had died or become useless meanwhile."""
        try:
            with self._looks.use() as db:
                rows: list[Any] = run(db, statement, **given).fetchall()
        except (ConnectionLost, TryAgain):
            with self._looks.use() as db:
                rows = run(db, statement, **given).fetchall()
        return rows
