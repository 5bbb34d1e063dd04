"""asyncio programs enqueue and wait without blocking, and handlers may be coroutines."""

from __future__ import annotations

import asyncio
import threading

import pytest
from clocks import PATIENCE

from fastsched import Cancelled, JobContext, State, current_job
from fastsched.retry import fixed


def test_many_jobs_are_enqueued_and_awaited_at_once(scheduler):
    ran = []
    job = scheduler.job(kind="job")(ran.append)

    async def main() -> list[State]:
        handles = await asyncio.gather(*(job.aenqueue(n) for n in range(100)))
        return await asyncio.gather(*handles)

    with scheduler:
        assert asyncio.run(main()) == [State.DONE] * 100
    assert sorted(ran) == list(range(100))


def test_the_loop_goes_on_while_a_coroutine_waits_for_the_store(scheduler):
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.store_stats()  # open
    held, release = threading.Event(), threading.Event()

    def hold(store: object) -> None:
        held.set()
        release.wait(PATIENCE)

    holder = threading.Thread(target=lambda: scheduler._engine.writer.call(hold))
    holder.start()
    assert held.wait(PATIENCE)

    async def main() -> bool:
        enqueue = asyncio.create_task(job.aenqueue())
        for _ in range(5):  # the writer is held; the loop is not
            await asyncio.sleep(0)
        waiting = not enqueue.done()
        release.set()
        await enqueue
        return waiting

    assert asyncio.run(main())
    holder.join(PATIENCE)


def test_waiting_ends_after_its_timeout_and_leaves_nothing_behind(scheduler):
    job = scheduler.job(kind="job")(lambda: None)

    async def main() -> None:
        handle = await job.aenqueue()
        with pytest.raises(TimeoutError):
            await handle.await_end(0.05)
        waiting = asyncio.create_task(handle.await_end())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert not scheduler._engine.waiters._hearers


def test_a_refused_job_is_an_error_of_the_coroutine(scheduler):
    job = scheduler.job(kind="job")(lambda: None)
    with pytest.raises(TypeError):
        asyncio.run(job.aenqueue(1))


def test_coroutines_run_as_handlers_side_by_side(make):
    scheduler = make(workers=4)
    together = None
    seen = []

    @scheduler.job(kind="meet")
    async def meet(ctx: JobContext, number: int) -> None:
        nonlocal together
        together = together or asyncio.Barrier(4)
        async with asyncio.timeout(PATIENCE):
            await together.wait()
        seen.append((current_job() is ctx, number))

    with scheduler:
        scheduler.enqueue_many(meet.job(n) for n in range(4))
        scheduler.wait_until_idle(PATIENCE)
    assert sorted(seen) == [(True, n) for n in range(4)]


def test_a_coroutine_is_retried_timed_out_and_cancelled_as_a_function_is(make):
    scheduler = make(workers=3, interrupt_grace=0.05)
    running = threading.Event()

    @scheduler.job(kind="fragile", max_attempts=2, backoff=fixed(0))
    async def fragile() -> None:
        raise ValueError("no")

    @scheduler.job(kind="slow", timeout=0.1, max_attempts=1)
    async def slow() -> None:
        await asyncio.Event().wait()

    @scheduler.job(kind="endless")
    async def endless() -> None:
        running.set()
        await asyncio.Event().wait()

    with scheduler:
        failed, late, long = fragile.enqueue(), slow.enqueue(), endless.enqueue()
        assert failed.wait(PATIENCE) is State.DEAD
        assert failed.job().attempt == 2
        assert late.wait(PATIENCE) is State.DEAD
        assert late.job().failure.type == "JobTimeout"
        assert running.wait(PATIENCE)
        assert long.cancel() is Cancelled.REQUESTED
        assert long.wait(PATIENCE) is State.CANCELLED
        assert scheduler.stats().zombies == 0
