"""SAQ, on Redis or PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from saq import Queue, Worker
from saq.queue.redis import RedisQueue

from rivals.program import POSTGRES, REDIS, STORE, chunks, started

# https://saq-py.readthedocs.io/en/latest/: Worker(concurrency=…), results kept for ttl seconds,
# -1 for none. There is no call for many jobs at once; here 100 calls at a time share the
# connections, as its own benchmark does.
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
