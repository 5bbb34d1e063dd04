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


@pytest.fixture
def scheduler(tmp_path):
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db")
    scheduler.job(kind="work")(lambda: None)
    return scheduler


def test_a_job_whose_start_cannot_be_written_is_given_back_and_the_worker_goes_on(scheduler):
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
        presence=OutOfReach(),
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
    assert ended == [RELEASE, DONE]
