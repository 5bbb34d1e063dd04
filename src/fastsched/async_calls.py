"""What asyncio programs call: the same as the plain calls, without blocking the event loop.

asyncio is imported here only, and this module only by the first such call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from fastsched.engine import Engine
from fastsched.job import NewJob, State
from fastsched.user_connection import UserConnection
from fastsched.waiters import RECHECK


async def insert(
    engine: Engine, jobs: Sequence[NewJob], through: UserConnection | None = None
) -> None:
    """Store jobs; returns once they are committed, or part of the user's transaction."""
    if through is None:
        await engine.writer.ainsert(jobs)
    else:
        await asyncio.to_thread(engine.insert_through, through, jobs)


async def wait(engine: Engine, job_id: str, timeout: float | None) -> State:
    """Wait until a job has ended; the state in which it did, or `TimeoutError`."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def hear() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(news.set)

    engine.listen()
    clock = engine.store.clock
    end = None if timeout is None else clock.monotonic() + timeout
    with engine.waiters.listening(job_id, hear):
        while True:
            news.clear()
            state = await asyncio.to_thread(engine.ended, job_id)
            if state is not None:
                return state
            left = RECHECK if end is None else min(end - clock.monotonic(), RECHECK)
            if left <= 0:
                raise TimeoutError(f"job {job_id} has not ended within {timeout} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await news.wait()
