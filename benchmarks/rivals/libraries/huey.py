"""Huey, on Redis, SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from huey import PostgresHuey, RedisHuey, SqliteHuey

from rivals.program import FOLDER, POSTGRES, REDIS, STORE, started

# https://huey.readthedocs.io/en/latest/consumer.html: worker threads; blocking reads are its
# default, and for SQLite a shorter wait between looks (max_delay). .../api.html#Huey: no results.
# For SQLite fsync=True, as ours. There is no call for many tasks at once.
WORKERS = 4
SETTINGS = f"{WORKERS} worker threads, no results; one by one"

if STORE == "SQLite":
    huey = SqliteHuey(filename=str(FOLDER / "huey.db"), fsync=True, results=False)
elif STORE == "PostgreSQL":
    huey = PostgresHuey(dsn=POSTGRES, results=False)
else:
    huey = RedisHuey(url=REDIS, results=False)


@huey.task()
def noop(number: int) -> None:
    started(number)


def set_up() -> None:
    huey.pending_count()


def enqueue(number: int) -> None:
    noop(number)


def enqueue_many(numbers: Sequence[int]) -> None:
    for number in numbers:
        noop(number)


def left() -> int:
    return int(huey.pending_count())


def work() -> None:
    huey.create_consumer(workers=WORKERS, periodic=False, initial_delay=0.01, max_delay=0.05).run()
