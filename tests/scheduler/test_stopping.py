"""Runs that should end, end; a scheduler that stops loses nothing and waits for no one for ever."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable

import pytest
from builders import in_thread, until
from clocks import PATIENCE

from fastsched import (
    Cancelled,
    JobContext,
    JobStopped,
    Scheduler,
    State,
    StoreError,
    current_job,
)

TIMEOUT = 0.15
GRACE = 0.2
"""Between the steps: ask, throw, write off."""


class Stubborn:
    """Handlers that do not end by themselves; what they wait for comes with `release`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.lock.acquire()
        self.near, self.far = socket.socketpair()
        self.cleaned_up = threading.Event()

    def release(self) -> None:
        self.released.set()
        self.lock.release()
        self.far.send(b"x")

    def loop(self) -> None:
        while True:
            pass

    def wait_on_event(self) -> None:
        self.released.wait(PATIENCE)

    def wait_on_lock(self) -> None:
        self.lock.acquire(timeout=PATIENCE)
        self.lock.release()

    def receive(self) -> None:
        self.near.recv(1)

    def compute_in_c(self) -> None:
        for _ in range(1_000):
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 250_000)

    def swallow(self) -> None:
        while not self.released.is_set():
            try:
                self.released.wait(0.02)
            except BaseException:  # the worst habit of all
                continue

    def clean_up(self) -> None:
        try:
            while True:
                pass
        finally:
            assert current_job().cancelled
            self.cleaned_up.set()

    def look_at_the_flag(self) -> None:
        while not current_job().cancelled:
            pass
        current_job().check()

    def sleep_on_the_context(self) -> None:
        assert current_job().wait(PATIENCE)
        current_job().check()


@pytest.fixture
def stubborn():
    stubborn = Stubborn()
    yield stubborn
    if not stubborn.released.is_set():
        stubborn.release()
    stubborn.near.close()
    stubborn.far.close()


CASES = [name for name in vars(Stubborn) if not name.startswith("_") and name != "release"]
ZOMBIES = {"wait_on_event", "wait_on_lock", "receive", "swallow"}


def test_a_run_that_takes_too_long_ends_in_time_whatever_it_does(make_scheduler, stubborn):
    scheduler = make_scheduler(workers=len(CASES), interrupt_grace=GRACE)
    jobs = {
        name: scheduler.job(kind=name, timeout=TIMEOUT, max_attempts=1)(getattr(stubborn, name))
        for name in CASES
    }
    ends = {}
    scheduler.on_dead(lambda event: ends.setdefault(event.kind, event))
    with scheduler:
        handles = {name: jobs[name].enqueue() for name in CASES}
        assert {name: handle.wait(PATIENCE) for name, handle in handles.items()} == dict.fromkeys(
            CASES, State.DEAD
        )
        for handle in handles.values():
            job = handle.job()
            assert job.failure.type == "JobTimeout"
            assert job.failure.message == f"ran longer than {TIMEOUT} s"
            assert job.ended_at - job.claimed_at < TIMEOUT + 1.5
        until(lambda: scheduler.stats().zombies == len(ZOMBIES))
        together = threading.Barrier(len(CASES))  # every worker works, or another in its place
        meet = scheduler.job(kind="meet")(lambda: together.wait(PATIENCE))
        for handle in scheduler.enqueue_many(meet.job() for _ in CASES):
            assert handle.wait(PATIENCE) is State.DONE
        stubborn.release()
        until(lambda: scheduler.stats().zombies == 0)
        stats = scheduler.stats()
        assert (stats.failed, stats.dead, stats.completed) == (len(CASES), len(CASES), len(CASES))
        assert stats.stale == 0  # what a zombie comes to is not even tried
    assert stubborn.cleaned_up.is_set()
    assert ends.keys() == set(CASES)
    assert all(event.duration >= TIMEOUT for event in ends.values())


def test_a_zombie_that_returns_after_its_node_has_left_disturbs_nobody(make_scheduler, stubborn):
    scheduler = make_scheduler(workers=1, interrupt_grace=0.05)
    hang = scheduler.job(kind="hang", timeout=0.05, max_attempts=1)(stubborn.wait_on_event)
    with scheduler:
        assert hang.enqueue().wait(PATIENCE) is State.DEAD
    stubborn.release()  # its thread ends without a word: the suite looks for leaks and warnings


def test_a_run_that_ends_in_time_is_left_alone(make_scheduler):
    scheduler = make_scheduler(workers=2, interrupt_grace=0.02)
    seen = []

    @scheduler.job(kind="quick", timeout=0.05)
    def quick(ctx: JobContext) -> None:
        seen.append(ctx)

    with scheduler:
        for handle in scheduler.enqueue_many(quick.job() for _ in range(20)):
            assert handle.wait(PATIENCE) is State.DONE
        late = scheduler.job(kind="late")(lambda ctx=None: threading.Event().wait(0.2))
        assert late.enqueue().wait(PATIENCE) is State.DONE  # longer than the timeouts before it
    assert not any(ctx.cancelled for ctx in seen)
    assert scheduler.stats().failed == 0


def test_a_timed_out_job_is_tried_again(make_scheduler):
    scheduler = make_scheduler(workers=1, interrupt_grace=0.02)
    attempts = []

    @scheduler.job(kind="slow", timeout=0.05, max_attempts=2, backoff=lambda attempt, error: 0)
    def slow(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) == 1:
            ctx.wait(PATIENCE)
            ctx.check()

    retried = []
    scheduler.on_retried(retried.append)
    with scheduler:
        assert slow.enqueue().wait(PATIENCE) is State.DONE
    assert attempts == [1, 2]
    assert retried[0].failure.type == "JobTimeout"


def test_a_handler_may_end_itself_in_its_own_way_when_asked(make_scheduler):
    scheduler = make_scheduler(workers=1)

    @scheduler.job(kind="slow", timeout=0.05)
    def slow(ctx: JobContext) -> None:
        assert ctx.wait(PATIENCE)  # told to stop, it has something to show all the same

    with scheduler:
        assert slow.enqueue().wait(PATIENCE) is State.DONE


# Cancelling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["loop", "look_at_the_flag", "clean_up", "wait_on_event"])
def test_a_running_job_is_cancelled_whatever_it_does(make_scheduler, stubborn, case):
    scheduler = make_scheduler(workers=1, interrupt_grace=0.05)
    running = threading.Event()

    @scheduler.job(kind=case)
    def job() -> None:
        running.set()
        getattr(stubborn, case)()

    cancelled = []
    scheduler.on_cancelled(cancelled.append)
    with scheduler:
        handle = job.enqueue()
        assert running.wait(PATIENCE)
        assert handle.cancel() is Cancelled.REQUESTED
        assert handle.wait(PATIENCE) is State.CANCELLED
        assert handle.cancel() is Cancelled.TOO_LATE
        stubborn.release()
        until(lambda: scheduler.stats().zombies == 0)
    assert [event.id for event in cancelled] == [handle.id]
    assert scheduler.stats().failed == 0


def test_a_job_that_waits_for_a_worker_is_cancelled_at_once(make_scheduler, gates):
    scheduler = make_scheduler(workers=1)
    gate = gates(scheduler)
    never = scheduler.job(kind="never")(lambda: None)
    with scheduler:
        gate.hold()
        ready, soon = never.enqueue(), never.options(delay=0.5).enqueue()
        for handle in (ready, soon):
            assert handle.cancel() in (Cancelled.CANCELLED, Cancelled.REQUESTED)
            assert handle.wait(PATIENCE) is State.CANCELLED
        gate.open()
    assert scheduler.stats().dispatched == 1


def test_a_job_running_in_another_scheduler_is_cancelled_through_the_store(make_scheduler):
    there, here = make_scheduler(workers=1), make_scheduler()
    running = threading.Event()

    @there.job(kind="long")
    def long(ctx: JobContext) -> None:
        running.set()
        ctx.wait(PATIENCE)
        ctx.check()

    with there:
        handle = here.handle(long.enqueue().id)
        assert running.wait(PATIENCE)
        assert handle.cancel() is Cancelled.REQUESTED
        assert handle.wait(PATIENCE) is State.CANCELLED


def test_an_id_is_taken_in_any_of_its_forms(make_scheduler):
    scheduler = make_scheduler()
    handle = scheduler.job(kind="job")(lambda: None).options(delay=60).enqueue()
    loud = handle.id.upper()
    assert scheduler.state(loud) is State.SCHEDULED
    assert scheduler.find(loud).id == handle.id
    with pytest.raises(TimeoutError):
        scheduler.wait(loud, 0.01)
    assert scheduler.run_now(loud) == [handle.id]
    assert scheduler.cancel(loud) is Cancelled.CANCELLED


# Stopping ----------------------------------------------------------------------------------------


@pytest.fixture
def steps() -> dict[str, threading.Event]:
    return {name: threading.Event() for name in ("running", "stopping", "go_on")}


def stop_while_running(scheduler: Scheduler, steps, **options) -> Callable[[], object]:
    """Stop it in another thread; returns once it has begun to."""
    assert steps["running"].wait(PATIENCE)
    stopping = in_thread(scheduler.stop, **options)
    until(lambda: scheduler._closing is not None)
    steps["stopping"].set()
    return stopping.get


def test_stop_waits_for_running_jobs(make_scheduler, steps):
    scheduler = make_scheduler(workers=1)

    @scheduler.job(kind="long")
    def long() -> None:
        steps["running"].set()
        assert steps["go_on"].wait(PATIENCE)

    scheduler.start()
    handle = long.enqueue()
    stopped = stop_while_running(scheduler, steps)
    steps["go_on"].set()
    stopped()
    assert handle.state() is State.DONE
    assert scheduler.stats().completed == 1


def test_a_job_may_enqueue_others_while_the_scheduler_stops(make_scheduler, steps):
    scheduler = make_scheduler(workers=1)
    child = scheduler.job(kind="child")(lambda: None)
    children = []

    @scheduler.job(kind="parent")
    def parent() -> None:
        steps["running"].set()
        assert steps["stopping"].wait(PATIENCE)
        children.append(child.enqueue())

    scheduler.start()
    handle = parent.enqueue()
    stop_while_running(scheduler, steps)()
    assert handle.state() is State.DONE
    assert children[0].state() is State.READY


def test_a_hook_may_enqueue_and_stop_while_the_scheduler_stops(make_scheduler, steps):
    scheduler = make_scheduler(workers=1)
    follow_up = scheduler.job(kind="follow-up")(lambda: None)
    made = []

    @scheduler.on_completed
    def hook(event) -> None:
        if event.kind == "job":
            steps["running"].set()
            assert steps["stopping"].wait(PATIENCE)
            made.append(follow_up.enqueue())
            scheduler.stop()

    scheduler.job(kind="job")(lambda: None).enqueue()
    scheduler.start()
    stop_while_running(scheduler, steps)()
    assert made[0].state() is State.READY


def test_stop_gives_back_what_does_not_end_in_time_uncharged(make_scheduler, stubborn, steps):
    scheduler = make_scheduler(workers=3, interrupt_grace=0.05)
    seen = []

    @scheduler.job(kind="listens")
    def listens(ctx: JobContext) -> None:
        steps["running"].set()
        ctx.wait(PATIENCE)
        try:
            ctx.check()
        except JobStopped as stopped:
            seen.append(stopped)
            raise

    loops = scheduler.job(kind="loops")(stubborn.loop)
    hangs = scheduler.job(kind="hangs")(stubborn.wait_on_event)
    waits = scheduler.job(kind="waits")(lambda: None)
    scheduler.start()
    handles = [loops.enqueue(), hangs.enqueue(), listens.enqueue()]
    until(lambda: scheduler.stats().workers_active == 3)
    handles += [waits.enqueue() for _ in range(5)]
    scheduler.stop(0.0)
    assert {handle.state() for handle in handles} == {State.READY}
    assert {(handle.job().attempt, handle.job().crashes) for handle in handles} == {(0, 0)}
    assert len(seen) == 1
    assert scheduler.store_stats().nodes == ()
    stubborn.release()


def test_a_hurried_stop_does_not_wait_for_its_grace(make_scheduler, stubborn, steps):
    scheduler = make_scheduler(workers=1, interrupt_grace=0.05, stop_grace=60)

    @scheduler.job(kind="loop")
    def loop() -> None:
        steps["running"].set()
        stubborn.loop()

    scheduler.start()
    handle = loop.enqueue()
    stopped = stop_while_running(scheduler, steps)
    scheduler.hurry()
    stopped()
    assert handle.state() is State.READY


def test_jobs_that_wait_are_given_back_at_once_and_not_when_the_running_ones_end(
    make_scheduler, gates
):
    scheduler, witness = make_scheduler(workers=1), make_scheduler()
    gate = gates(scheduler)
    quick = scheduler.job(kind="quick")(lambda: None)
    scheduler.start()
    scheduler.enqueue_many(quick.job() for _ in range(300))
    scheduler.wait_until_idle(PATIENCE)  # at this pace the node claims more than it has workers
    _, *waiting = scheduler.enqueue_many(
        [gate.job.options(priority=100).job(), *(quick.job() for _ in range(5))]
    )
    until(lambda: scheduler.stats().queue_length == len(waiting))
    stopping = in_thread(scheduler.stop)
    until(lambda: all(witness.state(handle.id) is State.READY for handle in waiting))
    assert stopping.pending
    gate.open()
    stopping.get()


def test_stopping_and_starting_may_be_repeated(make_scheduler):
    scheduler = make_scheduler(workers=1)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.stop()
    for n in range(3):
        with scheduler:
            scheduler.start()
            assert scheduler.started
            assert job.enqueue().wait(PATIENCE) is State.DONE
        scheduler.stop()
        assert not scheduler.started
        assert scheduler.stats().dispatched == scheduler.stats().completed == n + 1
    assert job.enqueue().state() is State.READY  # a producer again


def test_a_stop_that_cannot_write_still_lets_go(make_scheduler, monkeypatch, caplog):
    scheduler = make_scheduler(workers=1)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.start()

    def leave(node):
        raise StoreError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler._engine.store, "leave", leave)
        scheduler.stop()
    assert "no space" in caplog.text
    assert not scheduler.started
    with scheduler:  # the next one takes its jobs over: nobody holds its lock
        assert job.enqueue().wait(PATIENCE) is State.DONE


def test_a_job_that_does_nothing_but_enqueue_is_stopped_like_any_other(make_scheduler, steps):
    scheduler = make_scheduler(workers=1, interrupt_grace=0.05)

    @scheduler.job(kind="breed")
    def breed() -> None:
        while True:
            breed.enqueue()
            steps["running"].set()

    scheduler.start()
    breed.enqueue()
    assert steps["running"].wait(PATIENCE)
    scheduler.stop(0.0)
    stats = scheduler.store_stats()
    assert stats.accepted == stats.ready > 1
    breed.enqueue()  # nothing stays locked


def test_no_call_of_the_scheduler_is_broken_into(make_scheduler):
    """An exception thrown into one of them could leave a lock locked, and everybody waiting."""

    class Watched(Scheduler):
        def _open(self):
            with contextlib.suppress(LookupError):  # not in the handler
                opened.append(current_job()._shields)
            return super()._open()

    opened: list[int] = []
    scheduler = Watched(make_scheduler().store_url)
    job = scheduler.job(kind="job")(lambda: None)

    @scheduler.job(kind="calls", max_attempts=1)
    def calls() -> None:
        handle = job.options(delay=60).enqueue()
        scheduler.enqueue_many([job.options(delay=60).job()])
        handle.state()
        handle.job()
        with pytest.raises(TimeoutError):
            handle.wait(0)
        with pytest.raises(TimeoutError):
            scheduler.wait_until_idle(0)
        scheduler.jobs()
        scheduler.dead_letters()
        scheduler.store_stats()
        scheduler.requeue(handle.id)
        scheduler.discard(handle.id)
        handle.cancel()
        scheduler.run_now(handle.id)

    try:
        with scheduler:
            assert calls.enqueue().wait(PATIENCE) is State.DONE
    finally:
        scheduler.stop(0.0)
    assert len(opened) == 13
    assert min(opened) >= 1


def test_a_handler_that_waits_for_another_job_can_be_stopped(make_scheduler):
    scheduler = make_scheduler(workers=1, interrupt_grace=0.6)
    never = scheduler.job(kind="never")(lambda: None).options(delay=3600).enqueue()

    @scheduler.job(kind="waits", timeout=0.05, max_attempts=1)
    def waits() -> None:
        never.wait()

    with scheduler:
        handle = waits.enqueue()
        assert handle.wait(PATIENCE) is State.DEAD
        assert handle.job().failure.type == "JobTimeout"
        assert scheduler.stats().zombies == 0
