"""Oban for Python, on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
import uvloop
from oban import Oban, job
from oban.schema import install_sql
from psycopg_pool import AsyncConnectionPool

from rivals.program import POSTGRES, chunks, started

# https://github.com/oban-bg/oban-py docs/defining_queues.md: a queue's limit is the number of jobs
# at a time; docs/production.md: the pool. Its test/benchmark_test.py inserts by enqueue_many.
SETTINGS = "asynchronous job, queue limit 100, pool of 10; enqueue_many by 1,000"

client: Oban


@job(queue="default")
async def noop(number: int) -> None:
    started(number)


async def _open() -> AsyncConnectionPool:
    pool = AsyncConnectionPool(POSTGRES, min_size=2, max_size=10, open=False)
    await pool.open()
    return pool


async def set_up() -> None:
    global client
    with psycopg.connect(POSTGRES, autocommit=True) as db:
        db.execute(install_sql().encode())
    client = Oban(pool=await _open())


async def enqueue(number: int) -> None:
    await client.enqueue(noop.new(number))


async def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 1_000):
        await client.enqueue_many(*[noop.new(number) for number in chunk])


db: psycopg.Connection | None = None


def left() -> int:
    global db
    db = db or psycopg.connect(POSTGRES, autocommit=True)
    row = db.execute(
        "SELECT count(*) FROM oban_jobs WHERE state NOT IN ('completed', 'discarded', 'cancelled')"
    ).fetchone()
    assert row is not None
    return int(row[0])


def work() -> None:
    async def run() -> None:
        async with Oban(pool=await _open(), queues={"default": 100}):
            await asyncio.Event().wait()

    uvloop.run(run())
