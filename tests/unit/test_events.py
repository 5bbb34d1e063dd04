"""Every transition is told once: to the log in one line, and to the hooks in their own thread."""

from __future__ import annotations

import logging
import queue
import threading

import pytest
from builders import claimed_job, in_thread
from clocks import PATIENCE, ManualClock

from fastsched import Event, Failure, Transition
from fastsched.codec import encode
from fastsched.events import Events
from fastsched.executor import Run
from fastsched.job import State
from fastsched.outcomes import DONE, EXPIRE, RELEASE, Cancel, Dead, Retry, Snooze
from fastsched.report import Report
from fastsched.stores.base import Flush, Flushed


@pytest.fixture
def events():
    events = Events()
    yield events
    events.close()


def event(transition=Transition.COMPLETED, **fields):
    return Event(
        **{
            "transition": transition,
            "id": "an-id",
            "kind": "mail.send",
            "queue": "default",
            "attempt": 2,
            **fields,
        }
    )


# Hooks -------------------------------------------------------------------------------------------


def test_hooks_see_the_transitions_they_asked_for_in_order(events):
    dead, done = queue.SimpleQueue(), queue.SimpleQueue()
    events.on(Transition.DEAD, dead.put)
    events.on(Transition.COMPLETED, done.put)
    told = [event(Transition.DEAD, id=str(n)) for n in range(20)]
    for each in told:
        events.emit(each)
        events.emit(event(Transition.RETRIED))
    assert [dead.get(timeout=PATIENCE) for _ in told] == told
    assert done.empty()


def test_a_hook_that_fails_is_logged_and_the_next_is_called(events, caplog):
    heard = queue.SimpleQueue()

    def broken(event):
        raise RuntimeError("broken hook")

    events.on(Transition.DEAD, broken)
    events.on(Transition.DEAD, heard.put)
    events.emit(event(Transition.DEAD))
    events.emit(event(Transition.DEAD))
    events.close()
    assert heard.qsize() == 2
    assert caplog.text.count("RuntimeError: broken hook") == 2


def test_hooks_run_in_one_thread_that_is_not_the_callers(events):
    threads = queue.SimpleQueue()
    events.on(Transition.DEAD, lambda event: threads.put(threading.current_thread()))
    events.emit(event(Transition.DEAD))
    events.emit(event(Transition.DEAD))
    one, other = threads.get(timeout=PATIENCE), threads.get(timeout=PATIENCE)
    assert one is other
    assert one is not threading.current_thread()


def test_emitting_does_not_wait_for_hooks(events):
    may_go_on = threading.Event()
    events.on(Transition.DEAD, lambda event: may_go_on.wait(PATIENCE))
    events.emit(event(Transition.DEAD))
    events.emit(event(Transition.DEAD))
    may_go_on.set()


def test_closing_waits_for_the_hooks_and_may_be_done_twice(events):
    heard = []
    may_go_on = threading.Event()

    def slow(event):
        may_go_on.wait(PATIENCE)
        heard.append(event)

    events.on(Transition.DEAD, slow)
    for _ in range(3):
        events.emit(event(Transition.DEAD))
    closing = in_thread(events.close)
    assert closing.pending
    may_go_on.set()
    closing.get()
    assert len(heard) == 3
    events.close()


def test_events_after_closing_are_told_as_well(events):
    heard = queue.SimpleQueue()
    events.on(Transition.DEAD, heard.put)
    events.emit(event(Transition.DEAD))
    events.close()
    events.emit(event(Transition.DEAD))
    events.close()
    assert heard.qsize() == 2


def test_a_hook_may_close(events):
    events.on(Transition.DEAD, lambda event: events.close())
    events.emit(event(Transition.DEAD))
    in_thread(events.close).get()


# The log -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transition", "level"),
    [
        (Transition.COMPLETED, logging.INFO),
        (Transition.SNOOZED, logging.INFO),
        (Transition.RELEASED, logging.INFO),
        (Transition.CANCELLED, logging.INFO),
        (Transition.RETRIED, logging.WARNING),
        (Transition.EXPIRED, logging.WARNING),
        (Transition.STALE, logging.WARNING),
        (Transition.DEAD, logging.ERROR),
    ],
)
def test_a_transition_is_one_record_with_its_fields(events, caplog, transition, level):
    with caplog.at_level(logging.DEBUG, "fastsched.jobs"):
        events.emit(event(transition, duration=0.0123, reason="why"))
    (record,) = caplog.records
    assert record.levelno == level
    assert record.name == "fastsched.jobs"
    assert record.getMessage() == f"{transition} an-id (mail.send, attempt 2) in 12.3 ms: why"
    fields = {
        "transition": str(transition),
        "job_id": "an-id",
        "kind": "mail.send",
        "queue": "default",
        "attempt": 2,
        "duration": 0.0123,
    }
    assert {name: getattr(record, name) for name in fields} == fields


def test_what_is_not_known_is_not_said(events, caplog):
    with caplog.at_level(logging.INFO, "fastsched.jobs"):
        events.emit(event())
    assert caplog.messages == ["completed an-id (mail.send, attempt 2)"]


def test_an_event_is_one_line_without_control_characters(events, caplog):
    evil = "a\nb\rc\x1b[31md\0e\u2028f\u202eg\x7fh"
    events.emit(event(Transition.DEAD, reason=evil))
    (message,) = caplog.messages
    assert message.endswith("a b c [31md e f g h")
    assert message.isprintable()


def test_a_level_that_nobody_reads_costs_no_record(events, caplog):
    with caplog.at_level(logging.WARNING, "fastsched.jobs"):
        assert not events.wanted(Transition.COMPLETED)
        assert events.wanted(Transition.RETRIED)
        events.on(Transition.COMPLETED, lambda event: None)
        assert events.wanted(Transition.COMPLETED)
        events.emit(event())
    assert caplog.records == []


# From a flush to events --------------------------------------------------------------------------

FAILURE = Failure("ValueError", "bad", "Traceback ...")


@pytest.mark.parametrize(
    ("outcome", "state", "transition"),
    [
        (DONE, None, "completed"),
        (Retry(1.0, "r", FAILURE), State.SCHEDULED, "retried"),
        (Retry(1.0, "r", FAILURE), State.CANCELLED, "cancelled"),
        (Dead("d", FAILURE), State.DEAD, "dead"),
        (Snooze(1.0, "s"), State.SCHEDULED, "snoozed"),
        (Snooze(1.0, "s"), State.CANCELLED, "cancelled"),
        (Cancel("c"), State.CANCELLED, "cancelled"),
        (EXPIRE, State.EXPIRED, "expired"),
        (RELEASE, State.READY, "released"),
        (RELEASE, State.CANCELLED, "cancelled"),
        (DONE, "stale", "stale"),
        (Dead("d", FAILURE), "stale", "stale"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_every_end_of_a_run_is_counted_and_told_once(events, clock, outcome, state, transition):
    heard = []
    for each in Transition:
        events.on(each, heard.append)
    report = Report(events, clock)
    run = Run(claimed_job("mail.send", attempt=2, payload=encode(["secret"], {})), "node", clock)
    clock.advance(0.5)
    run.settle()
    stale = frozenset({run.claim}) if state == "stale" else frozenset()
    states = {} if state in (None, "stale") else {run.job.id: state}
    report.flushed(
        Flush(ends=[(run.claim, outcome)]), Flushed(stale=stale, states=states), [(run, outcome)]
    )
    events.close()
    (told,) = heard
    assert (told.transition, told.id, told.attempt) == (transition, run.job.id, 2)
    assert report.counts[transition] == 1
    failed = isinstance(outcome, Retry | Dead) and state != "stale"
    assert report.counts["failed"] == failed
    assert told.duration == (None if outcome in (EXPIRE, RELEASE) else 0.5)
    assert "secret" not in repr(told)


def test_a_run_that_never_began_has_no_duration(events, clock):
    heard = []
    events.on(Transition.CANCELLED, heard.append)
    run = Run(claimed_job(), "node", ManualClock())
    Report(events, clock).flushed(
        Flush(), Flushed(states={run.job.id: State.CANCELLED}), [(run, Cancel("cancelled"))]
    )
    events.close()
    assert heard[0].duration is None
