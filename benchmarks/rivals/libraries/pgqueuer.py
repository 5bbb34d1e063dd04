"""PgQueuer, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from rivals.program import POSTGRES, chunks, started

# https://pgqueuer.readthedocs.io/en/latest/guides/performance-tuning/: a larger batch_size for
# short jobs, `pgq autovac`, one direct asyncpg connection for the worker; durability stays at the
# default, `durable`. .../development/benchmark/: asyncpg is the faster driver.
SETTINGS = "asyncpg, batch_size=1000, autovac; enqueue by lists of 1,000"

queries: Queries


async def _connect() -> AsyncpgDriver:
    return AsyncpgDriver(await asyncpg.connect(POSTGRES))


async def set_up() -> None:
    global queries
    queries = Queries(await _connect())
    await queries.install()
    await queries.optimize_autovacuum()


async def enqueue(number: int) -> None:
    await queries.enqueue("noop", b"%d" % number)


async def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 1_000):
        payloads: list[bytes | None] = [b"%d" % number for number in chunk]
        await queries.enqueue(["noop"] * len(chunk), payloads, [0] * len(chunk))


async def left() -> int:
    rows = await queries.driver.fetch("SELECT count(*) AS left FROM pgqueuer")
    return int(rows[0]["left"])


async def _noop(job: Job) -> None:
    assert job.payload is not None
    started(int(job.payload))


def work() -> None:
    async def run() -> None:
        worker = PgQueuer(await _connect())
        worker.entrypoint("noop")(_noop)
        await worker.run(batch_size=1_000, dequeue_timeout=timedelta(seconds=10))

    uvloop.run(run())
