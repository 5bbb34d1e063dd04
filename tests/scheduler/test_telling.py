"""What a scheduler tells: hooks, log records and numbers, each transition once."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import pytest
from builders import in_threads, until
from clocks import PATIENCE

from fastsched import Cancel, JobContext, Retry, Snooze, State, Transition
from fastsched.retry import fixed

SECRET = "canary-4711"


@pytest.fixture
def act(scheduler):
    """A job that does as it is told."""

    @scheduler.job(kind="act", max_attempts=2, backoff=fixed(0))
    def act(ctx: JobContext, what: str, secret: str = SECRET) -> object:
        match what:
            case "fail once" if ctx.attempt == 1:
                raise ValueError("first")
            case "fail":
                raise ValueError("always")
            case "cancel":
                return Cancel("unwanted")
            case "snooze" if ctx.claim.claim_no == 1:
                return Snooze(0, "later")
            case "retry" if ctx.attempt == 1:
                return Retry(0, "busy")
        return None

    return act


WHAT = {"succeed": 5, "fail once": 4, "fail": 3, "cancel": 2, "snooze": 2, "retry": 1}
TOLD = {
    "completed": 5 + 4 + 2 + 1,
    "retried": 4 + 3 + 1,
    "dead": 3,
    "cancelled": 2,
    "snoozed": 2,
    "expired": 1,
}


def run_all(scheduler, act):
    """One of every fate; the totals are in TOLD."""
    act.options(deadline=0).enqueue("never")
    with scheduler:
        scheduler.enqueue_many(act.job(what) for what, times in WHAT.items() for _ in range(times))
        scheduler.wait_until_idle(PATIENCE)
        until(lambda: scheduler.stats().expired == 1)


def test_every_hook_is_called_once_for_each_of_its_transitions(scheduler, act):
    told = Counter()
    threads = set()
    for register in (
        scheduler.on_completed,
        scheduler.on_retried,
        scheduler.on_dead,
        scheduler.on_cancelled,
        scheduler.on_expired,
    ):

        @register
        def hook(event):
            told[event.transition] += 1
            threads.add(threading.current_thread().name)
            assert event.kind == "act"
            assert SECRET not in repr(event)

    assert callable(hook)
    run_all(scheduler, act)
    assert told == {name: n for name, n in TOLD.items() if name != "snoozed"}
    assert threads == {"fastsched-hooks"}


def test_a_job_that_expires_before_any_claim_is_told_as_well(make_scheduler, caplog):
    producer, keeper = make_scheduler(), make_scheduler(workers=1)
    handle = producer.job(kind="elsewhere")(lambda: None).options(deadline=0).enqueue()
    expired = []
    keeper.on_expired(expired.append)
    keeper.job(kind="here")(lambda: None)
    with keeper:
        assert producer.wait(handle.id, PATIENCE) is State.EXPIRED
        until(lambda: keeper.stats().expired == 1)
    (event,) = expired
    assert (event.id, event.kind, event.attempt, event.duration) == (
        handle.id,
        "elsewhere",
        0,
        None,
    )
    assert f"expired {handle.id} (elsewhere, attempt 0): deadline passed" in caplog.text


def test_a_failure_is_told_with_its_event(scheduler, act):
    dead = []
    scheduler.on_dead(dead.append)
    run_all(scheduler, act)
    for event in dead:
        assert (event.attempt, str(event.failure)) == (2, "ValueError: always")
        assert event.reason == "failed 2 of 2 attempts"
        assert event.duration >= 0


def test_a_hook_that_fails_harms_no_job(scheduler, act, caplog):
    @scheduler.on_completed
    def broken(event):
        raise RuntimeError("broken hook")

    with scheduler:
        assert act.enqueue("succeed").wait(PATIENCE) is State.DONE
        assert act.enqueue("succeed").wait(PATIENCE) is State.DONE
    assert caplog.text.count("RuntimeError: broken hook") == 2


def test_every_transition_is_one_log_record_and_no_record_shows_arguments(scheduler, act, caplog):
    with caplog.at_level(logging.DEBUG):
        run_all(scheduler, act)
    records = [record for record in caplog.records if record.name == "fastsched.jobs"]
    assert Counter(record.transition for record in records) == TOLD
    for record in records:
        assert (record.kind, record.queue) == ("act", "default")
        assert record.getMessage().startswith(f"{record.transition} {record.job_id} (act, ")
        if record.transition in ("completed", "retried", "dead"):
            assert record.duration >= 0
        else:
            assert record.transition != "expired" or record.duration is None
    assert SECRET not in caplog.text


def test_a_handler_logs_with_the_fields_of_its_job(scheduler, caplog):
    @scheduler.job(kind="talk", queue="q")
    def talk(ctx: JobContext) -> None:
        ctx.logger.warning("half way")

    with scheduler:
        handle = talk.enqueue()
        handle.wait(PATIENCE)
    (record,) = [record for record in caplog.records if record.name == "fastsched.handler"]
    assert (record.job_id, record.kind, record.queue, record.attempt) == (handle.id, "talk", "q", 1)


def test_the_numbers_of_a_process_add_up(scheduler, act):
    run_all(scheduler, act)
    stats, store = scheduler.stats(), scheduler.store_stats()
    assert {name: getattr(stats, name) for name in TOLD} == TOLD
    assert stats.scheduled == sum(WHAT.values()) + 1 == store.accepted
    assert stats.failed == stats.retried + 3
    never_claimed = sum(TOLD.values()) - stats.dispatched
    assert never_claimed in (0, 1)  # the expired one: its claim and the chore race
    assert (stats.queue_length, stats.workers_active, stats.zombies) == (0, 0, 0)
    assert (stats.stale, stats.rescued, stats.released) == (0, 0, 0)
    assert store.accepted == store.done + store.dead + store.cancelled + store.expired
    assert (store.live, store.retried) == (0, TOLD["retried"])


def test_a_number_counts_when_the_call_returns(scheduler, act):
    for n in range(1, 6):
        act.enqueue("succeed")
        assert scheduler.stats().scheduled == n
    scheduler.enqueue_many(act.job("succeed") for _ in range(5))
    assert scheduler.stats().scheduled == 10
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
        assert scheduler.stats().completed == 10


def test_numbers_are_exact_when_many_threads_enqueue(make_scheduler):
    scheduler = make_scheduler(workers=4)
    ran = Counter()
    note = scheduler.job(kind="note")(lambda n: ran.update([n]))
    with scheduler:
        in_threads(8, lambda number: [note.enqueue(number) for _ in range(40)])
        scheduler.wait_until_idle(PATIENCE)
        stats, store = scheduler.stats(), scheduler.store_stats()
    assert ran == dict.fromkeys(range(8), 40)
    assert (stats.scheduled, stats.dispatched, stats.completed) == (320, 320, 320)
    assert (store.accepted, store.done, store.live) == (320, 320, 0)
    assert 0 < stats.completed_per_second <= 320
    assert stats.flushes <= 640


def test_a_started_scheduler_shows_its_node(scheduler):
    assert scheduler.stats().node is None
    with scheduler:
        stats, store = scheduler.stats(), scheduler.store_stats()
        assert stats.workers == 2
        assert [node.id for node in store.nodes] == [stats.node]
        assert "started" in repr(scheduler)
    assert scheduler.stats().workers == 0
    assert scheduler.store_stats().nodes == ()


def test_what_runs_now_can_be_seen(scheduler, gate):
    with scheduler:
        (handle,) = gate.hold()
        (run,) = scheduler.running()
        assert (run.id, run.kind) == (handle.id, "gate")
        assert run.elapsed >= 0
        assert scheduler.stats().workers_active == 1
        gate.open()
        handle.wait(PATIENCE)
        assert scheduler.running() == []


def test_there_is_a_transition_for_every_end(scheduler):
    assert {str(each) for each in Transition} >= TOLD.keys()
