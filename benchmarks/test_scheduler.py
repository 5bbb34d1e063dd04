"""The whole scheduler on SQLite, fully durable, with either heap, beside Huey's SQLite queue.

pytest benchmarks/test_scheduler.py --benchmark-enable
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fastsched.backlog
from fastsched import JobFunction, Scheduler, _heap_py

JOBS = 10_000
HEAPS: dict[str, Any] = {"fallback": _heap_py.IndexedHeap}
try:
    from fastsched import _heap

    HEAPS["compiled"] = _heap.IndexedHeap
except ImportError:
    pass


def noop(number: int) -> None:
    """The smallest job."""


@pytest.fixture(params=sorted(HEAPS))
def heap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the scheduler on one of the two heaps."""
    monkeypatch.setattr(fastsched.backlog, "IndexedHeap", HEAPS[request.param])
    name: str = request.param
    return name


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Scheduler]:
    """A producer on a fresh file."""
    scheduler = Scheduler(f"sqlite:///{tmp_path}/jobs.db", workers=4)
    yield scheduler
    scheduler.stop()


def fill(job: JobFunction[..., Any, Any], scheduler: Scheduler, jobs: int = JOBS) -> None:
    for start in range(0, jobs, 5_000):
        scheduler.enqueue_many([job.job(n) for n in range(start, min(start + 5_000, jobs))])


@pytest.mark.benchmark(group="bulk enqueue, 10,000 jobs")
def test_fastsched_enqueues_in_bulk(benchmark: Any, scheduler: Scheduler) -> None:
    job = scheduler.job(noop)
    job.enqueue(0)
    benchmark.pedantic(fill, args=(job, scheduler), rounds=5)


@pytest.mark.benchmark(group="drain, 10,000 no-op jobs")
def test_fastsched_drains(benchmark: Any, scheduler: Scheduler, heap: str) -> None:
    job = scheduler.job(noop)

    def drain() -> None:
        with scheduler:
            scheduler.wait_until_idle(60)

    benchmark.pedantic(drain, setup=lambda: fill(job, scheduler), rounds=5)
    assert scheduler.stats().completed >= 5 * JOBS


@pytest.mark.benchmark(group="single enqueue")
def test_fastsched_enqueues_one(benchmark: Any, scheduler: Scheduler) -> None:
    job = scheduler.job(noop)
    benchmark(job.enqueue, 1)


@pytest.mark.benchmark(group="16 threads enqueue 100 jobs each")
def test_fastsched_shares_commits(benchmark: Any, scheduler: Scheduler) -> None:
    job = scheduler.job(noop)
    job.enqueue(0)

    benchmark.pedantic(in_threads, args=(lambda: job.enqueue(1), 16, 100), rounds=5)
    stats = scheduler.stats()
    benchmark.extra_info["rows per commit"] = round(stats.scheduled / stats.flushes, 1)
    assert stats.scheduled / stats.flushes >= 8


@pytest.mark.benchmark(group="enqueue to start, idle node")
def test_fastsched_starts_at_once(benchmark: Any, scheduler: Scheduler, heap: str) -> None:
    started = threading.Event()

    @scheduler.job(kind="signal")
    def signal() -> None:
        started.set()

    def start_one() -> None:
        started.clear()
        signal.enqueue()
        assert started.wait(10)

    with scheduler:
        benchmark.pedantic(start_one, rounds=200, warmup_rounds=20)


@pytest.mark.benchmark(group="bulk enqueue, 10,000 jobs")
def test_huey_enqueues_in_bulk(benchmark: Any, tmp_path: Path) -> None:
    task = huey_task(tmp_path)

    def fill_huey() -> None:
        for number in range(JOBS):
            task(number)

    benchmark.pedantic(fill_huey, rounds=3)


@pytest.mark.benchmark(group="drain, 10,000 no-op jobs")
def test_huey_drains(benchmark: Any, tmp_path: Path) -> None:
    task = huey_task(tmp_path)
    huey = task.huey

    def fill_huey() -> None:
        for number in range(JOBS):
            task(number)

    def drain() -> None:
        while (message := huey.dequeue()) is not None:
            huey.execute(message)

    benchmark.pedantic(drain, setup=fill_huey, rounds=3)


def huey_task(folder: Path) -> Any:
    huey = pytest.importorskip("huey")
    queue = huey.SqliteHuey(filename=str(folder / "huey.db"), fsync=True, results=False)
    return queue.task()(noop)


def in_threads(call: Callable[[], object], threads: int, times: int) -> None:
    def repeat() -> None:
        for _ in range(times):
            call()

    workers = [threading.Thread(target=repeat) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
