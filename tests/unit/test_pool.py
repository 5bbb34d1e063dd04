"""Worker threads outlive a store that cannot be reached."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from builders import claimed_job, until
from clocks import PATIENCE

from fastsched import Scheduler
from fastsched.backlog import Backlog
from fastsched.clock import SystemClock
from fastsched.errors import StoreUnavailable
from fastsched.executor import Executor
from fastsched.outcomes import DONE, RELEASE, Retry
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


class InReach(OutOfReach):
    def __init__(self):
        self.suspects = []

    def enter(self, slot, job):
        if job.suspect:
            self.suspects.append(job.id)


@pytest.fixture
def make_pool(tmp_path):
    """Makes a pool of one worker for a function; with it, its backlog and what ended."""

    def make(function, presence):
        scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db")
        scheduler.job(kind="work")(function)
        clock, ended = SystemClock(), []
        backlog = Backlog(clock)
        pool = Pool(
            node="n",
            size=1,
            backlog=backlog,
            executor=Executor(scheduler._handlers, clock),
            presence=presence,
            clock=clock,
            effects=None,
            interrupt_grace=0.05,
            finish=lambda run, outcome: ended.append(outcome),
        )
        pool.start()
        made.append((pool, backlog))
        return pool, backlog, ended

    made = []
    yield make
    for pool, backlog in made:
        backlog.close()
        assert pool.join(PATIENCE)
        pool.close()


def test_a_job_whose_start_cannot_be_written_is_given_back_and_the_worker_goes_on(make_pool):
    _, backlog, ended = make_pool(lambda: None, OutOfReach())
    backlog.add([claimed_job(), claimed_job()])
    until(lambda: len(ended) == 2)
    assert ended == [RELEASE, DONE]


def test_a_job_is_not_started_when_the_place_was_lost_while_its_start_was_written(make_pool):
    _, backlog, ended = make_pool(lambda: None, Frozen())
    backlog.add([claimed_job(), claimed_job()])
    until(lambda: len(ended) == 2)
    assert ended == [RELEASE, DONE]


def test_a_worker_that_runs_out_of_memory_outside_of_the_handler_goes_on(make_pool):
    class NoMemory(OutOfReach):
        def enter(self, slot, job):
            if not entered:
                entered.append(job)
                raise MemoryError

    entered = []
    _, backlog, ended = make_pool(lambda: None, NoMemory())
    backlog.add([claimed_job(max_attempts=2), claimed_job()])
    until(lambda: len(ended) == 2)
    assert isinstance(ended[0], Retry)
    assert ended[0].failure.type == "MemoryError"
    assert ended[1] is DONE


def test_an_end_is_handed_on_once_there_is_memory_for_it(make_pool):
    pool, backlog, ended = make_pool(lambda: None, InReach())
    hand_on, refused = pool._finish, []

    def finish(run, outcome):
        if len(refused) < 2:
            refused.append(run)
            raise MemoryError
        hand_on(run, outcome)

    pool._finish = finish
    backlog.add([claimed_job()])
    until(lambda: ended)
    assert ended == [DONE]
    assert len(refused) == 2


def test_workers_that_were_written_off_are_made_good_when_their_runs_return(make_pool):
    may_return, deaf = threading.Event(), count()

    def work():
        if next(deaf) < 2:  # the worker, and the one that replaces it
            may_return.wait(PATIENCE)

    pool, backlog, ended = make_pool(work, InReach())
    backlog.add([claimed_job(timeout=0.01), claimed_job(timeout=0.01)])
    until(lambda: pool.zombies == 2)
    may_return.set()
    until(lambda: pool.zombies == 0)
    backlog.add([claimed_job()])
    until(lambda: len(ended) == 3)
    assert ended[-1] is DONE


def test_jobs_do_not_wait_for_workers_that_are_all_written_off(make_pool):
    may_return = threading.Event()
    pool, backlog, ended = make_pool(lambda: may_return.wait(PATIENCE), InReach())
    backlog.add([claimed_job(timeout=0.01), claimed_job(timeout=0.01), claimed_job()])
    until(lambda: len(ended) == 3)
    assert ended[-1] is RELEASE
    assert not pool.able
    may_return.set()
    until(lambda: pool.able)


def test_a_suspect_does_not_count_as_running_alone_beside_a_run_that_was_written_off(make_pool):
    may_return, deaf = threading.Event(), count()

    def work():
        if next(deaf) == 0:
            may_return.wait(PATIENCE)

    presence = InReach()
    pool, backlog, ended = make_pool(work, presence)
    backlog.add([claimed_job(timeout=0.01)])
    until(lambda: pool.zombies == 1)
    beside, alone = claimed_job(suspect=True), claimed_job(suspect=True)
    backlog.add([beside])
    until(lambda: len(ended) == 2)
    may_return.set()
    until(lambda: pool.zombies == 0)
    backlog.add([alone])
    until(lambda: len(ended) == 3)
    assert presence.suspects == [alone.id]
