"""How close the scheduler comes to bare psycopg on the same rows: PostgreSQL, fsync on.

    python benchmarks/floor.py [postgresql://...]

Without a URL a private server is started. Both sides run in turn, on fresh tables, medians of 5:
the floor is COPY of the same columns in, then claims by the same statement and deletes by arrays,
in batches of the size that the scheduler uses, with nothing else: no decoding, no handler, no
threads.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import machine
import psycopg

from fastsched import Scheduler
from fastsched.ids import new_id
from fastsched.servers import PrivatePostgres
from fastsched.stores.postgres_link import SQL, settle

COPY_TYPES = ["bytea", "text", "text", "int2", "float8", "int4", "bytea"]
"""As sent: an id goes as its 16 bytes."""
JOBS = 30_000
INSERT_BATCH = 5_000
CLAIM_BATCH = 2_000
ROUNDS = 5


def noop(number: int) -> None:
    """The smallest job."""


def main() -> None:
    with server() as url:
        version = psycopg.connect(url).info.server_version // 10_000
        print(f"{machine.describe()}; PostgreSQL {version}, fsync {setting(url, 'fsync')}")
        floors, ours = [], []
        for _ in range(ROUNDS):
            floors.append(floor(url))
            ours.append(scheduler(url))
    for name, column, goal in (("bulk enqueue", 0, 0.7), ("drain", 1, 0.7)):
        bare = statistics.median(row[column] for row in floors)
        full = statistics.median(row[column] for row in ours)
        ratio = statistics.median(b[column] / a[column] for a, b in zip(floors, ours, strict=True))
        print(
            f"{name:<13} floor {bare:>8,.0f} rows/s, fastsched {full:>8,.0f} jobs/s: "
            f"{ratio:.0%} of the floor (goal {goal:.0%})"
        )


def floor(url: str) -> tuple[float, float]:
    """Rows a second copied in, and claimed and deleted, by bare psycopg."""
    with emptied(url) as db:
        node = db.execute(
            "INSERT INTO fastsched.nodes (id, host, pid, workers, lease_until, locked) "
            "VALUES (gen_random_uuid(), '', 0, 0, 'infinity', false) RETURNING no"
        ).fetchone()[0]  # type: ignore[index]
        began = perf_counter()
        for _ in range(JOBS // INSERT_BATCH):
            rows = [
                (bytes.fromhex(new_id().replace("-", "")), "floor.noop", "default", 0, None, 5,
                 b"[[1],{}]")
                for _ in range(INSERT_BATCH)
            ]  # fmt: skip
            with db.transaction(), db.cursor() as cursor, cursor.copy(SQL["copy"]) as copy:
                copy.set_types(COPY_TYPES)
                for row in rows:
                    copy.write_row(row)
        copied = JOBS / (perf_counter() - began)
        began = perf_counter()
        want = {
            "node": node, "kinds": ["floor.noop"], "queues": None, "limit": CLAIM_BATCH,
            "min_priority": -32768, "horizon": 1.0,
        }  # fmt: skip
        done: list[Any] = []
        left = JOBS
        while left:
            with db.transaction():
                settle(db, 60.0, in_transaction=True)  # or plans would follow stale statistics
                if done:
                    deleted = db.cursor(binary=True).execute(
                        SQL["complete"],
                        {
                            "ids": ",".join([row[0] for row in done]),
                            "nodes": ",".join([str(node)] * len(done)),
                            "claim_nos": ",".join([str(row[9]) for row in done]),
                        },
                    )
                    assert not deleted.fetchall()
                    left -= len(done)
                done = sorted(db.cursor(binary=True).execute(SQL["claim"], want).fetchall())
        return copied, JOBS / (perf_counter() - began)


def scheduler(url: str) -> tuple[float, float]:
    """Jobs a second enqueued in bulk, and drained."""
    with emptied(url):
        pass
    scheduler = Scheduler(url, workers=4)
    job = scheduler.job(noop)
    began = perf_counter()
    for _ in range(JOBS // INSERT_BATCH):
        scheduler.enqueue_many([job.job(number) for number in range(INSERT_BATCH)])
    enqueued = JOBS / (perf_counter() - began)
    began = perf_counter()
    scheduler.start()
    scheduler.wait_until_idle(120)
    drained = JOBS / (perf_counter() - began)
    scheduler.stop()
    assert scheduler.stats().completed == JOBS
    return enqueued, drained


@contextmanager
def server() -> Iterator[str]:
    """The server given, or a private one."""
    if len(sys.argv) > 1:
        yield sys.argv[1]
    else:
        with PrivatePostgres(durable=True) as postgres:
            yield postgres.url


@contextmanager
def emptied(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to fresh tables, analysed."""
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP SCHEMA IF EXISTS fastsched CASCADE")
        producer = Scheduler(url)
        producer.store_stats()
        producer.stop()
        db.execute("VACUUM ANALYZE")
        yield db


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as db:
        row = db.execute("SELECT current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return str(row[0])


if __name__ == "__main__":
    main()
