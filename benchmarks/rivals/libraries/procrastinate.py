"""Procrastinate, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from rivals.program import POSTGRES, chunks, started

# https://procrastinate.readthedocs.io/en/stable/howto/basics/batch_defer.html: many in one call.
# .../howto/production/concurrency.html: parallel asynchronous jobs of one worker, and a pool of
# connections to match. .../howto/production/delete_finished_jobs.html: delete_jobs="always".
SETTINGS = "asynchronous task, concurrency=20, pool of 20, delete_jobs=always; batch_defer by 1,000"
CONCURRENCY = 20

app = App(connector=PsycopgConnector(conninfo=POSTGRES, min_size=4, max_size=CONCURRENCY))


@app.task(name="noop")
async def noop(number: int) -> None:
    started(number)


async def set_up() -> None:
    await app.open_async()
    await app.schema_manager.apply_schema_async()


async def enqueue(number: int) -> None:
    await noop.defer_async(number=number)


async def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 1_000):
        await noop.batch_defer_async(*[{"number": number} for number in chunk])


async def left() -> int:
    row = await app.connector.execute_query_one_async(
        "SELECT count(*) AS left FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    )
    return int(row["left"])


def work() -> None:
    async def run() -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=CONCURRENCY, delete_jobs="always")

    asyncio.run(run())
