"""arq, on Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker, func

from rivals.program import REDIS, chunks, started

# Docstring of arq.worker.Worker, https://arq-docs.helpmanual.io: max_jobs at a time, poll_delay
# between looks (0.5 s by default), keep_result. There is no call for many jobs at once; the
# benchmark of SAQ, https://github.com/tobymao/saq benchmarks/simple.py, gathers calls, as here.
SETTINGS = "max_jobs=100, poll_delay=0.01, keep_result=0; enqueue_job, 100 at a time"
PLACE = RedisSettings(unix_socket_path=REDIS.removeprefix("unix://"))

client: ArqRedis


async def noop(ctx: Any, number: int) -> None:
    started(number)


async def set_up() -> None:
    global client
    client = await create_pool(PLACE)


async def enqueue(number: int) -> None:
    await client.enqueue_job("noop", number)


async def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 100):
        await asyncio.gather(*[client.enqueue_job("noop", number) for number in chunk])


async def left() -> int:
    return int(await client.zcard("arq:queue"))


def work() -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker(
        functions=[func(noop, name="noop", keep_result=0)],
        redis_settings=PLACE,
        max_jobs=100,
        poll_delay=0.01,
        log_results=False,
    ).run()
