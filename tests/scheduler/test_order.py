"""Ready jobs start by priority, then due time, then insertion: strictly, within a node."""

from __future__ import annotations

import random

import pytest
from builders import in_threads, until
from clocks import PATIENCE

from fastsched import State
from fastsched.pace import MOST_HELD


@pytest.fixture
def ran(scheduler):
    """What the job `note` was given, in the order in which it ran."""
    return []


@pytest.fixture
def scheduler(make_scheduler):
    return make_scheduler(workers=1)


@pytest.fixture
def note(scheduler, ran):
    return scheduler.job(kind="note")(ran.append)


def test_jobs_enqueued_one_by_one_while_the_worker_is_busy_run_in_order(scheduler, gate, note, ran):
    priorities = [5, 9, 7, 0, -5, 8, 9, 5, 32766, -32768, 0]
    with scheduler:
        gate.hold()
        for n, priority in enumerate(priorities):
            note.options(priority=priority).enqueue([priority, n])
        gate.open()
        scheduler.wait_until_idle(PATIENCE)
    assert ran == sorted(ran, key=lambda note: (-note[0], note[1]))
    assert len(ran) == len(priorities)


def test_jobs_of_many_threads_run_in_order(scheduler, gate, note, ran):
    with scheduler:
        gate.hold()
        in_threads(
            4,
            lambda number: [
                note.options(priority=random.randint(-3, 3)).enqueue([number, n]) for n in range(15)
            ],
        )
        priorities = {job.payload: job.priority for job in scheduler.jobs(kind="note")}
        gate.open()
        scheduler.wait_until_idle(PATIENCE)
    started = [priorities[note.job(each).payload] for each in ran]
    assert started == sorted(started, reverse=True)
    assert len(started) == 60


def test_a_flood_of_hotter_jobs_runs_before_the_colder_ones_held_here(scheduler, gate, note, ran):
    """More of them than a node claims at once: the colder ones go back meanwhile."""
    quick = scheduler.job(kind="quick")(lambda: None)
    with scheduler:
        scheduler.enqueue_many(quick.job() for _ in range(300))
        scheduler.wait_until_idle(PATIENCE)  # at this pace the node claims more than it has workers
        cold = [note.job("cold") for _ in range(MOST_HELD)]
        scheduler.enqueue_many([gate.job.options(priority=100).job(), *cold])
        until(lambda: scheduler.stats().workers_active == 1)
        held = scheduler.stats().queue_length
        assert held > 10
        for heat, name in ((99, "hot"), (50, "warm")):
            hotter = note.options(priority=heat)
            scheduler.enqueue_many(hotter.job(name) for _ in range(50))
        gate.open()
        scheduler.wait_until_idle(PATIENCE)
        released = scheduler.stats().released
    assert ran == ["hot"] * 50 + ["warm"] * 50 + ["cold"] * MOST_HELD
    assert released >= held
    stats = scheduler.store_stats()
    assert (stats.done, stats.live) == (401 + MOST_HELD, 0)


def test_a_node_that_is_busy_leaves_new_jobs_to_others(make_scheduler, gates):
    busy = make_scheduler(workers=1)
    gate = gates(busy)
    nodes = []
    for scheduler in (busy, idle := make_scheduler(workers=1)):
        job = scheduler.job(kind="where")(lambda scheduler=scheduler: nodes.append(scheduler))
    with busy, idle:
        gate.hold()
        assert busy.handle(job.enqueue().id).wait(PATIENCE) is State.DONE
        gate.open()
    assert nodes == [idle]


def test_a_future_job_starts_on_time_and_blocks_nothing_before(scheduler, note, ran):
    with scheduler:
        future = note.options(delay=0.4, priority=9).enqueue("future")
        due_at = future.job().due_at
        assert note.enqueue("ready").wait(PATIENCE) is State.DONE
        assert ran == ["ready"]
        assert future.wait(PATIENCE) is State.DONE
        late = scheduler.store_stats().at - due_at
        assert 0 <= late < 0.3, f"started {late:.3f} s late"
    assert ran == ["ready", "future"]


def test_a_retry_starts_after_its_delay_and_not_at_the_next_poll(make_scheduler):
    scheduler = make_scheduler(workers=4)  # so that the claim before it took all there was
    starts = []

    @scheduler.job(kind="again", backoff=lambda attempt, error: 0.2, max_attempts=2)
    def again():
        starts.append(scheduler.store_stats().at)
        if len(starts) == 1:
            raise ValueError("once")

    with scheduler:
        assert again.enqueue().wait(PATIENCE) is State.DONE
    assert 0.2 <= starts[1] - starts[0] < 0.6


def test_jobs_due_at_the_same_time_start_by_priority(scheduler, gate, note, ran):
    with scheduler:
        gate.hold()
        for n, priority in enumerate((1, 3, 2)):
            note.options(delay=0.2 + n / 100, priority=priority).enqueue(priority)
        last = note.options(delay=0.25, priority=-9).enqueue(-9)
        while last.job().due_at > scheduler.store_stats().at:
            pass
        gate.open()
        assert last.wait(PATIENCE) is State.DONE
    assert ran == [3, 2, 1, -9]
