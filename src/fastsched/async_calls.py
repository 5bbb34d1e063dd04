"""What asyncio programs call: the same as the plain calls, without blocking the event loop.

asyncio is imported here only, and this module only by the first such call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from fastsched.engine import Engine
from fastsched.job import NewJob, State
from fastsched.waiters import RECHECK


async def insert(engine: Engine, jobs: Sequence[NewJob]) -> None:
    """Store jobs; returns once they are committed."""
    await engine.writer.ainsert(jobs)


async def wait(engine: Engine, job_id: str, timeout: float | None) -> State:
    """Wait until a job has ended; the state in which it did, or `TimeoutError`."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def hear() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(news.set)

    engine.listen()
    with engine.waiters.listening(job_id, hear):
        async with asyncio.timeout(timeout):
            while True:
                news.clear()
                state = await asyncio.to_thread(engine.ended, job_id)
                if state is not None:
                    return state
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK):
                        await news.wait()
