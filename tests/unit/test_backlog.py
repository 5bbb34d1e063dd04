"""Jobs come out of the backlog in the order in which they must run, each to one worker."""

from __future__ import annotations

import queue
import random
import sys

import pytest
from builders import claimed_job, in_thread, in_threads
from clocks import PATIENCE, ManualClock
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched.backlog import SUSPECT_PATIENCE, SUSPECT_PAUSE, Backlog


@pytest.fixture
def backlog(clock):
    return Backlog(clock)


def due_in(clock, seconds, **fields):
    return claimed_job(due_at=clock.now() + seconds, **fields)


def drain(backlog):
    """All that is there; all of it is ready."""
    return [backlog.take() for _ in range(len(backlog))]


# Order -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 0)), max_size=30))
def test_ready_jobs_run_by_priority_then_due_time_then_insertion(keys):
    clock = ManualClock()
    backlog = Backlog(clock)
    jobs = [due_in(clock, due, priority=priority) for priority, due in keys]
    backlog.add(jobs)
    assert drain(backlog) == sorted(jobs, key=lambda j: (-j.priority, j.due_at, j.seq))


def test_a_hotter_job_added_later_runs_first(backlog):
    cold = claimed_job(priority=1)
    backlog.add([cold])
    hot = claimed_job(priority=2)
    backlog.add([hot])
    assert [backlog.take(), backlog.take()] == [hot, cold]


def test_a_future_job_never_blocks_a_ready_one(backlog, clock):
    future = due_in(clock, 10, priority=100)
    ready = due_in(clock, 0, priority=-100)
    backlog.add([future, ready])
    assert backlog.take() == ready
    waiting = in_thread(backlog.take)
    assert clock.until_waiting(1) == [10.0]
    clock.advance(10)
    assert waiting.get() == future


def test_timers_run_when_due_and_by_priority_among_themselves(backlog, clock):
    cold, hot, late = (
        due_in(clock, 1, priority=1),
        due_in(clock, 2, priority=2),
        due_in(clock, 3, priority=3),
    )
    backlog.add([late, cold, hot])
    clock.advance(2)
    assert [backlog.take(), backlog.take()] == [hot, cold]
    clock.advance(1)
    assert backlog.take() == late


# Waiting -----------------------------------------------------------------------------------------


def test_a_worker_waits_for_a_job(backlog, clock):
    waiting = in_thread(backlog.take)
    assert clock.until_waiting(1) == [None]
    job = claimed_job()
    backlog.add([job])
    assert waiting.get() == job


def test_one_of_the_sleepers_watches_the_time(backlog, clock):
    backlog.add([due_in(clock, 5)])
    workers = [in_thread(backlog.take) for _ in range(3)]
    assert sorted(clock.until_waiting(3), key=str) == [5.0, None, None]
    backlog.close()
    assert [worker.get() for worker in workers] == [None] * 3


def test_a_timer_sooner_than_the_watched_one_is_noticed(backlog, clock):
    late = due_in(clock, 60)
    backlog.add([late])
    worker = in_thread(backlog.take)
    assert clock.until_waiting(1) == [60.0]
    soon = due_in(clock, 1)
    backlog.add([soon])
    while clock.until_waiting(1) != [1.0]:
        pass
    clock.advance(1)
    assert worker.get() == soon


def test_the_watch_is_handed_on_by_who_takes_a_job(backlog, clock):
    first, second = due_in(clock, 1), due_in(clock, 2)
    backlog.add([first, second])
    workers = [in_thread(backlog.take), in_thread(backlog.take)]
    clock.until_waiting(2)
    clock.advance(1)
    while clock.until_waiting(1) != [1.0]:  # the other watches now
        pass
    clock.advance(1)
    assert {worker.get() for worker in workers} == {first, second}


def test_jobs_added_together_wake_as_many_workers(backlog, clock):
    workers = [in_thread(backlog.take) for _ in range(4)]
    clock.until_waiting(4)
    jobs = [claimed_job() for _ in range(4)]
    backlog.add(jobs)
    assert {worker.get() for worker in workers} == set(jobs)


def test_a_clock_set_back_makes_no_timer_early(backlog, clock):
    job = due_in(clock, 10)
    backlog.add([job])
    clock.step(-100)
    worker = in_thread(backlog.take)
    assert clock.until_waiting(1) == [110.0]
    clock.advance(110)
    assert worker.get() == job


# Taking out --------------------------------------------------------------------------------------


def test_a_waiting_job_can_be_taken_out(backlog, clock):
    ready, timer, suspect = claimed_job(), due_in(clock, 5), claimed_job(suspect=True)
    backlog.add([ready, timer, suspect])
    for job in (ready, timer, suspect):
        assert backlog.remove(job.id) == job
        assert backlog.remove(job.id) is None
    assert len(backlog) == 0
    assert backlog.coldest() is None


def test_a_job_that_was_taken_cannot_be_taken_out(backlog):
    job = claimed_job()
    backlog.add([job])
    assert backlog.take() == job
    assert backlog.remove(job.id) is None


def test_the_coldest_priority_is_that_of_what_waits_due_or_not(backlog, clock):
    assert backlog.coldest() is None
    backlog.add([claimed_job(priority=-9, suspect=True), due_in(clock, 1, suspect=True)])
    assert backlog.coldest() is None  # suspects run apart from the others
    hot, cold, timer = (
        claimed_job(priority=5),
        claimed_job(priority=3),
        due_in(clock, 1, priority=1),
    )
    backlog.add([hot, cold, timer, claimed_job(priority=3)])
    assert (backlog.coldest(), backlog.timers) == (1, 2)
    assert backlog.remove(timer.id) == timer
    assert (backlog.coldest(), backlog.timers) == (3, 1)
    assert backlog.remove(cold.id) == cold
    assert backlog.coldest() == 3
    backlog.clear()
    assert backlog.coldest() is None


def test_colder_jobs_are_taken_out_and_the_others_keep_their_order(backlog):
    jobs = [claimed_job(priority=priority) for priority in (1, 5, 3, 5, 2, 3)]
    backlog.add(jobs)
    assert sorted(job.priority for job in backlog.take_colder(3)) == [1, 2]
    assert drain(backlog) == [jobs[1], jobs[3], jobs[2], jobs[5]]
    assert backlog.coldest() is None


def test_clear_takes_everything_out_and_goes_on(backlog, clock):
    jobs = [claimed_job(), due_in(clock, 5), claimed_job(suspect=True)]
    backlog.add(jobs)
    assert set(backlog.clear()) == set(jobs)
    assert len(backlog) == 0
    job = claimed_job()
    backlog.add([job])
    assert backlog.take() == job


def test_close_gives_back_what_is_left_and_lets_the_workers_go(backlog, clock):
    workers = [in_thread(backlog.take) for _ in range(2)]
    clock.until_waiting(2)
    timer = due_in(clock, 5)
    backlog.add([timer])
    assert backlog.close() == [timer]
    assert [worker.get() for worker in workers] == [None, None]
    assert backlog.take() is None
    assert backlog.close() == []


def test_started_and_running_are_counted(backlog):
    backlog.add([claimed_job(), claimed_job(), claimed_job()])
    backlog.take()
    backlog.take()
    assert (backlog.started, backlog.running, len(backlog)) == (2, 2, 1)
    backlog.finished()
    backlog.take(finished=True)
    assert (backlog.started, backlog.running, len(backlog)) == (3, 1, 0)


# Suspects ----------------------------------------------------------------------------------------


def test_a_suspect_runs_alone(backlog, clock):
    running, suspect, other = claimed_job(), claimed_job(suspect=True), claimed_job()
    backlog.add([running])
    assert backlog.take() == running
    backlog.add([suspect, other])
    taken = queue.SimpleQueue()
    for _ in range(2):
        in_thread(lambda: taken.put(backlog.take()))
    clock.until_waiting(2)  # one job runs: both wait, for all that another is ready
    backlog.finished()
    assert taken.get(timeout=PATIENCE) == suspect
    clock.until_waiting(1)  # a suspect runs: the other still waits
    assert len(backlog) == 1
    backlog.finished()
    assert taken.get(timeout=PATIENCE) == other


def test_suspects_run_one_after_the_other(backlog, clock):
    first, second = claimed_job(suspect=True, priority=2), claimed_job(suspect=True, priority=1)
    backlog.add([second, first])
    assert backlog.take() == first
    worker = in_thread(backlog.take)
    clock.until_waiting(1)
    backlog.finished()
    assert worker.get() == second


def test_starts_are_held_back_for_a_suspect_but_not_for_ever(backlog, clock):
    long, suspect, ready = claimed_job(), claimed_job(suspect=True), claimed_job()
    backlog.add([long])
    backlog.take()
    backlog.add([suspect, ready])
    worker = in_thread(backlog.take)
    assert clock.until_waiting(1) == [SUSPECT_PATIENCE]
    clock.advance(SUSPECT_PATIENCE)
    assert worker.get() == ready  # the long one was not done in time: the others go on
    backlog.add([claimed_job(), claimed_job()])
    assert not backlog.take().suspect
    clock.advance(SUSPECT_PAUSE + 1)
    worker = in_thread(backlog.take)
    assert clock.until_waiting(1) == [SUSPECT_PATIENCE]  # the next try
    backlog.close()
    assert worker.get() is None


def test_nobody_is_woken_by_time_while_a_suspect_runs_alone(backlog, clock):
    backlog.add([claimed_job(suspect=True), claimed_job(suspect=True), claimed_job()])
    assert backlog.take().suspect
    worker = in_thread(backlog.take)
    assert clock.until_waiting(1) == [None]
    backlog.close()
    assert worker.get() is None


def test_a_suspect_due_later_is_a_suspect_when_it_is_due(backlog, clock):
    suspect = due_in(clock, 1, suspect=True, priority=-1)
    backlog.add([suspect])
    clock.advance(1)
    backlog.add([claimed_job()])
    assert backlog.take() == suspect


# Threads -----------------------------------------------------------------------------------------


@pytest.fixture
def eager_switching():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
def test_many_threads_lose_no_job_and_take_none_twice(backlog, clock):
    jobs = [
        due_in(clock, n % 3 - 2, priority=n % 5, suspect=n % 50 == 0, seq=n) for n in range(1_500)
    ]

    def work(number):
        if number < 3:
            mine = jobs[number::3]
            for start in range(0, len(mine), 7):
                backlog.add(mine[start : start + 7])
            return []
        if number == 3:
            removed = (backlog.remove(random.choice(jobs).id) for _ in range(500))
            return [job for job in removed if job is not None]
        took, finished = [], False
        while (job := backlog.take(finished)) is not None:
            finished = True
            took.append(job)
            if backlog.started % 100 == 0:
                took += backlog.take_colder(2)
        return took

    workers = [in_thread(work, number) for number in range(4, 8)]
    taken = [job for part in in_threads(4, work) for job in part]
    while len(backlog):
        pass
    taken += backlog.close()
    for worker in workers:
        taken += worker.get()
    assert len(taken) == len(jobs)
    assert set(taken) == set(jobs)
