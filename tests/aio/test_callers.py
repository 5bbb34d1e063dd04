"""What coroutines that enqueue and wait may expect of each other."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
from clocks import PATIENCE

from fastsched import Cancelled, State


def test_the_loop_never_lags_behind_while_jobs_are_enqueued(scheduler):
    job = scheduler.job(kind="job")(lambda: None)
    lags = []

    async def watch(done: asyncio.Event) -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0)
            lags.append(time.perf_counter() - before)

    async def main() -> None:
        await job.aenqueue()  # opens the store, in another thread
        done = asyncio.Event()
        watching = asyncio.create_task(watch(done))
        for _ in range(30):
            await job.aenqueue()
        done.set()
        await watching

    asyncio.run(main())
    lags.sort()
    assert lags[int(len(lags) * 0.99)] < 0.02


def test_two_hundred_coroutines_wait_at_once(make):
    scheduler = make(workers=4)
    job = scheduler.job(kind="job")(lambda: None)

    async def main() -> list[State]:
        handles = await scheduler.aenqueue_many(job.job() for _ in range(200))
        waiting = [asyncio.create_task(handle.await_end(PATIENCE)) for handle in handles]
        await asyncio.sleep(0)
        await asyncio.to_thread(scheduler.start)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [State.DONE] * 200
    assert not scheduler._engine.waiters._hearers


def test_an_end_long_past_is_told_even_with_no_time_to_wait(scheduler):
    job = scheduler.job(kind="job")(lambda: None)

    async def main() -> State:
        handle = await job.aenqueue()
        with pytest.raises(TimeoutError, match=handle.id):
            await handle.await_end(0)
        assert handle.cancel() is Cancelled.CANCELLED
        return await handle.await_end(0)

    assert asyncio.run(main()) is State.CANCELLED


def test_a_waiting_coroutine_that_is_cancelled_lets_the_others_wait_on(scheduler):
    job = scheduler.job(kind="job")(lambda: None)

    async def main() -> State:
        handle = await job.aenqueue()
        tasks = [asyncio.create_task(handle.await_end(PATIENCE)) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        handle.cancel()
        return await tasks[1]

    assert asyncio.run(main()) is State.CANCELLED
    assert not scheduler._engine.waiters._hearers
    assert not scheduler._engine.waiters._waiting


def test_what_a_coroutine_enqueues_in_a_transaction_is_part_of_it(pg_url, make_scheduler):
    scheduler = make_scheduler(pg_url)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.store_stats()  # makes the tables

    async def main(connection: psycopg.Connection, fail: bool) -> None:
        with scheduler.transaction(connection):
            await job.aenqueue()
            assert scheduler.store_stats().accepted == 0
            if fail:
                raise ZeroDivisionError

    with psycopg.connect(pg_url) as connection:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(main(connection, fail=True))
        asyncio.run(main(connection, fail=False))
    assert scheduler.store_stats().accepted == 1
