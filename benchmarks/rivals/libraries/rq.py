"""RQ, on Redis."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis
from rq import Queue, SimpleWorker

from rivals.program import REDIS, chunks, started

# https://python-rq.org/docs/#bulk-job-enqueueing; https://python-rq.org/docs/workers/#performance-notes
# and docs/benchmark.md: SimpleWorker, which does not fork for each job, is about 6 times as fast
# for short ones. https://python-rq.org/docs/results/: result_ttl=0 keeps no results.
SETTINGS = "SimpleWorker (no fork), result_ttl=0; enqueue_many by 1,000"

client = Redis.from_url(REDIS)
queue = Queue(connection=client)


def noop(number: int) -> None:
    started(number)


def set_up() -> None:
    client.ping()


def enqueue(number: int) -> None:
    queue.enqueue(noop, number, result_ttl=0)


def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 1_000):
        queue.enqueue_many([Queue.prepare_data(noop, (n,), result_ttl=0) for n in chunk])


def left() -> int:
    return int(queue.count) + int(client.zcard("rq:wip:default"))


def work() -> None:
    SimpleWorker([queue], connection=client).work(logging_level="ERROR")
