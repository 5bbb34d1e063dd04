"""SAQ, on Redis or PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from saq import Queue, Worker
from saq.queue.redis import RedisQueue

from rivals.program import POSTGRES, REDIS, STORE, chunks, started

# Docstrings of saq.Worker (concurrency) and saq.Job (ttl: seconds that results are kept, -1 for
# none), https://saq-py.readthedocs.io. There is no call for many jobs at once; its own benchmark,
# https://github.com/tobymao/saq benchmarks/simple.py, gathers calls, 20 at a time.
SETTINGS = "concurrency=100, ttl=-1; enqueue, 100 at a time"

if STORE == "PostgreSQL":
    queue = Queue.from_url(POSTGRES)
else:
    queue = RedisQueue(redis.asyncio.Redis.from_url(REDIS))


async def noop(ctx: Any, *, number: int) -> None:
    started(number)


async def set_up() -> None:
    await queue.connect()


async def enqueue(number: int) -> None:
    await queue.enqueue("noop", number=number, ttl=-1)


async def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 100):
        await asyncio.gather(*[queue.enqueue("noop", number=n, ttl=-1) for n in chunk])


async def left() -> int:
    return int(await queue.count("incomplete"))


def work() -> None:
    async def run() -> None:
        await queue.connect()
        await Worker(queue, [noop], concurrency=100).start()

    asyncio.run(run())
