"""Random work on a store comes to what it comes to on the store in plain Python that the simulation
runs on, and loses no job."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from builders import new_job
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastsched import Claim, State
from fastsched.outcomes import DONE, EXPIRE, RELEASE, Cancel, Dead, Retry, Snooze
from fastsched.stores.base import Flush

from .lab import Lab, MemoryBase, SqliteBase

STEP = 0.001
"""Time that passes between two operations: no two of them happen at the same moment."""
HOUR = 3600.0
CRASHES = 3

DELAYS = st.sampled_from([0.0, 0.0, HOUR, 3 * HOUR])
PRIORITIES = st.integers(-2, 2)
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


class StoreMachine(RuleBasedStateMachine):
    """Everything that can be done to jobs, on a store and on the model."""

    make_base: ClassVar[Callable[[Path], Any]]

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.lab = Lab(self.make_base(Path(self._folder.name)))
        self.model = Lab(MemoryBase(knows_what_ran=self.lab.knows_what_ran))
        self.nodes: list[str] = []
        self.claims: list[Claim] = []  # ever made
        self.given: list[str] = []

    def teardown(self):
        self.lab.close()
        self._folder.cleanup()

    def both(self, do: Callable[[Lab], Any]) -> Any:
        """Do it to the store and to the model: both must answer the same."""
        for lab in (self.lab, self.model):
            lab.pass_time(STEP)
        answer, expected = do(self.lab), do(self.model)
        assert answer == expected
        return expected

    def pick(self, data, states):
        """The id of a job in one of the states, or of none."""
        ids = [job.id for job in jobs_of(self.model) if job.state in states]
        return data.draw(st.sampled_from(ids)) if ids else new_job().id

    # Jobs ----------------------------------------------------------------------------------------

    @rule(jobs=st.lists(st.tuples(PRIORITIES, DELAYS, st.booleans()), min_size=1, max_size=6))
    def add(self, jobs):
        self.store([
            new_job(
                priority=priority,
                delay=delay,
                given_id=given,
                deadline=1.5 * HOUR if priority == 2 else None,
            )
            for priority, delay, given in jobs
        ])  # fmt: skip

    @rule(data=st.data(), copies=st.integers(1, 3))
    def add_again(self, data, copies):
        """With an id that was given before, or is new, several times in one flush."""
        job_id = data.draw(st.sampled_from([*self.given, new_job().id]))
        self.store([new_job(id=job_id, given_id=True)] * copies)

    def store(self, jobs):
        self.given += [job.id for job in jobs if job.given_id and job.id not in self.given]

        def do(lab):
            flushed = lab.store.flush(Flush(jobs=jobs))
            return flushed.known, flushed.accepted

        self.both(do)

    @rule(hours=st.sampled_from([0.1, 1.0, 2.0]))
    def let_time_pass(self, hours):
        for lab in (self.lab, self.model):
            lab.pass_time(hours * HOUR)

    # Nodes ---------------------------------------------------------------------------------------

    @initialize()
    def begin(self):
        self.register()

    @precondition(lambda self: len(self.nodes) < 3)
    @rule()
    def register(self):
        node = self.lab.mortal_node()
        self.model.mortal_node(node)
        self.nodes.append(node)

    @precondition(lambda self: self.nodes)
    @rule(
        data=st.data(), limit=st.integers(1, 4), least=PRIORITIES, ahead=st.sampled_from([0.5, 2.0])
    )
    def claim(self, data, limit, least, ahead):
        node = data.draw(st.sampled_from(self.nodes))

        def do(lab):
            flushed = lab.claim_flush(node, limit=limit, min_priority=least, horizon=ahead * HOUR)
            claimed = [
                (job.id, job.attempt, job.claim_no, bool(job.suspect)) for job in flushed.claimed
            ]
            return claimed, flushed.drained

        claimed, _ = self.both(do)
        self.claims += [Claim(job_id, node, claim_no) for job_id, _, claim_no, _ in claimed]

    def take_one(self, data):
        node = data.draw(st.sampled_from(self.nodes))
        self.nodes.remove(node)
        return node

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def leave(self, data):
        node = self.take_one(data)
        self.both(lambda lab: lab.store.leave(node))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def die_and_be_rescued(self, data):
        """With some of what it held running."""
        node = self.take_one(data)
        held = [job for job in jobs_of(self.model) if job.node == node]
        running = (
            data.draw(st.lists(st.sampled_from(held), unique=True, max_size=3)) if held else []
        )

        def do(lab):
            for slot, job in enumerate(running):
                lab.presences[node].enter(slot, job)
            lab.kill(node)
            rescued = lab.store.rescue(CRASHES)
            dead = [tuple(job) for job in rescued.dead]
            return list(rescued.nodes), rescued.released, list(rescued.charged), dead

        self.both(do)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def reconcile(self, data):
        node = data.draw(st.sampled_from(self.nodes))
        held = [job.id for job in jobs_of(self.model) if job.node == node]
        known = data.draw(st.frozensets(st.sampled_from(held))) if held else frozenset()
        self.both(lambda lab: lab.store.reconcile(node, known))

    # Ends ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def end(self, data):
        """Runs end, some of them by claims that do not hold any more."""
        ends = data.draw(
            st.lists(
                st.tuples(st.sampled_from(self.claims), OUTCOMES),
                max_size=4,
                unique_by=lambda end: end[0],
            )
        )

        def do(lab):
            flushed = lab.store.flush(Flush(ends=ends))
            return flushed.stale, dict(flushed.states)

        self.both(do)

    # Changes -------------------------------------------------------------------------------------

    @rule(data=st.data())
    def cancel(self, data):
        job_id = self.pick(data, State)
        self.both(lambda lab: lab.store.cancel([job_id]))

    @rule(data=st.data())
    def requeue(self, data):
        job_id = self.pick(data, [State.DEAD])
        self.both(lambda lab: lab.store.requeue([job_id]))

    @rule(data=st.data())
    def run_now(self, data):
        job_id = self.pick(data, LIVE)
        self.both(lambda lab: lab.store.run_now([job_id]))

    @rule(data=st.data())
    def discard(self, data):
        job_id = self.pick(data, [State.DEAD, State.CANCELLED])
        self.both(lambda lab: lab.store.discard([job_id]))

    @rule()
    def expire(self):
        self.both(lambda lab: sorted(job[0] for job in lab.store.expire(1_000)))

    @rule(age=st.sampled_from([0.5 * HOUR, 2.5 * HOUR]))
    def prune(self, age):
        self.both(
            lambda lab: lab.store.prune(done_for=age, ended_for=age, ids_for=age, limit=1_000)
        )

    # After every step ----------------------------------------------------------------------------

    @invariant()
    def the_store_holds_what_the_model_holds(self):
        assert [facts_of(job) for job in jobs_of(self.lab)] == [
            facts_of(job) for job in jobs_of(self.model)
        ]

    @invariant()
    def every_job_ever_accepted_is_accounted_for(self):
        for name in ("accepted", "done", "dead", "cancelled", "expired", "stale", "crashed"):
            assert self.lab.total(name) == self.model.total(name), name
        self.lab.check_conservation()
        self.model.check_conservation()


def jobs_of(lab):
    return lab.store.jobs(state=None, kind=None, queue=None, after=None, limit=10_000)


def facts_of(job):
    """What must be the same; times apart, which are a store's own."""
    names = ("id", "state", "priority", "node", "attempt", "claim_no", "crashes", "reason")
    return [getattr(job, name) for name in names] + [bool(job.cancel_requested)]


def machine_on(make_base, *, examples):
    machine = type(f"{make_base.__name__}Machine", (StoreMachine,), {"make_base": make_base})
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case.pytestmark = [pytest.mark.timeout(300)]  # a failure is shrunk for a while
    return case


TestSqlite = machine_on(SqliteBase, examples=30)
