"""Flushes of the PostgreSQL store: each one transaction, of which is known whether it happened."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastsched.clock import RemoteClock
from fastsched.errors import CommitUnknown, StoreUnavailable
from fastsched.ids import new_id
from fastsched.job import Claim, ClaimedJob, NewJob, State
from fastsched.stores.base import ClaimRequest, Flush, Flushed
from fastsched.stores.postgres_batches import (
    Ends,
    copy_data,
    given_twice,
    job_arrays,
    sort_out,
)
from fastsched.stores.postgres_link import (
    CALL_TIMEOUT,
    SQL,
    ConnectionLost,
    Db,
    Link,
    TryAgain,
    again,
    begin,
    run,
    send_all,
)

_log = logging.getLogger("fastsched.postgres")
_PROMOTE_AT_ONCE = 5_000
_ROWS_PER_SECOND = 5_000
"""Slowest rate that a large flush is given time for."""


class Flusher:
    """Writes flushes, and leaves a mark in each: the proof that it was committed."""

    def __init__(self, link: Link, clock: RemoteClock, *, keep_done: bool, lease: float) -> None:
        self._link = link
        self._clock = clock
        self._keep_done = keep_done
        self._lease = lease
        self._id = new_id()  # of this writer, in its marks
        self._flush_no = 0
        self._unsure: dict[str, int] = {}  # jobs of flushes with unknown commits
        self.doubt = False
        """Whether this process may hold claims that it does not know of."""
        self.numbers: dict[str, int] = {}
        """Of the nodes that are known here, by their ids."""

    def flush(self, flush: Flush) -> Flushed:
        return again(lambda: self._flush(flush))

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
            with self._link.use(seconds) as db:
                return self._write(db, flush, seconds)
        except ConnectionLost as error:
            self.doubt = True
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
                run(db, "insert", **job_arrays(others))
            fresh = run(db, "insert_given", **job_arrays(given)) if given else None
            ends = Ends(flush.ends, keep_done=self._keep_done, number_of=self.number)
            ended = {name: run(db, name, **ends.parameters(name)) for name in ends.batches}
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
        promoted = run(db, "promote", limit=_PROMOTE_AT_ONCE)
        rows = run(
            db,
            "claim",
            node=self.number(want.node),
            kinds=list(want.kinds),
            queues=None if want.queues is None else list(want.queues),
            limit=want.limit,
            min_priority=want.min_priority,
            horizon=want.horizon,
        )
        return promoted, rows, run(db, "next_due", horizon=want.horizon)

    def _claimed(self, want: ClaimRequest, promoted: Any, rows: Any, due: Any) -> dict[str, Any]:
        claimed = [ClaimedJob._make(row) for row in rows]
        if len(claimed) > want.limit:
            raise StoreUnavailable(f"claimed {len(claimed)} rows for a limit of {want.limit}")
        claimed.sort(key=lambda job: (-job.priority, job.due_at, job.seq))
        next_due, now = due.fetchone()
        self._clock.read(now)
        return {
            "claimed": claimed,
            "drained": len(claimed) < want.limit and promoted.rowcount < _PROMOTE_AT_ONCE,
            "next_due": next_due,
        }

    def count(self, db: Db, tally: Counter[str]) -> None:
        """Count what a write did that is not a flush."""
        if any(tally.values()):
            self._flush_no += 1
            self._mark(db, tally)

    def fold_marks(self, db: Db) -> None:
        """Put old marks together."""
        self._flush_no += 1
        run(db, "fold_marks", writer=self._id, flush_no=-self._flush_no)

    def _mark(self, db: Db, tally: Counter[str]) -> None:
        """Leave the proof that this transaction was committed, and its counts."""
        counts = {name: n for name, n in tally.items() if n}
        run(db, "mark", writer=self._id, flush_no=self._flush_no, counts=json.dumps(counts))

    def _was_committed(self, flush_no: int, lost: object) -> bool:
        """After a cut connection: whether the flush took place.

        Asked by writing the same mark. If the old transaction is still under way, the server makes
        this wait for it; whichever mark stands decides, for good.
        """
        try:
            with self._link.transaction() as db:
                marked = run(db, "mark_unless_marked", writer=self._id, flush_no=flush_no).rowcount
        except StoreUnavailable as error:
            raise CommitUnknown(f"{lost}; and then {error}") from error
        self._unsure = {i: no for i, no in self._unsure.items() if no != flush_no}
        committed = not marked
        _log.warning("%s; that flush was %s", lost, "committed" if committed else "undone")
        return committed

    def _settle(self, jobs: Sequence[NewJob]) -> frozenset[str]:
        """Of ids given again after an unknown commit: those that were stored the first time."""
        repeated = {job.id: self._unsure[job.id] for job in jobs if job.id in self._unsure}
        stored = {no: self._was_committed(no, "given again") for no in set(repeated.values())}
        return frozenset(job_id for job_id, no in repeated.items() if stored[no])

    def _learn_numbers(self, db: Db, flush: Flush) -> None:
        """Of nodes that another store registered; this process's own are known."""
        nodes = {claim.node for claim, _ in flush.ends}
        if flush.claim is not None:
            nodes.add(flush.claim.node)
        for node in nodes - self.numbers.keys():
            row = run(db, "number", id=node).fetchone()
            if row is not None:
                self.numbers[node] = row[0]

    def number(self, node: str) -> int:
        """The number of a node; 0, which is none's, if it is not registered."""
        return self.numbers.get(node, 0)


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
