"""Dramatiq, on Redis."""

from __future__ import annotations

import os
from collections.abc import Sequence

# Its worker.py: by default twice the number of threads; it is read at import.
os.environ["dramatiq_queue_prefetch"] = "1000"  # noqa: SIM112 - its name
import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.cli import main, make_argument_parser

from rivals.program import REDIS, started

# https://dramatiq.io/guide.html#workers: `--processes` and `--threads`, of which 2 were faster than
# its default of 8. A group sends its messages one by one (docstring of dramatiq.group.run).
SETTINGS = "1 process, 2 threads, prefetch 1,000; send() one by one"

broker = RedisBroker(url=REDIS)
dramatiq.set_broker(broker)
client = redis.Redis.from_url(REDIS)


@dramatiq.actor(actor_name="noop")
def noop(number: int) -> None:
    started(number)


def set_up() -> None:
    client.ping()


def enqueue(number: int) -> None:
    noop.send(number)


def enqueue_many(numbers: Sequence[int]) -> None:
    for number in numbers:
        noop.send(number)


def left() -> int:
    # Its messages lie in this hash from enqueueing to acknowledgement.
    return int(client.hlen("dramatiq:default.msgs"))


def work() -> None:
    options = [__name__, "--processes", "1", "--threads", "2", "--skip-logging"]
    main(make_argument_parser().parse_args(options))
