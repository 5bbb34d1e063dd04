"""fastsched itself."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from fastsched import Scheduler
from rivals.program import FOLDER, POSTGRES, REDIS, STORE, chunks, started

SETTINGS = "workers=4; enqueue_many by 5,000"
URL = f"sqlite:///{FOLDER / 'fastsched.db'}" if STORE == "SQLite" else POSTGRES

scheduler = Scheduler(URL, redis=REDIS if "Redis" in STORE else None, workers=4)


@scheduler.job(kind="noop")
def noop(number: int) -> None:
    started(number)


def set_up() -> None:
    scheduler.store_stats()


def enqueue(number: int) -> None:
    noop.enqueue(number)


def enqueue_many(numbers: Sequence[int]) -> None:
    for chunk in chunks(numbers, 5_000):
        scheduler.enqueue_many([noop.job(number) for number in chunk])


def left() -> int:
    stats = scheduler.store_stats()
    return stats.ready + stats.scheduled + stats.claimed


def work() -> None:
    with scheduler:
        signal.sigwait([signal.SIGTERM])
