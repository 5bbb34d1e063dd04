"""Several processes on one PostgreSQL and one Redis: what a second one adds, and what idling costs.

    python benchmarks/cluster.py

Private servers are started, fsync on. Measured are: the jobs a second of two worker processes
against one, each job waiting 1 ms; the time from before `enqueue` in one process to the first line
of the handler in another, idle one; and the transactions and the processor time of an idle node.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import machine
import psutil
import psycopg

from fastsched import Scheduler
from fastsched.servers import PrivatePostgres, PrivateRedis

JOBS = 6_000
WORKERS = 4
ROUNDS = 5
SAMPLES = 500
IDLE_SECONDS = 60.0


class Program:
    """The scheduler and the jobs that every process has."""

    def __init__(self, url: str, redis: str | None) -> None:
        self.scheduler = Scheduler(url, redis=redis, workers=WORKERS)
        self.wait = self.scheduler.job(kind="wait")(wait)
        self.stamp = self.scheduler.job(kind="stamp")(stamp)


def wait(seconds: float) -> None:
    """What a job does that waits for others."""
    time.sleep(seconds)


def stamp(sent_at: float) -> None:
    """Say how long ago the job was sent; the clock is the same for all processes."""
    print(time.monotonic() - sent_at, flush=True)


def main() -> None:
    with PrivatePostgres(durable=True) as postgres, PrivateRedis() as redis:
        print(f"{machine.describe()}; fsync on")
        one, two = [], []
        for _ in range(ROUNDS):
            one.append(drain(postgres.url, redis.url, processes=1))
            two.append(drain(postgres.url, redis.url, processes=2))
        ratio = statistics.median(b / a for a, b in zip(one, two, strict=True))
        print(
            f"jobs that wait 1 ms: one process {statistics.median(one):,.0f}/s, "
            f"two {statistics.median(two):,.0f}/s: {ratio:.2f} times (goal 1.8)"
        )
        late = sorted(latencies(postgres.url, redis.url))
        print(
            f"enqueue here to handler there: p50 {late[len(late) // 2] * 1e3:.2f} ms (goal 3), "
            f"p99 {late[len(late) * 99 // 100] * 1e3:.2f} ms (goal 20)"
        )
        for name, bus in (("with Redis", redis.url), ("without Redis", None)):
            asked, cpu = idle(postgres, bus)
            print(
                f"an idle node {name}: {asked:.2f} transactions/s (goal 1), "
                f"{cpu:.2%} of a processor"
            )


class Worker:
    """A process that starts its scheduler when told to, and stops when told to."""

    def __init__(self, url: str, redis: str | None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, url, redis or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.line()

    def line(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> None:
        """Let it start, and at the next call stop."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.go()
        self.process.wait()


def worker(url: str, redis: str | None) -> None:
    scheduler = Program(url, redis).scheduler
    scheduler.store_stats()  # so that it is connected
    print("ready", flush=True)
    sys.stdin.readline()
    with scheduler:
        print("started", flush=True)
        sys.stdin.readline()


def drain(url: str, redis: str, *, processes: int) -> float:
    """Jobs a second of a backlog that was there before."""
    here = Program(url, redis)
    here.scheduler.enqueue_many(here.wait.job(0.001) for _ in range(JOBS))
    workers = [Worker(url, redis) for _ in range(processes)]
    began = time.perf_counter()
    for each in workers:
        each.go()
    here.scheduler.wait_until_idle(120)
    rate = JOBS / (time.perf_counter() - began)
    for each in workers:
        each.end()
    here.scheduler.stop()
    return rate


def latencies(url: str, redis: str) -> Iterator[float]:
    """Seconds from before an enqueue here to the handler in another process, which is idle."""
    here = Program(url, redis)
    there = Worker(url, redis)
    there.go()
    there.line()
    for number in range(SAMPLES + 20):
        time.sleep(random.uniform(0.01, 0.03))
        here.stamp.enqueue(time.monotonic())
        seconds = float(there.line())
        if number >= 20:  # connected, and its plans made
            yield seconds
    there.end()
    here.scheduler.stop()


def idle(postgres: PrivatePostgres, redis: str | None) -> tuple[float, float]:
    """Transactions a second, and the share of a processor, of a node with nothing to do."""
    node = Worker(postgres.url, redis)
    node.go()
    node.line()
    process = psutil.Process(node.process.pid)
    time.sleep(3)  # past its first chores
    with logged(postgres) as seen:
        before = process.cpu_times()
        time.sleep(IDLE_SECONDS)
        used = process.cpu_times()
    node.end()
    seconds = used.user + used.system - before.user - before.system
    return len(seen) / IDLE_SECONDS, seconds / IDLE_SECONDS


@contextmanager
def logged(postgres: PrivatePostgres) -> Iterator[set[str]]:
    """Have the server log all statements; afterwards, the transactions of fastsched among them."""
    seen: set[str] = set()
    earlier = transactions(postgres)
    with psycopg.connect(postgres.url, autocommit=True) as db:
        db.execute("ALTER SYSTEM SET log_line_prefix = '%a %v '")
        for setting in ("all", "none"):
            db.execute(f"ALTER SYSTEM SET log_statement = '{setting}'")
            db.execute("SELECT pg_reload_conf()")
            time.sleep(0.5)
            if setting == "all":
                yield seen
    seen |= transactions(postgres) - earlier


def transactions(postgres: PrivatePostgres) -> set[str]:
    """Those of fastsched in the server's log, by their virtual ids."""
    lines = postgres.log_tail(100_000).splitlines()
    return {line.split()[1] for line in lines if line.startswith("fastsched ")}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        worker(sys.argv[1], sys.argv[2] or None)
    else:
        main()
