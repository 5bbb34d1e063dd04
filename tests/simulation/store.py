"""The contract of a store in plain Python: a dict of rows, one call after the other."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from fastsched.bus import Bus, NoBus
from fastsched.clock import Clock, RemoteClock
from fastsched.errors import ConfigurationError, JobStopped, StoreError, StoreUnavailable
from fastsched.job import MAX_PRIORITY, MIN_PRIORITY, Claim, ClaimedJob, Job, NewJob, State
from fastsched.outcomes import (
    Cancel,
    Committed,
    Dead,
    Done,
    Expire,
    Outcome,
    Release,
    Retry,
    Snooze,
)
from fastsched.stores.base import (
    HORIZON,
    Cancelled,
    ClaimRequest,
    Counts,
    Flush,
    Flushed,
    NodeInfo,
    Rescued,
    Tended,
)
from fastsched.user_connection import UserConnection
from simulation.database import Database, NodeRow, Row

LATEST = 221_845_392_000.0
_UNSTARTED = (State.SCHEDULED, State.READY)


class MemoryStore:
    """A `Store`: one process's way to a database."""

    look_every = 1.2

    def __init__(self, database: Database, clock: Clock, *, keep_done: bool = False) -> None:
        self.db = database
        self.clock = clock
        self._keep_done = keep_done
        self._open = False
        self._places: dict[str, MemoryPresence] = {}
        self._seen = 0

    name = "memory://"

    # Life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        self._open = True
        with self._call(writes=False) as db:
            now = db.now()
        self._learn_time(now)

    def close(self) -> None:
        self._open = False
        self.die()

    def die(self) -> None:
        """What the death of the process does to the nodes that it registered."""
        for node in self._places:
            if node in self.db.nodes:
                self.db.nodes[node].alive = False
        self._places.clear()

    def forsake(self) -> None:
        self._places.clear()

    def bus(self) -> Bus:
        return NoBus()

    def schema_version(self) -> int:
        return 1

    @contextlib.contextmanager
    def _call(self, *, writes: bool) -> Iterator[Database]:
        if not self._open:
            raise StoreUnavailable("memory is closed")
        with self.db.lock:
            yield self.db
            self.db.writes += writes

    def _learn_time(self, now: float) -> None:
        """What the store's clock showed in a call that has returned."""
        if isinstance(self.clock, RemoteClock):
            self.clock.read(now)

    # Write ---------------------------------------------------------------------------------------

    def flush(self, flush: Flush) -> Flushed:
        with self._call(writes=True) as db:
            known, rows = self._new_rows(flush.jobs)
            db.rows |= {row.id: row for row in rows}
            new = {row.id for row in rows}
            given = [job.id for job in flush.jobs if job.given_id and job.id in new]
            db.given |= dict.fromkeys(given, db.now())
            db.count("accepted", len(rows))
            stale, states = self._end(flush.ends)
            answer: dict[str, Any] = {"claimed": []}
            if flush.claim is not None:
                answer = self._claim(flush.claim)
            now = db.now()
        if flush.claim is not None:
            self._learn_time(now)
        return Flushed(known=known, accepted=len(rows), stale=stale, states=states, **answer)

    def _new_rows(self, jobs: Sequence[NewJob]) -> tuple[frozenset[str], list[Row]]:
        """The given ids that are known, and a row for every other job; nothing is changed yet."""
        db = self.db
        known: set[str] = set()
        rows: dict[str, Row] = {}
        for job in jobs:
            if job.given_id and (job.id in db.given or job.id in db.rows or job.id in rows):
                known.add(job.id)
                continue
            if job.id in db.rows or job.id in rows:
                raise StoreError(f"memory: the id {job.id} is there already")
            rows[job.id] = self._new_row(job, seq=db.totals["accepted"] + len(rows))
        return frozenset(known), list(rows.values())

    def _new_row(self, job: NewJob, seq: int) -> Row:
        now = self.db.now()
        due_at = now + job.delay if job.at is None else job.at
        deadline = job.deadline_at
        if deadline is None and job.deadline is not None:
            deadline = due_at + job.deadline
        times = [due_at] if deadline is None else [due_at, deadline]
        if not (
            isinstance(job.id, str)
            and isinstance(job.queue, str)
            and job.kind.isprintable()
            and MIN_PRIORITY <= job.priority <= MAX_PRIORITY
            and all(0 <= time <= LATEST for time in times)
            and (job.timeout is None or 0 < job.timeout < math.inf)
            and job.max_attempts > 0
        ):
            raise StoreError(f"memory: cannot store {job}")
        return Row(
            seq=seq,
            id=job.id,
            kind=job.kind,
            queue=job.queue,
            state=self.db.state_by(due_at),
            priority=job.priority,
            due_at=due_at,
            deadline=deadline,
            timeout=job.timeout,
            max_attempts=job.max_attempts,
            payload=job.payload,
            created_at=now,
        )

    def _end(
        self, ends: Sequence[tuple[Claim, Outcome]]
    ) -> tuple[frozenset[Claim], dict[str, State]]:
        """The claims that did not hold, and the states of what was not done."""
        stale, states = [], {}
        for claim, outcome in ends:
            row = self.db.rows.get(claim.id)
            if row is None or not row.held_by(claim):
                stale.append(claim)
                continue
            self._end_run(row, outcome)
            if row.state is not State.DONE:
                states[claim.id] = row.state
        self.db.count("stale", len(stale))
        return frozenset(stale), states

    def _end_run(self, row: Row, outcome: Outcome) -> None:
        db = self.db
        row.failure = getattr(outcome, "failure", None) or row.failure
        match outcome:
            case Done() | Committed():
                row.suspect = False
                db.end_job(row, State.DONE)
                if not self._keep_done:
                    del db.rows[row.id]
            case Dead(reason):
                row.suspect = False
                db.end_job(row, State.DEAD, reason)
            case Cancel(reason):
                row.suspect, row.reason = False, None
                db.end_job(row, State.CANCELLED, reason)
            case Expire():
                row.suspect = False
                db.end_job(row, State.EXPIRED, "deadline passed")
            case Retry(delay, reason) | Snooze(delay, reason):
                row.suspect, row.crashes, row.reason = False, 0, reason
                charged = isinstance(outcome, Retry)
                db.come_back(
                    row, due_at=db.now() + (delay or 0.0), attempts_back=0 if charged else 1
                )
                if row.state is not State.CANCELLED:
                    db.count("retry" if charged else "snooze")
            case Release():
                db.give_back([row])

    def _claim(self, want: ClaimRequest) -> dict[str, Any]:
        db, now = self.db, self.db.now()
        scheduled = []
        ready = []
        next_due = None
        for row in db.rows.values():
            if row.state is State.SCHEDULED and row.due_at <= now:
                row.state = State.READY
            if row.state is State.SCHEDULED and row.due_at > now + want.horizon:
                next_due = row.due_at if next_due is None else min(next_due, row.due_at)
            elif row.state in _UNSTARTED and self._wanted(row, want):
                (ready if row.state is State.READY else scheduled).append(row)
        ready.sort(key=Row.hotness)
        scheduled.sort(key=lambda row: (row.due_at, -row.priority, row.seq))
        taken = (ready + scheduled)[: want.limit]
        for row in taken:
            row.state, row.node, row.claimed_at = State.CLAIMED, want.node, now
            row.claim_no += 1
            row.attempt += 1
        taken.sort(key=Row.hotness)
        return {
            "claimed": [_claimed(row) for row in taken],
            "drained": len(taken) < want.limit,
            "next_due": next_due,
        }

    def _wanted(self, row: Row, want: ClaimRequest) -> bool:
        return (
            want.node in self.db.nodes
            and row.kind in want.kinds
            and row.priority >= want.min_priority
            and (want.queues is None or row.queue in want.queues)
        )

    def insert_through(self, connection: UserConnection, jobs: Sequence[NewJob]) -> None:
        raise ConfigurationError("memory is not the database of that connection")

    @contextlib.contextmanager
    def effects(self, claim: Claim) -> Iterator[list[tuple[str, int]]]:
        written: list[tuple[str, int]] = []
        yield written
        self.commit(claim, written)

    def commit(self, claim: Claim, written: Sequence[tuple[str, int]]) -> None:
        """Complete a claim together with its effects, or neither."""
        with self._call(writes=True) as db:
            row = db.rows.get(claim.id)
            if row is None or not row.held_by(claim):
                raise JobStopped(f"job {claim.id} is not this run's any more; nothing was written")
            self._end_run(row, Done())
            db.effects += written

    def register(self, node: NodeInfo, slots: int) -> MemoryPresence:
        with self._call(writes=True) as db:
            db.nodes[node.id] = NodeRow(info=node, lease_until=db.now() + db.lease)
            place = self._places[node.id] = MemoryPresence(self, node.id)
        return place

    def leave(self, node: str) -> None:
        with self._call(writes=True) as db:
            db.give_back(db.held_by(node))
            db.nodes.pop(node, None)
        self._places.pop(node, None)

    def rescue(self, max_crashes: int) -> Rescued:
        with self._call(writes=True) as db:
            dead_nodes = [node for node in db.nodes.values() if db.dead(node)]
            released, all_charged, buried = 0, [], []
            for node in dead_nodes:
                self._rescued_from(node)
                charged = [] if node.alive else db.blame(node)
                all_charged += charged
                for row in charged:
                    if row.crashes >= max_crashes:
                        db.bury(row)
                        buried.append((row.id, row.kind, row.queue, row.attempt))
                released += db.give_back(db.held_by(node.info.id))
                del db.nodes[node.info.id]
            db.count("rescued", released)
            db.count("crashed", len(all_charged))
        return Rescued(
            nodes=[node.info.id for node in dead_nodes],
            released=released,
            charged=[row.id for row in all_charged],
            dead=buried,
        )

    def _rescued_from(self, node: NodeRow) -> None:
        """A node is about to lose its place."""

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        with self._call(writes=True) as db:
            return db.give_back([row for row in db.held_by(node) if row.id not in held])

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        with self._call(writes=True) as db:
            return {job_id: self._cancel(db.rows.get(job_id)) for job_id in ids}

    def _cancel(self, row: Row | None) -> Cancelled:
        if row is not None and row.state in _UNSTARTED:
            self.db.end_job(row, State.CANCELLED, "cancelled")
            return Cancelled.CANCELLED
        if row is not None and row.state is State.CLAIMED:
            row.cancel_requested = True
            return Cancelled.REQUESTED
        return Cancelled.TOO_LATE

    def requeue(self, ids: Sequence[str]) -> list[str]:
        with self._call(writes=True) as db:
            moved = self._rows(ids, State.DEAD)
            for row in moved:
                row.state, row.due_at, row.ended_at, row.deadline = (
                    State.READY,
                    db.now(),
                    None,
                    None,
                )
                row.attempt, row.crashes, row.suspect, row.cancel_requested = 0, 0, False, False
                row.reason = "requeued"
            db.count("dead", -len(moved))
            db.count("requeued", len(moved))
        return [row.id for row in moved]

    def run_now(self, ids: Sequence[str]) -> list[str]:
        with self._call(writes=True) as db:
            moved = self._rows(ids, State.SCHEDULED)
            for row in moved:
                row.state, row.due_at = State.READY, db.now()
        return [row.id for row in moved]

    def discard(self, ids: Sequence[str]) -> list[str]:
        with self._call(writes=True) as db:
            gone = self._rows(ids, State.DEAD)
            for row in gone:
                del db.rows[row.id]
        return [row.id for row in gone]

    def _rows(self, ids: Sequence[str], state: State) -> list[Row]:
        rows = [self.db.rows[job_id] for job_id in dict.fromkeys(ids) if job_id in self.db.rows]
        return [row for row in rows if row.state is state]

    def expire(self, limit: int) -> Sequence[tuple[str, str, str, int]]:
        with self._call(writes=True) as db:
            late = [
                row
                for row in db.rows.values()
                if row.state in _UNSTARTED and row.deadline is not None and row.deadline < db.now()
            ][:limit]
            for row in late:
                db.end_job(row, State.EXPIRED, "deadline passed")
        return [(row.id, row.kind, row.queue, row.attempt) for row in late]

    def prune(self, *, done_for: float, ended_for: float, ids_for: float, limit: int) -> int:
        with self._call(writes=True) as db:
            now = db.now()
            old = [
                row.id
                for row in db.rows.values()
                if row.ended_at is not None
                and row.ended_at < now - (done_for if row.state is State.DONE else ended_for)
            ][:limit]
            forgotten = [i for i, given_at in db.given.items() if given_at < now - ids_for][:limit]
            for job_id in old:
                del db.rows[job_id]
            for job_id in forgotten:
                del db.given[job_id]
        return len(old) + len(forgotten)

    # Look-ups ------------------------------------------------------------------------------------

    def tend(self, node: str) -> Tended:
        place = self._places.get(node)
        sent_at = self.clock.monotonic()
        with self._call(writes=False) as db:
            row = db.nodes.get(node) if place is not None else None
            if row is not None:
                row.lease_until = db.now() + db.lease
            tended = Tended(
                stands=row is not None,
                dead_nodes=any(db.dead(other) for other in db.nodes.values()),
                news=self._news(),
                cancel=[row.id for row in db.held_by(node) if row.cancel_requested],
            )
            now = db.now()
        self._learn_time(now)
        if place is not None and tended.stands:
            place.renewed(sent_at)
        elif place is not None:
            self._places.pop(node, None)
        return tended

    def _news(self) -> bool:
        """On SQLite, whether anyone wrote since; on PostgreSQL, whether there is work."""
        db = self.db
        if db.knows_what_ran:
            news, self._seen = db.writes != self._seen, db.writes
            return news
        soon = db.now() + HORIZON
        return any(row.state in _UNSTARTED and row.due_at <= soon for row in db.rows.values())

    def job(self, job_id: str) -> Job | None:
        with self._call(writes=False) as db:
            row = db.rows.get(job_id)
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
        with self._call(writes=False) as db:
            found = [
                row
                for row in db.rows.values()
                if (state is None or row.state is state)
                and (kind is None or row.kind == kind)
                and (queue is None or row.queue == queue)
                and (after is None or row.id > after)
            ]
            return [_job(row) for row in sorted(found, key=lambda row: row.id)[:limit]]

    def states_of(self, ids: Sequence[str]) -> dict[str, State]:
        with self._call(writes=False) as db:
            return {job_id: db.rows[job_id].state for job_id in ids if job_id in db.rows}

    def busy(self, include_scheduled: bool) -> bool:
        with self._call(writes=False) as db:
            return any(
                row.state in (State.READY, State.CLAIMED)
                or (row.state is State.SCHEDULED and (include_scheduled or row.due_at <= db.now()))
                for row in db.rows.values()
            )

    def counts(self) -> Counts:
        with self._call(writes=False) as db:
            states = Counter(row.state for row in db.rows.values())
            return Counts(states=states, totals={name: n for name, n in db.totals.items() if n})

    def nodes(self) -> list[NodeInfo]:
        with self._call(writes=False) as db:
            return [
                NodeInfo(**{**_fields(row.info), "alive": not db.dead(row)})
                for row in db.nodes.values()
            ]


class MemoryPresence:
    """A node's place in the database."""

    def __init__(self, store: MemoryStore, node: str) -> None:
        self._store = store
        self._node = node
        self._held_until = store.clock.monotonic() + store.db.lease

    def holds(self) -> bool:
        if self._store.db.lease == math.inf:
            return self._node in self._store.db.nodes
        return self._store.clock.monotonic() < self._held_until

    def renewed(self, sent_at: float) -> None:
        """A renewal sent at that time (monotonic) was answered."""
        self._held_until = sent_at + self._store.db.lease

    def enter(self, slot: int, job: ClaimedJob) -> None:
        if self._store.db.knows_what_ran:
            self._record(slot, job)
        elif job.suspect:  # a suspect runs alone, whatever the slot
            with self._store._call(writes=True):
                self._record(0, job)

    def _record(self, slot: int, job: ClaimedJob) -> None:
        node = self._store.db.nodes.get(self._node)
        if node is not None:
            node.running[slot] = job.id, job.claim_no

    def leave(self, slot: int) -> None:
        node = self._store.db.nodes.get(self._node)
        if node is not None and self._store.db.knows_what_ran:
            node.running.pop(slot, None)


def _claimed(row: Row) -> ClaimedJob:
    return ClaimedJob._make(getattr(row, name) for name in ClaimedJob._fields)


def _job(row: Row) -> Job:
    return Job(**{f.name: getattr(row, f.name) for f in fields(Job)})


def _fields(info: NodeInfo) -> dict[str, Any]:
    return {f.name: getattr(info, f.name) for f in fields(NodeInfo)}
