"""Worker threads outlive a store that cannot be reached."""

from __future__ import annotations

import threading

import pytest
from builders import claimed_job
from clocks import PATIENCE

from fastsched import Scheduler
from fastsched.backlog import Backlog
from fastsched.clock import SystemClock
from fastsched.errors import StoreUnavailable
from fastsched.executor import Executor
from fastsched.outcomes import DONE, RELEASE
from fastsched.pool import Pool


class OutOfReach:
    """A presence that cannot write the first start."""

    def __init__(self):
        self.refused = False

    def holds(self):
        return True

    def enter(self, slot, job):
        if not self.refused:
            self.refused = True
            raise StoreUnavailable("no server")

    def leave(self, slot):
        pass


class Frozen(OutOfReach):
    """A presence whose process is frozen while it writes the first start, past its lease."""

    def __init__(self):
        self.refused = False
        self.left = []

    def holds(self):
        return not self.refused or bool(self.left)

    def enter(self, slot, job):
        self.refused = True

    def leave(self, slot):
        self.left.append(slot)


@pytest.fixture
def scheduler(tmp_path):
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db")
    scheduler.job(kind="work")(lambda: None)
    return scheduler


def outcomes_of_two_jobs(scheduler, presence):
    clock, ended, both = SystemClock(), [], threading.Event()

    def finish(run, outcome):
        ended.append(outcome)
        if len(ended) == 2:
            both.set()

    backlog = Backlog(clock)
    pool = Pool(
        node="n",
        size=1,
        backlog=backlog,
        executor=Executor(scheduler._handlers, clock),
        presence=presence,
        clock=clock,
        effects=None,
        interrupt_grace=0.1,
        finish=finish,
    )
    backlog.add([claimed_job(), claimed_job()])
    pool.start()
    assert both.wait(PATIENCE)
    backlog.close()
    assert pool.join(PATIENCE)
    pool.close()
    return ended


def test_a_job_whose_start_cannot_be_written_is_given_back_and_the_worker_goes_on(scheduler):
    assert outcomes_of_two_jobs(scheduler, OutOfReach()) == [RELEASE, DONE]


def test_a_job_is_not_started_when_the_place_was_lost_while_its_start_was_written(scheduler):
    assert outcomes_of_two_jobs(scheduler, Frozen()) == [RELEASE, DONE]
