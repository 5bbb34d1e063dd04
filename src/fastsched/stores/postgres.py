"""Jobs in PostgreSQL, shared by any number of processes and servers."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from psycopg import Cursor, errors, pq
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from fastsched.bus import Bus, NoBus
from fastsched.clock import RemoteClock, boot_seconds
from fastsched.errors import CommitUnknown, JobStopped, SchemaError, StoreUnavailable
from fastsched.ids import new_id
from fastsched.job import Claim, ClaimedJob, Job, NewJob, State
from fastsched.outcomes import DONE
from fastsched.stores.base import (
    HORIZON,
    LEASE,
    Cancelled,
    ClaimRequest,
    Counts,
    Flush,
    Flushed,
    NodeInfo,
    Rescued,
    Tended,
)
from fastsched.stores.deadlines import Deadlines
from fastsched.stores.postgres_batches import (
    Ends,
    copy_data,
    given_twice,
    job_arrays,
    sort_out,
)
from fastsched.stores.postgres_link import (
    CALL_TIMEOUT,
    CONNECT_TIMEOUT,
    SILENCE_TIMEOUT,
    SQL,
    ConnectionLost,
    Db,
    Link,
    TryAgain,
    begin,
    conninfo_of,
    send_all,
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
from fastsched.stores.rows import job_of, listing
from fastsched.user_connection import UserConnection

_log = logging.getLogger("fastsched.postgres")
_PROMOTE_AT_ONCE = 5_000
_ROWS_PER_SECOND = 5_000
"""Slowest rate that a large flush is given time for."""
_TRIES = 5
MOST_USER_CONNECTIONS = 10
"""Connections that handlers may use at once for `ctx.transaction()`."""


class PostgresStore:
    """A `Store` on a PostgreSQL server, 14 or later."""

    def __init__(self, url: str, *, keep_done: bool, lease: float = LEASE) -> None:
        self._url = url
        self._keep_done = keep_done
        self._lease = lease
        self.clock = RemoteClock()
        self._deadlines = Deadlines(self.clock)
        self._writes = Link(url, self.clock, self._deadlines, on_connect=self._greet)
        self._looks = Link(url, self.clock, self._deadlines)
        self._keeps = Link(url, self.clock, self._deadlines, on_connect=self._lock_again)
        self._id = new_id()  # of this writer, in its marks
        self._flush_no = 0
        self._unsure: dict[str, int] = {}  # jobs of flushes with unknown commits
        self._doubt = False
        self._pooling = threading.Lock()
        self._pool: ConnectionPool[Db] | None = None
        self._places: dict[str, Place] = {}
        self._numbers: dict[str, int] = {}

    @property
    def name(self) -> str:
        return shown(self._url)

    # Life ----------------------------------------------------------------------------------------

    def open(self) -> None:
        for link in (self._keeps, self._looks, self._writes):
            link.open()
        migrate(self._writes, self.name)

    def close(self) -> None:
        for link in (self._keeps, self._looks, self._writes):
            link.close()
        self._deadlines.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._places.clear()

    def forsake(self) -> None:
        for link in (self._keeps, self._looks, self._writes):
            link.forsake()
        _abandoned.append(self._pool)

    def bus(self) -> Bus:
        return NoBus()

    def schema_version(self) -> int:
        """The version of the tables."""
        with self._looks.use() as db:
            found: int = version(db)
        return found

    # Write ---------------------------------------------------------------------------------------

    def flush(self, flush: Flush) -> Flushed:
        for _ in range(_TRIES - 1):
            try:
                return self._flush(flush)
            except TryAgain:
                continue
        return self._flush(flush)

    def _flush(self, flush: Flush) -> Flushed:
        if self._unsure and (stored := self._settle(flush.jobs)):
            rest = [job for job in flush.jobs if job.id not in stored]
            flushed = self._flush(replace(flush, jobs=rest))
            return replace(flushed, known=flushed.known | stored)
        self._flush_no += 1
        # No longer than the lease: a node frozen in a flush keeps its own jobs from being rescued.
        seconds = min(CALL_TIMEOUT, self._lease)
        seconds += (len(flush.jobs) + len(flush.ends)) / _ROWS_PER_SECOND
        try:
            with self._writes.use(seconds) as db:
                return self._write(db, flush, seconds)
        except ConnectionLost as error:
            self._doubt = True
            if not flush.jobs and not flush.ends:
                raise
            self._unsure.update((job.id, self._flush_no) for job in flush.jobs)
            if not self._was_committed(self._flush_no, error):
                raise TryAgain(str(error)) from error
            return Flushed(accepted=len(flush.jobs), drained=False)

    def _write(self, db: Db, flush: Flush, seconds: float) -> Flushed:
        tally: Counter[str] = Counter()
        plain, others, given = sort_out(flush.jobs)
        self._learn_numbers(db, flush)
        if plain:
            begin(db, seconds)
            self._copy(db, plain)
        with db.pipeline() as pipeline:
            if not plain:
                begin(db, seconds)
            if others:
                self._run(db, "insert", **job_arrays(others))
            fresh = self._run(db, "insert_given", **job_arrays(given)) if given else None
            ends = Ends(flush.ends, keep_done=self._keep_done, number_of=self._number)
            ended = {name: self._run(db, name, **ends.parameters(name)) for name in ends.batches}
            claim = None if flush.claim is None else self._claim(db, flush.claim)
            send_all(db)
            pipeline.sync()

            taken = {row[0] for row in fresh or ()}
            known = given_twice(given) | ({job.id for job in given} - taken)
            stale, states = _ended(ends, ended, tally)
            tally["accepted"] = len(plain) + len(others) + len(taken)
            answer: dict[str, Any] = {"claimed": []}
            if flush.claim and claim:
                answer = self._claimed(flush.claim, *claim)
            if flush.jobs or flush.ends:
                self._mark(db, tally)
            db.execute("COMMIT")
        return Flushed(
            accepted=tally["accepted"], known=frozenset(known), stale=stale, states=states, **answer
        )

    def _copy(self, db: Db, jobs: Sequence[NewJob]) -> None:
        with db.cursor() as cursor, cursor.copy(SQL["copy"]) as copy:
            for part in copy_data(jobs):
                copy.write(part)

    def _claim(self, db: Db, want: ClaimRequest) -> tuple[Any, Any, Any]:
        promoted = self._run(db, "promote", limit=_PROMOTE_AT_ONCE)
        rows = self._run(
            db,
            "claim",
            node=self._number(want.node),
            kinds=list(want.kinds),
            queues=None if want.queues is None else list(want.queues),
            limit=want.limit,
            min_priority=want.min_priority,
            horizon=want.horizon,
        )
        return promoted, rows, self._run(db, "next_due", horizon=want.horizon)

    def _claimed(self, want: ClaimRequest, promoted: Any, rows: Any, due: Any) -> dict[str, Any]:
        claimed = [ClaimedJob._make(row) for row in rows]
        if len(claimed) > want.limit:
            raise StoreUnavailable(f"claimed {len(claimed)} rows for a limit of {want.limit}")
        claimed.sort(key=lambda job: (-job.priority, job.due_at, job.seq))
        next_due, now = due.fetchone()
        self.clock.read(now)
        return {
            "claimed": claimed,
            "drained": len(claimed) < want.limit and promoted.rowcount < _PROMOTE_AT_ONCE,
            "next_due": next_due,
        }

    def _mark(self, db: Db, tally: Counter[str]) -> None:
        """Leave the proof that this transaction was committed, and its counts."""
        counts = {name: n for name, n in tally.items() if n}
        self._run(db, "mark", writer=self._id, flush_no=self._flush_no, counts=json.dumps(counts))

    def _was_committed(self, flush_no: int, lost: object) -> bool:
        """After a cut connection: whether the flush took place.

        Asked by writing the same mark. If the old transaction is still under way, the server makes
        this wait for it; whichever mark stands decides, for good.
        """
        try:
            with self._writes.transaction() as db:
                marked = self._run(
                    db, "mark_unless_marked", writer=self._id, flush_no=flush_no
                ).rowcount
        except StoreUnavailable as error:
            raise CommitUnknown(f"{lost}; and then {error}") from error
        self._unsure = {i: no for i, no in self._unsure.items() if no != flush_no}
        committed = not marked
        _log.warning("%s; that flush was %s", lost, "committed" if committed else "undone")
        return committed

    def _settle(self, jobs: Sequence[NewJob]) -> frozenset[str]:
        """Of ids given again after an unknown commit: those that were stored the first time."""
        again = {job.id: self._unsure[job.id] for job in jobs if job.id in self._unsure}
        stored = {no: self._was_committed(no, "given again") for no in set(again.values())}
        return frozenset(job_id for job_id, no in again.items() if stored[no])

    def _run(self, db: Db, statement: str, /, **given: Any) -> Any:
        cursor = Cursor(db, row_factory=tuple_row)  # a user's connection may make others
        cursor.format = pq.Format.BINARY
        return cursor.execute(SQL[statement], given)

    def _learn_numbers(self, db: Db, flush: Flush) -> None:
        """Of nodes that another store registered; this process's own are known."""
        nodes = {claim.node for claim, _ in flush.ends}
        if flush.claim is not None:
            nodes.add(flush.claim.node)
        for node in nodes - self._numbers.keys():
            row = self._run(db, "number", id=node).fetchone()
            if row is not None:
                self._numbers[node] = row[0]

    def _number(self, node: str) -> int:
        """The number of a node; 0, which is none's, if it is not registered."""
        return self._numbers.get(node, 0)

    def insert_through(self, connection: UserConnection, jobs: Sequence[NewJob]) -> None:
        connection.check_in_transaction()
        db: Db = connection.driver
        given = [job for job in jobs if job.given_id]
        others = [job for job in jobs if not job.given_id]
        try:
            accepted = len(others)
            if others:
                self._run(db, "insert", **job_arrays(others))
            if given:
                accepted += len(self._run(db, "insert_given", **job_arrays(given)).fetchall())
            # A name of its own for the mark: it belongs to no flush of the writer.
            self._run(db, "mark", writer=new_id(), flush_no=0, counts=_counts(accepted=accepted))
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise SchemaError(
                "the connection's database has no fastsched tables; "
                "is it the one of this scheduler's store_url?"
            ) from error

    @contextlib.contextmanager
    def effects(self, claim: Claim) -> Iterator[Db]:
        with (
            contextlib.ExitStack() as ending,
            self._user_pool().connection() as db,
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
        ends = Ends([(claim, DONE)], keep_done=self._keep_done, number_of=self._number)
        (statement,) = ends.batches
        with db.pipeline():
            self._run(db, "ending", silence_timeout=str(int(SILENCE_TIMEOUT * 1000)))
            answer = self._run(db, statement, **ends.parameters(statement))
            self._run(db, "mark", writer=new_id(), flush_no=0, counts=_counts(done=1))
        lost = statement == "complete"  # what its rows are; those of the other are what held
        return bool(answer.fetchall()) is not lost

    def _user_pool(self) -> ConnectionPool[Db]:
        """Connections for handlers; those of the store itself are never lent."""
        with self._pooling:
            if self._pool is None:
                self._pool = ConnectionPool(
                    conninfo_of(self._url),
                    # Behind a pooler, a prepared statement may be another server's.
                    kwargs={"prepare_threshold": None} if self._keeps.pooled else {},
                    min_size=0,
                    max_size=MOST_USER_CONNECTIONS,
                    timeout=CALL_TIMEOUT,
                    check=self._check_user_connection,
                    reset=_as_new,
                    open=True,
                )
            return self._pool

    def _check_user_connection(self, db: Db) -> None:
        with self._deadlines.limit(db.fileno(), CONNECT_TIMEOUT):
            ConnectionPool.check_connection(db)

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
        self._numbers[node.id] = number
        return place

    def _lock_again(self, db: Db) -> None:
        """The locks of this process's nodes went with the last connection."""
        for place in list(self._places.values()):
            if not self._keeps.pooled:
                lock_again(db, place)

    def _greet(self, db: Db) -> None:
        """In a new session for writing: learn the time, without which a process that only enqueues
        would tell the others due times by its own clock; and sign."""
        (now,) = self._run(db, "now").fetchone()
        self.clock.read(now)
        self._sign_again(db)

    def _sign_again(self, db: Db) -> None:
        """The session in which this process's nodes write is a new one, or has a new node."""
        for place in list(self._places.values()):
            if not self._writes.pooled:
                sign(db, place.number)

    def _run_alone(self, number: int, job_id: str) -> None:
        with self._keeps.use() as db:
            self._run(db, "run_alone", id=job_id, node=number)

    def leave(self, node: str) -> None:
        number = self._number(node)
        with self._writes.transaction() as db:
            self._run(db, "forget_node", node=number)
            self._release_all(db, number)
        self._places.pop(node, None)
        if not self._places:
            self._keeps.disconnect()

    def _release_all(self, db: Db, number: int) -> int:
        """Everything that a node holds goes back; how many jobs."""
        states = Counter(row[0] for row in self._run(db, "release_all", node=number))
        self._count_released(db, states)
        return states.total()

    def _count_released(self, db: Db, states: Counter[str]) -> None:
        cancelled = states["cancelled"]
        self._count(db, Counter(cancelled=cancelled, release=states.total() - cancelled))

    def _count(self, db: Db, tally: Counter[str]) -> None:
        """Counts of a write that is not a flush."""
        if any(tally.values()):
            self._flush_no += 1
            self._mark(db, tally)

    def rescue(self, max_crashes: int) -> Rescued:
        nodes: list[str] = []
        released = 0
        charged: list[str] = []
        dead: list[tuple[str, str, str, int]] = []
        with self._writes.transaction() as db:
            end_sessions(db)
            judge = judging(self._writes)
            for number, node, alone, crashed in self._run(db, "dead_nodes", **judge).fetchall():
                nodes.append(node)
                self._run(db, "forget_node", node=number)
                if crashed:
                    self._charge(db, number, alone, max_crashes, charged, dead)
                released += self._release_all(db, number)
            self._count(db, Counter(rescued=released, crashed=len(charged), dead=len(dead)))
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
        rows = [] if alone is None else self._run(db, "charge", id=alone, node=number).fetchall()
        for job_id, kind, queue, attempt, crashes in rows:
            charged.append(job_id)
            if crashes >= max_crashes:
                self._run(db, "bury_crashed", id=job_id, node=number)
                dead.append((job_id, kind, queue, attempt))
        if not rows:
            self._run(db, "suspect_all", node=number)

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        number = self._number(node)
        with self._writes.transaction() as db:
            unknown = [
                row for row in self._run(db, "owned", node=number).fetchall() if row[0] not in held
            ]
            if unknown:
                unknown.sort()
                rows = self._run(
                    db,
                    "release",
                    ids=[row[0] for row in unknown],
                    nodes=[number] * len(unknown),
                    claim_nos=[row[1] for row in unknown],
                )
                self._count_released(db, Counter(state for _, _, state in rows))
        self._doubt = False
        return len(unknown)

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        answers = dict.fromkeys(ids, Cancelled.TOO_LATE)
        with self._writes.transaction() as db:
            for job_id, state in self._run(db, "cancel", ids=list(ids)).fetchall():
                ended = state == "cancelled"
                answers[job_id] = Cancelled.CANCELLED if ended else Cancelled.REQUESTED
            cancelled = list(answers.values()).count(Cancelled.CANCELLED)
            self._count(db, Counter(cancelled=cancelled))
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
            changed = [row[0] for row in self._run(db, statement, ids=list(ids))]
            self._count(db, Counter({n: by * len(changed) for n, by in counted.items()}))
        return changed

    def expire(self, limit: int) -> Sequence[tuple[str, str, str, int]]:
        with self._writes.transaction() as db:
            expired: list[tuple[str, str, str, int]] = self._run(
                db, "expire", limit=limit
            ).fetchall()
            self._count(db, Counter(expired=len(expired)))
        return expired

    def prune(self, *, done_for: float, ended_for: float, ids_for: float, limit: int) -> int:
        with self._writes.transaction() as db:
            pruned = self._run(db, "prune", done_for=done_for, ended_for=ended_for, limit=limit)
            gone = int(pruned.rowcount)
            gone += int(self._run(db, "prune_given_ids", age=ids_for, limit=limit).rowcount)
            self._flush_no += 1
            self._run(db, "fold_marks", writer=self._id, flush_no=-self._flush_no)
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
        return replace(tended, doubt=self._doubt)

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
            states = {State(state): n for state, n in self._run(db, "states")}
            totals = dict(self._run(db, "totals").fetchall())
        return Counts(states=states, totals=totals)

    def nodes(self) -> list[NodeInfo]:
        return [
            NodeInfo(
                id=node, host=host, pid=pid, workers=workers, started_at=started_at, alive=alive
            )
            for node, host, pid, workers, started_at, alive in self._look("nodes")
        ]

    def _look(self, statement: str, /, **given: Any) -> list[Any]:
        """Read, once more if the connection had died meanwhile."""
        try:
            with self._looks.use() as db:
                rows: list[Any] = self._run(db, statement, **given).fetchall()
        except ConnectionLost:
            with self._looks.use() as db:
                rows = self._run(db, statement, **given).fetchall()
        return rows


_abandoned: list[ConnectionPool[Db] | None] = []
"""Pools of a fork's parent: closing them would end the parent's sessions."""


def _as_new(db: Db) -> None:
    """What a handler may have changed of a connection that it gives back."""
    db.row_factory = tuple_row
    db.cursor_factory = Cursor


def _counts(**counts: int) -> str:
    """The counts of a mark."""
    return json.dumps({name: n for name, n in counts.items() if n})


def _ended(
    ends: Ends, answers: dict[str, Any], tally: Counter[str]
) -> tuple[frozenset[Claim], dict[str, State]]:
    """The claims that did not hold, and the states of what was not done."""
    stale = list(ends.repeated)
    states: dict[str, State] = {}
    for statement, cursor in answers.items():
        batch = ends.batches[statement]
        if statement == "complete":
            lost = {(job_id, claim_no) for job_id, claim_no in cursor}
            stale += [c for c, _ in batch if (c.id, c.claim_no) in lost]
            tally["done"] += len(batch) - len(lost)
            continue
        now = {(job_id, claim_no): State(state) for job_id, claim_no, state in cursor}
        for claim, outcome in batch:
            state = now.get((claim.id, claim.claim_no))
            if state is None:
                stale.append(claim)
            elif state is State.DONE:
                tally["done"] += 1
            else:
                states[claim.id] = state
                tally[state.value if state.ended else type(outcome).__name__.lower()] += 1
    tally["stale"] += len(stale)
    return frozenset(stale), states
