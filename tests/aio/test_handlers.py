"""Handlers that are coroutines: how they end, and what they can do to each other."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest
from builders import until
from clocks import PATIENCE

from fastsched import Cancelled, JobContext, Snooze, State


@pytest.fixture
def scheduler(make: Any) -> Any:
    return make(workers=3, interrupt_grace=0.1)


def test_a_coroutine_that_is_timed_out_cleans_up_before_its_run_ends(scheduler):
    events = []

    @scheduler.job(kind="slow", timeout=0.1, max_attempts=2, backoff=lambda *_: 0)
    async def slow(ctx: JobContext) -> None:
        events.append(("begins", ctx.attempt))
        try:
            if ctx.attempt == 1:
                await asyncio.Event().wait()
        finally:
            for _ in range(50):
                await asyncio.sleep(0)
            events.append(("has cleaned up", ctx.attempt))

    with scheduler:
        assert slow.enqueue().wait(PATIENCE) is State.DONE
    assert events == [
        ("begins", 1), ("has cleaned up", 1), ("begins", 2), ("has cleaned up", 2),
    ]  # fmt: skip


def test_a_coroutine_that_ignores_its_cancellation_is_written_off_as_a_function_is(scheduler):
    running, release = threading.Event(), threading.Event()

    @scheduler.job(kind="stubborn", max_attempts=1)
    async def stubborn() -> None:
        running.set()
        while not release.is_set():
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                continue

    with scheduler:
        handle = stubborn.enqueue()
        assert running.wait(PATIENCE)
        assert handle.cancel() is Cancelled.REQUESTED
        assert handle.wait(PATIENCE) is State.CANCELLED
        assert scheduler.stats().zombies == 1
        release.set()
        until(lambda: scheduler.stats().zombies == 0)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_a_coroutine_that_exits_takes_nobody_with_it(scheduler, end):
    running, gate = threading.Event(), asyncio.Event()

    @scheduler.job(kind="exits", max_attempts=1)
    async def exits() -> None:
        raise end

    @scheduler.job(kind="stays")
    async def stays() -> None:
        running.set()
        await gate.wait()

    @scheduler.job(kind="opens")
    async def opens() -> None:  # on the same loop, if that still runs
        gate.set()

    with scheduler:
        other = stays.enqueue()
        assert running.wait(PATIENCE)
        assert exits.enqueue().wait(PATIENCE) is State.DEAD
        assert opens.enqueue().wait(PATIENCE) is State.DONE
        assert other.wait(PATIENCE) is State.DONE


def test_a_coroutine_may_answer_with_an_outcome(scheduler):
    runs = []

    @scheduler.job(kind="later")
    async def later() -> Snooze | None:
        runs.append(1)
        return Snooze(0) if len(runs) < 3 else None

    with scheduler:
        assert later.enqueue().wait(PATIENCE) is State.DONE
    assert len(runs) == 3


def test_stopping_gives_a_running_coroutine_back_and_ends_the_loop(scheduler):
    running = threading.Event()
    cleaned = []

    @scheduler.job(kind="endless")
    async def endless() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    scheduler.start()
    handle = endless.enqueue()
    assert running.wait(PATIENCE)
    scheduler.stop(0.0)
    assert cleaned == [True]
    assert (handle.state(), handle.job().attempt) == (State.READY, 0)
    assert "fastsched-async" not in {thread.name for thread in threading.enumerate()}


def test_many_coroutines_fail_and_succeed_side_by_side(make):
    scheduler = make(workers=16)

    @scheduler.job(kind="mixed", max_attempts=1)
    async def mixed(number: int) -> None:
        await asyncio.sleep(0)
        if number % 4 == 0:
            raise ValueError(number)

    with scheduler:
        scheduler.enqueue_many(mixed.job(number) for number in range(200))
        scheduler.wait_until_idle(PATIENCE)
        stats = scheduler.stats()
    assert (stats.completed, stats.dead) == (150, 50)


def test_effects_of_a_coroutine_are_committed_with_its_end(scheduler):
    @scheduler.job(kind="effect", timeout=5)
    async def effect(ctx: JobContext) -> None:
        with ctx.transaction() as db:
            await asyncio.sleep(0)
            db.execute("SELECT 1")

    with scheduler:
        assert effect.enqueue().wait(PATIENCE) is State.DONE
        assert scheduler.stats().stale == 0


def test_asyncio_is_not_imported_for_plain_handlers():
    import subprocess

    code = "import sys, fastsched; print('asyncio' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert said.stdout == b"False\n"
