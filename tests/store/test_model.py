"""Random work on a store comes to what a model in plain Python says, and loses no job.

`TestSqlite` compares SQLite with the model, `TestMemory` the store of the simulation;
`TestSideBySide` does the same to SQLite and PostgreSQL at once, which must agree with the model and
with each other in every answer. How many examples: the profile `store` of Hypothesis, or with
FASTSCHED_HYPOTHESIS_PROFILE=store-thorough many more.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from builders import new_job
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastsched import Cancelled, Claim, State
from fastsched.outcomes import DONE, EXPIRE, RELEASE, Cancel, Dead, Retry, Snooze
from fastsched.stores import postgres_nodes
from fastsched.stores.base import Flush

from .lab import Lab, MemoryBase, SqliteBase
from .postgres_base import PostgresBase
from .twins import Twins

STEP = 0.001
"""Time that passes between two operations: no two of them happen at the same moment."""
HOUR = 3600.0
DAY = 24 * HOUR
CRASHES = 3

DELAYS = st.sampled_from([0.0, 0.0, HOUR, 3 * HOUR])
PRIORITIES = st.integers(-2, 2)
QUEUES = ("default", "other")
OUTCOMES = st.sampled_from(
    [
        DONE,
        DONE,
        Retry(0.0),
        Retry(HOUR),
        Snooze(0.0),
        Snooze(HOUR),
        Dead("d"),
        Cancel(),
        EXPIRE,
        RELEASE,
    ]
)
LIVE = (State.SCHEDULED, State.READY, State.CLAIMED)


@dataclass
class Row:
    """What the model knows of a job."""

    seq: int
    state: State
    priority: int
    due_at: float
    deadline: float | None
    given: bool
    queue: str = "default"
    attempt: int = 0
    claim_no: int = 0
    node: str | None = None
    cancel_requested: bool = False
    ended_at: float | None = None


class StoreMachine(RuleBasedStateMachine):
    """Everything that can be done to jobs, on a store and on the model."""

    make_base: ClassVar[type]

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.lab = self.make_lab(Path(self._folder.name))
        self.now = 0.0
        self.rows: dict[str, Row] = {}
        self.totals: Counter[str] = Counter()
        self.nodes: list[str] = []
        self.claims: list[Claim] = []  # ever made
        self.given: dict[str, float] = {}

    def make_lab(self, folder):
        return Lab(self.make_base(folder))

    def teardown(self):
        self.lab.close()
        self._folder.cleanup()

    # The model -----------------------------------------------------------------------------------

    def tick(self, seconds=STEP):
        self.now += seconds
        self.lab.pass_time(seconds)

    def due_state(self, due_at):
        return State.SCHEDULED if due_at > self.now else State.READY

    def end_row(self, job_id, state):
        row = self.rows[job_id]
        row.state, row.node, row.ended_at = state, None, self.now
        self.totals[state] += 1

    def give_back(self, job_id, due_at=None, attempt_back=1):
        """A claimed job comes back, unless it was to be cancelled."""
        row = self.rows[job_id]
        row.node = None
        row.attempt -= attempt_back
        row.due_at = row.due_at if due_at is None else due_at
        if row.cancel_requested:
            self.end_row(job_id, State.CANCELLED)
        else:
            row.state = self.due_state(row.due_at)

    def held_by(self, node):
        return [job_id for job_id, row in self.rows.items() if row.node == node]

    def pick(self, data, states):
        ids = [job_id for job_id, row in self.rows.items() if row.state in states]
        return data.draw(st.sampled_from(ids)) if ids else new_job().id

    # Jobs ----------------------------------------------------------------------------------------

    @rule(
        jobs=st.lists(
            st.tuples(PRIORITIES, DELAYS, st.sampled_from(QUEUES), st.booleans()),
            min_size=1,
            max_size=14,
        ),
        given=st.booleans(),
    )
    def add(self, jobs, given):
        """In one flush, all with ids of their callers or none: their order is that of insertion."""
        self.tick()
        self.store([
            new_job(
                priority=priority,
                delay=delay,
                queue=queue,
                given_id=given,
                deadline=1.5 * HOUR if with_deadline else None,
            )
            for priority, delay, queue, with_deadline in jobs
        ])  # fmt: skip

    @rule(data=st.data(), copies=st.integers(1, 3))
    def add_again(self, data, copies):
        """With an id that was given before, or is new, several times in one flush."""
        self.tick()
        job_id = data.draw(st.sampled_from([*self.given, new_job().id]))
        self.store([new_job(id=job_id, given_id=True)] * copies)

    def store(self, jobs):
        flushed = self.lab.store.flush(Flush(jobs=jobs))
        known, accepted = set(), 0
        for job in jobs:
            if job.given_id and (job.id in self.given or job.id in self.rows):
                known.add(job.id)
                continue
            if job.given_id:
                self.given[job.id] = self.now
            due_at = self.now + job.delay
            self.rows[job.id] = Row(
                seq=self.totals["accepted"],
                state=self.due_state(due_at),
                priority=job.priority,
                due_at=due_at,
                deadline=None if job.deadline is None else due_at + job.deadline,
                given=job.given_id,
                queue=job.queue,
            )
            accepted += 1
            self.totals["accepted"] += 1
        assert (flushed.known, flushed.accepted) == (known, accepted)

    @rule(hours=st.sampled_from([0.1, 1.0, 2.0]))
    def let_time_pass(self, hours):
        self.tick(hours * HOUR)
        for node in self.nodes:  # or their leases would be over
            self.lab.tend(node)

    # Nodes ---------------------------------------------------------------------------------------

    @initialize()
    def begin(self):
        self.register()

    @precondition(lambda self: len(self.nodes) < 3)
    @rule()
    def register(self):
        self.nodes.append(self.lab.mortal_node())

    @precondition(lambda self: self.nodes)
    @rule(
        data=st.data(),
        limit=st.integers(1, 8),
        least=PRIORITIES,
        ahead=st.sampled_from([0.5, 2.0]),
        queues=st.sampled_from([None, None, *([queue] for queue in QUEUES), list(QUEUES)]),
    )
    def claim(self, data, limit, least, ahead, queues):
        self.tick()
        node = data.draw(st.sampled_from(self.nodes))
        flushed = self.lab.claim_flush(
            node, limit=limit, min_priority=least, horizon=ahead * HOUR, queues=queues
        )
        for row in self.rows.values():
            if row.state is State.SCHEDULED and row.due_at <= self.now:
                row.state = State.READY
        fit = {
            i: row
            for i, row in self.rows.items()
            if row.priority >= least and (queues is None or row.queue in queues)
        }
        ready = sorted(
            (i for i, row in fit.items() if row.state is State.READY),
            key=lambda i: (-fit[i].priority, fit[i].due_at, fit[i].seq),
        )
        soon = sorted(
            (
                i
                for i, row in fit.items()
                if row.state is State.SCHEDULED and row.due_at <= self.now + ahead * HOUR
            ),
            key=lambda i: (fit[i].due_at, -fit[i].priority, fit[i].seq),
        )
        expected = (ready + soon)[:limit]
        assert {job.id for job in flushed.claimed} == set(expected)
        assert flushed.drained == (len(expected) < limit)
        for job in flushed.claimed:
            row = self.rows[job.id]
            row.state, row.node = State.CLAIMED, node
            row.attempt += 1
            row.claim_no += 1
            assert (job.attempt, job.claim_no) == (row.attempt, row.claim_no)
            self.claims.append(Claim(job.id, node, job.claim_no))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def leave(self, data):
        self.tick()
        node = data.draw(st.sampled_from(self.nodes))
        self.nodes.remove(node)
        self.lab.leave(node)
        for job_id in self.held_by(node):
            self.give_back(job_id)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def die_and_be_rescued(self, data):
        self.tick()
        node = data.draw(st.sampled_from(self.nodes))
        self.nodes.remove(node)
        self.lab.kill(node)
        rescued = self.lab.store.rescue(CRASHES)
        held = self.held_by(node)
        assert (list(rescued.nodes), rescued.released) == ([node], len(held))
        for job_id in held:
            self.give_back(job_id)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def reconcile(self, data):
        self.tick()
        node = data.draw(st.sampled_from(self.nodes))
        held = self.held_by(node)
        known = data.draw(st.sets(st.sampled_from(held))) if held else set()
        assert self.lab.reconcile(node, frozenset(known)) == len(held) - len(known)
        for job_id in set(held) - known:
            self.give_back(job_id)

    # Ends ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def end(self, data):
        """Runs end, some of them by claims that do not hold any more."""
        self.tick()
        ends = data.draw(
            st.lists(
                st.tuples(st.sampled_from(self.claims), OUTCOMES),
                max_size=4,
                unique_by=lambda end: end[0],
            )
        )
        flushed = self.lab.store.flush(Flush(ends=ends))
        stale, states = set(), {}
        for claim, outcome in ends:
            row = self.rows.get(claim.id)
            if row is None or (row.node, row.claim_no) != (claim.node, claim.claim_no):
                stale.add(claim)
                continue
            match outcome:
                case Retry(delay):
                    self.give_back(claim.id, self.now + delay, attempt_back=0)
                case Snooze(delay):
                    self.give_back(claim.id, self.now + delay)
                case Dead():
                    self.end_row(claim.id, State.DEAD)
                case Cancel():
                    self.end_row(claim.id, State.CANCELLED)
                case _ if outcome is DONE:
                    self.totals["done"] += 1
                    del self.rows[claim.id]
                    continue
                case _ if outcome is EXPIRE:
                    self.end_row(claim.id, State.EXPIRED)
                case _:
                    self.give_back(claim.id)
            states[claim.id] = row.state
        assert (flushed.stale, dict(flushed.states)) == (stale, states)
        self.totals["stale"] += len(stale)

    # Changes -------------------------------------------------------------------------------------

    @rule(data=st.data())
    def cancel(self, data):
        self.tick()
        job_id = self.pick(data, State)
        (answer,) = self.lab.store.cancel([job_id]).values()
        row = self.rows.get(job_id)
        if row is None or row.state.ended:
            assert answer is Cancelled.TOO_LATE
        elif row.state is State.CLAIMED:
            assert answer is Cancelled.REQUESTED
            row.cancel_requested = True
        else:
            assert answer is Cancelled.CANCELLED
            self.end_row(job_id, State.CANCELLED)

    @rule(data=st.data())
    def requeue(self, data):
        self.tick()
        job_id = self.pick(data, [State.DEAD])
        row = self.rows.get(job_id)
        assert self.lab.store.requeue([job_id]) == ([job_id] if row else [])
        if row is not None:
            row.state, row.due_at, row.deadline, row.ended_at = State.READY, self.now, None, None
            row.attempt, row.cancel_requested = 0, False
            self.totals["dead"] -= 1

    @rule(data=st.data())
    def run_now(self, data):
        self.tick()
        job_id = self.pick(data, LIVE)
        row = self.rows.get(job_id)
        moved = row is not None and row.state is State.SCHEDULED
        assert self.lab.store.run_now([job_id]) == ([job_id] if moved else [])
        if moved:
            row.state, row.due_at = State.READY, self.now

    @rule(data=st.data())
    def discard(self, data):
        self.tick()
        job_id = self.pick(data, [State.DEAD, State.CANCELLED])
        row = self.rows.get(job_id)
        gone = row is not None and row.state is State.DEAD
        assert self.lab.store.discard([job_id]) == ([job_id] if gone else [])
        if gone:
            del self.rows[job_id]

    @rule()
    def expire(self):
        self.tick()
        expected = {
            job_id
            for job_id, row in self.rows.items()
            if row.deadline is not None
            and row.deadline < self.now
            and row.state in (State.SCHEDULED, State.READY)
        }
        assert {row[0] for row in self.lab.store.expire(1_000)} == expected
        for job_id in expected:
            self.end_row(job_id, State.EXPIRED)

    @rule(age=st.sampled_from([0.5 * HOUR, 2.5 * HOUR]))
    def prune(self, age):
        self.tick()
        old = [
            job_id
            for job_id, row in self.rows.items()
            if row.state.ended and row.ended_at < self.now - age
        ]
        forgotten = [i for i, given_at in self.given.items() if given_at < self.now - age]
        gone = self.lab.store.prune(done_for=age, ended_for=age, ids_for=age, limit=1_000)
        assert gone == len(old) + len(forgotten)
        for job_id in old:
            del self.rows[job_id]
        for job_id in forgotten:
            del self.given[job_id]

    # After every step ----------------------------------------------------------------------------

    @invariant()
    def the_store_holds_what_the_model_holds(self):
        page = {"state": None, "kind": None, "queue": None, "after": None, "limit": 10_000}
        stored = {
            job.id: (job.state, job.node, job.attempt, job.claim_no, job.cancel_requested)
            for job in self.lab.store.jobs(**page)
        }
        expected = {
            job_id: (row.state, row.node, row.attempt, row.claim_no, row.cancel_requested)
            for job_id, row in self.rows.items()
        }
        assert stored == expected

    @invariant()
    def every_job_ever_accepted_is_accounted_for(self):
        totals = self.lab.store.counts().totals
        for name in ("accepted", "done", "dead", "cancelled", "expired", "stale"):
            assert totals.get(name, 0) == self.totals[name], name
        self.lab.check_conservation()


class SideBySideMachine(StoreMachine):
    """The same on SQLite and PostgreSQL side by side."""

    make_postgres: ClassVar[Callable[[], PostgresBase]]

    def make_lab(self, folder):
        postgres = self.make_postgres()
        postgres.empty()
        return Twins([Lab(SqliteBase(folder)), Lab(postgres)])


def settled(case, *, share=1.0):
    """The test case of a machine, with the examples that the profile gives it."""
    profile = settings.get_profile(os.environ.get("FASTSCHED_HYPOTHESIS_PROFILE", "store"))
    case.settings = settings(
        profile,
        max_examples=max(int(profile.max_examples * share), 1),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case.pytestmark = [pytest.mark.timeout(3_600)]  # a failure is shrunk for a while
    return case


def machine_on(make_base):
    return settled(
        type(f"{make_base.__name__}Machine", (StoreMachine,), {"make_base": make_base}).TestCase
    )


TestSqlite = machine_on(SqliteBase)
TestMemory = machine_on(MemoryBase)


class TestSideBySide(settled(SideBySideMachine.TestCase, share=0.5)):
    @pytest.fixture(autouse=True)
    def on_postgres(self, pg_url, monkeypatch):
        monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
        SideBySideMachine.make_postgres = staticmethod(lambda: PostgresBase(pg_url))
