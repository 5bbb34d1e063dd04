"""What becomes of a job once it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest
from clocks import PATIENCE

from fastsched import Cancel, Cancelled, JobContext, Retry, Snooze, State, current_job
from fastsched.retry import fixed


def test_ready_jobs_run_by_priority_then_by_insertion(make):
    scheduler = make(workers=1)
    ran = []
    note = scheduler.job(kind="note")(lambda name: ran.append(name))
    for priority in (0, 5, -5, 5, 0):
        note.options(priority=priority).enqueue(f"{priority}.{len(ran)}.{priority}")
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
    assert [name.split(".")[0] for name in ran] == ["5", "5", "0", "0", "-5"]


def test_a_future_job_of_high_priority_blocks_nothing(make):
    scheduler = make(workers=1)
    job = scheduler.job(kind="job")(lambda: None)
    later = job.options(delay=3600, priority=100).enqueue()
    with scheduler:
        assert job.enqueue().wait(PATIENCE) is State.DONE
    assert later.state() is State.SCHEDULED


def test_a_hotter_job_overtakes_those_that_were_claimed_before(make):
    scheduler = make(workers=1)
    gate, busy, ran = threading.Event(), threading.Event(), []

    @scheduler.job(kind="gate", priority=9)
    def hold() -> None:
        busy.set()
        gate.wait(PATIENCE)

    note = scheduler.job(kind="note")(lambda name: ran.append(name))
    hold.enqueue()
    scheduler.enqueue_many(note.job("cold") for _ in range(20))
    with scheduler:
        assert busy.wait(PATIENCE)
        note.options(priority=5).enqueue("hot")
        gate.set()
        scheduler.wait_until_idle(PATIENCE)
    assert ran == ["hot"] + ["cold"] * 20


def test_a_handler_knows_its_job(scheduler):
    seen = {}

    @scheduler.job(kind="look", queue="q", max_attempts=3)
    def look(ctx: JobContext, word: str) -> None:
        seen.update(ctx=ctx, word=word, current=current_job())

    look_kind = look.kind
    with scheduler:
        handle = look.enqueue("hi")
        assert handle.wait(PATIENCE) is State.DONE
    ctx = seen["ctx"]
    assert (ctx.id, ctx.kind, ctx.queue) == (handle.id, look_kind, "q")
    assert (ctx.attempt, ctx.max_attempts, ctx.claim.claim_no) == (1, 3, 1)
    assert seen["current"] is ctx
    with pytest.raises(LookupError):
        current_job()


def test_failures_are_retried_and_end_as_a_dead_letter_that_can_be_requeued(scheduler):
    fail, attempts = threading.Event(), []
    fail.set()

    @scheduler.job(kind="fragile", max_attempts=3, backoff=fixed(0))
    def fragile(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        if fail.is_set():
            raise ValueError("no such luck")

    with scheduler:
        handle = fragile.enqueue()
        assert handle.wait(PATIENCE) is State.DEAD
        assert attempts == [1, 2, 3]
        (letter,) = scheduler.dead_letters()
        assert (letter.id, letter.attempt) == (handle.id, 3)
        assert str(letter.failure) == "ValueError: no such luck"
        assert "in fragile" in letter.failure.traceback
        stats = scheduler.stats()
        assert (stats.failed, stats.retried, stats.dead) == (3, 2, 1)
        fail.clear()
        assert scheduler.requeue(handle.id) == [handle.id]
        assert handle.wait(PATIENCE) is State.DONE
        assert attempts == [1, 2, 3, 1]
        assert scheduler.requeue(handle.id) == []


def test_outcomes_are_values(scheduler):
    answers = {"snooze": [Snooze(0), None], "retry": [Retry(0, "again"), None],
               "cancel": [Cancel("unwanted")]}  # fmt: skip
    attempts = []

    @scheduler.job(kind="answer", max_attempts=2)
    def answer(ctx: JobContext, name: str) -> object:
        attempts.append((name, ctx.attempt))
        return answers[name].pop(0)

    with scheduler:
        ends = {name: answer.enqueue(name).wait(PATIENCE) for name in ("snooze", "retry", "cancel")}
    assert ends == {"snooze": State.DONE, "retry": State.DONE, "cancel": State.CANCELLED}
    assert attempts == [("snooze", 1), ("snooze", 1), ("retry", 1), ("retry", 2), ("cancel", 1)]


def test_a_job_that_would_start_after_its_deadline_expires(scheduler):
    expired = []
    scheduler.on_expired(lambda event: expired.append(event.id))
    job = scheduler.job(kind="job")(lambda: None)
    handle = job.options(deadline=0).enqueue()
    with scheduler:
        assert handle.wait(PATIENCE) is State.EXPIRED
    assert expired == [handle.id]
    assert scheduler.store_stats().expired == 1


def test_a_job_is_cancelled_before_it_starts(scheduler):
    job = scheduler.job(kind="job")(lambda: None)
    handle = job.enqueue()
    assert handle.cancel() is Cancelled.CANCELLED
    assert handle.cancel() is Cancelled.TOO_LATE
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
        assert scheduler.stats().dispatched == 0
    assert handle.state() is State.CANCELLED


def test_a_running_job_is_asked_to_stop(scheduler):
    running = threading.Event()

    @scheduler.job(kind="job")
    def job(ctx: JobContext) -> None:
        running.set()
        ctx.wait(PATIENCE)
        ctx.check()

    with scheduler:
        handle = job.enqueue()
        assert running.wait(PATIENCE)
        assert handle.cancel() is Cancelled.REQUESTED
        assert handle.wait(PATIENCE) is State.CANCELLED


def test_stopping_gives_back_what_does_not_end_in_time(make):
    first = make(workers=1, interrupt_grace=0.05)
    running = threading.Event()

    def register(scheduler) -> Callable[..., object]:
        @scheduler.job(kind="job")
        def job(ctx: JobContext) -> None:
            running.set()
            if scheduler is first:
                ctx.wait(PATIENCE)
                ctx.check()

        return job

    job = register(first)
    first.start()
    handles = [job.enqueue() for _ in range(3)]
    assert running.wait(PATIENCE)
    first.stop(0.0)
    assert [handle.job().attempt for handle in handles] == [0, 0, 0]
    second = make()
    register(second)
    with second:
        second.wait_until_idle(PATIENCE)
    assert second.stats().completed == 3


def test_jobs_survive_a_restart(make):
    make().job(kind="job")(lambda: None).enqueue()
    later = make()
    ran = threading.Event()
    later.job(kind="job")(ran.set)
    with later:
        assert ran.wait(PATIENCE)


def test_every_transition_is_one_log_record_without_arguments(scheduler, caplog):
    caplog.set_level(logging.INFO, "fastsched.jobs")
    job = scheduler.job(kind="job")(lambda secret: None)
    with scheduler:
        handle = job.enqueue("canary-4711")
        handle.wait(PATIENCE)
    (record,) = [r for r in caplog.records if r.name == "fastsched.jobs"]
    assert (record.job_id, record.kind, record.queue, record.attempt) == (
        handle.id, "job", "default", 1,
    )  # fmt: skip
    assert record.duration >= 0
    assert "canary" not in caplog.text


def test_done_jobs_can_be_kept(make):
    scheduler = make(keep_done=3600)
    job = scheduler.job(kind="job")(lambda: None)
    with scheduler:
        handle = job.enqueue()
        handle.wait(PATIENCE)
    assert handle.job().state is State.DONE


def test_the_books_balance_under_many_threads(make):
    scheduler = make(workers=8)

    @scheduler.job(kind="mixed", max_attempts=2, backoff=fixed(0))
    def mixed(number: int) -> object:
        if number % 10 == 0:
            raise ValueError(number)
        return Cancel() if number % 10 == 1 else None

    with scheduler:
        scheduler.enqueue_many(mixed.job(number) for number in range(500))
        scheduler.wait_until_idle(PATIENCE)
        stats, store = scheduler.stats(), scheduler.store_stats()
    assert (stats.completed, stats.dead, stats.cancelled) == (400, 50, 50)
    assert (stats.retried, stats.dispatched) == (50, 550)
    assert (store.accepted, store.done, store.dead, store.cancelled) == (500, 400, 50, 50)
    assert store.live == 0
