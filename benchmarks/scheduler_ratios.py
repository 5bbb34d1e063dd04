"""The scheduler's figures on SQLite, fully durable, against their goals and against Huey.

    python benchmarks/scheduler_ratios.py

Everything is measured in one run, in turn, medians of 5; ratios carry over to other machines,
absolute figures do not.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import huey as huey_package
import machine

import fastsched.backlog
from fastsched import Scheduler, _heap_py, heap

JOBS = 10_000
ROUNDS = 5
SCHEDULED = 1_000_000


def noop(number: int) -> None:
    """The smallest job."""


def main() -> None:
    print(machine.describe())
    compiled, fallback, rival = [], [], []
    bulk, rival_bulk = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            base = Path(folder, str(turn))
            base.mkdir()
            enqueued, drained = fastsched_round(base / "compiled.db", heap.IndexedHeap)
            bulk.append(enqueued)
            compiled.append(drained)
            fallback.append(fastsched_round(base / "fallback.db", _heap_py.IndexedHeap)[1])
            enqueued, drained = huey_round(base / "huey.db")
            rival_bulk.append(enqueued)
            rival.append(drained)
        rows = rows_per_commit(Path(folder, "threads.db"))
        late = starts_late_by(Path(folder, "late.db"))
        latency = enqueue_to_start(Path(folder, "latency.db"))
        seconds, megabytes = start_with_scheduled(Path(folder, "many.db"))

    median = statistics.median
    print(f"bulk enqueue          {median(bulk):>10,.0f} jobs/s   (goal 15,000)")
    print(f"  against Huey        {median(bulk) / median(rival_bulk):>10.1f} x")
    print(f"drain, 4 workers      {median(compiled):>10,.0f} jobs/s   (goal 15,000)")
    print(f"  against Huey        {median(compiled) / median(rival):>10.1f} x")
    print(f"  compiled / fallback {median(compiled) / median(fallback):>10.2f} x")
    print(f"16 threads enqueueing {rows:>10.1f} rows a commit   (goal 8)")
    print(f"enqueue to start      {latency[0] * 1e3:>10.2f} ms p50, {latency[1] * 1e3:.2f} ms p99")
    print(f"due in 50 ms          {late[0] * 1e3:>10.2f} ms late p50, {late[1] * 1e3:.2f} ms p99")
    print(
        f"start with {SCHEDULED:,} scheduled: {seconds:.2f} s (goal 5), "
        f"{megabytes:+.1f} MB (goal 60)"
    )


def fastsched_round(file: Path, kind_of_heap: Any) -> tuple[float, float]:
    """Jobs a second enqueued in bulk, and drained."""
    fastsched.backlog.IndexedHeap = kind_of_heap  # type: ignore[misc]
    scheduler = Scheduler(f"sqlite:///{file}", workers=4)
    job = scheduler.job(noop)
    job.enqueue(0)
    enqueue = timed(
        lambda: [
            scheduler.enqueue_many([job.job(n) for n in range(5_000)]) for _ in range(JOBS // 5_000)
        ]
    )

    def drain() -> None:
        scheduler.start()
        scheduler.wait_until_idle(60)

    seconds = timed(drain)
    scheduler.stop()
    assert scheduler.stats().completed == JOBS + 1
    return JOBS / enqueue, JOBS / seconds


def huey_round(file: Path) -> tuple[float, float]:
    """The same with Huey's SQLite queue, durable as well, without its results."""
    queue = huey_package.SqliteHuey(filename=str(file), fsync=True, results=False)
    task = queue.task()(noop)
    enqueue = timed(lambda: [task(n) for n in range(JOBS)])

    def drain() -> None:
        while (message := queue.dequeue()) is not None:
            queue.execute(message)

    return JOBS / enqueue, JOBS / timed(drain)


def rows_per_commit(file: Path) -> float:
    """How many of 16 threads' enqueues share a commit."""
    scheduler = Scheduler(f"sqlite:///{file}")
    job = scheduler.job(noop)
    threads = [
        threading.Thread(target=lambda: [job.enqueue(n) for n in range(200)]) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = scheduler.stats()
    scheduler.stop()
    return stats.scheduled / stats.flushes


def starts_late_by(file: Path) -> tuple[float, float]:
    """Seconds between the due time of a job 50 ms ahead and its start; median and 99th."""
    scheduler = Scheduler(f"sqlite:///{file}")
    clock = scheduler._clock
    late: list[float] = []
    done = threading.Event()

    @scheduler.job(kind="late")
    def note(due: float) -> None:
        late.append(clock.now() - due)
        done.set()

    with scheduler:
        for _ in range(100):
            done.clear()
            note.options(delay=0.05).enqueue(clock.now() + 0.05)
            assert done.wait(10)
    return percentiles(late)


def enqueue_to_start(file: Path) -> tuple[float, float]:
    """Seconds from calling `enqueue` to the start of the handler, on an idle node."""
    scheduler = Scheduler(f"sqlite:///{file}")
    started = threading.Event()
    took: list[float] = []

    @scheduler.job(kind="signal")
    def signal() -> None:
        took.append(perf_counter())
        started.set()

    with scheduler:
        for _ in range(300):
            started.clear()
            began = perf_counter()
            signal.enqueue()
            assert started.wait(10)
            took[-1] -= began
    return percentiles(took[20:])


def start_with_scheduled(file: Path) -> tuple[float, float]:
    """Seconds and megabytes that a start takes while a million jobs are scheduled."""
    scheduler = Scheduler(f"sqlite:///{file}")
    job = scheduler.job(kind="noop")(noop)
    for _ in range(SCHEDULED // 20_000):
        scheduler.enqueue_many([job.options(delay=86_400).job(n) for n in range(20_000)])
    scheduler.stop()
    answer = subprocess.run(
        [sys.executable, "-c", _START, str(file)], capture_output=True, text=True, check=True
    ).stdout.split()
    return float(answer[0]), float(answer[1])


_START = """
import sys, threading, time, resource
from fastsched import Scheduler
import orjson, sqlite3, socket
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before, began = rss(), time.perf_counter()
scheduler = Scheduler(f"sqlite:///{sys.argv[1]}")
ran = threading.Event()
@scheduler.job(kind="first")
def first(): ran.set()
with scheduler:
    first.enqueue()
    ran.wait(60)
    print(time.perf_counter() - began, rss() - before)
"""


def percentiles(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def timed(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


if __name__ == "__main__":
    main()
