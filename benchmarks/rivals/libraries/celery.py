"""Celery, on Redis."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from celery import Celery

from rivals.program import REDIS, started

# https://docs.celeryq.dev/en/stable/userguide/optimizing.html: a large prefetch multiplier for many
# short tasks, transient delivery. .../userguide/tasks.html: ignore_result. .../reference/cli.html:
# a worker without gossip, mingle and heartbeat, which talk to other workers. Of the pools solo,
# threads and prefork (.../userguide/concurrency/) solo was the fastest here. Celery has no call for
# many tasks at once, a group sends them one by one; Kombu, its transport, sends a batch to Redis in
# a pipeline (docstring of kombu.Producer.batch).
SETTINGS = (
    "solo pool, prefetch multiplier 128, no results, transient; kombu's Producer.batch by 1,000"
)

app = Celery("rivals", broker=REDIS.replace("unix://", "redis+socket://"))
app.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_default_delivery_mode="transient",
    worker_prefetch_multiplier=128,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)
client = redis.Redis.from_url(REDIS)


@app.task(name="noop")
def noop(number: int) -> None:
    started(number)


def set_up() -> None:
    enqueue_many([])


def enqueue(number: int) -> None:
    noop.delay(number)


def enqueue_many(numbers: Sequence[int]) -> None:
    with app.producer_pool.acquire() as producer, producer.batch(max_size=1_000):
        for number in numbers:
            noop.apply_async((number,), producer=producer)


def left() -> int:
    return int(client.llen("celery")) + int(client.hlen("unacked"))


def work() -> None:
    quiet = ["--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=solo", *quiet])
