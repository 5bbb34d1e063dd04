"""What the scheduler's tests share: a job that holds a worker, and a place to note what ran."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from clocks import PATIENCE

from fastsched import JobFunction, JobHandle, Scheduler


class Gate:
    """Jobs that hold their workers until the gate opens."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._opened = threading.Event()
        self._entered = threading.Semaphore(0)
        self.job: JobFunction = scheduler.job(self._hold, kind="gate", max_attempts=1)

    def _hold(self) -> None:
        self._entered.release()
        assert self._opened.wait(PATIENCE)

    def hold(self, workers: int = 1) -> list[JobHandle]:
        """Keep so many workers busy; returns once they are."""
        handles = [self.job.options(priority=32767).enqueue() for _ in range(workers)]
        for _ in range(workers):
            assert self._entered.acquire(timeout=PATIENCE), "no worker came to the gate"
        return handles

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gates() -> Iterator[Callable[[Scheduler], Gate]]:
    """Makes gates, which are opened after the test."""
    made: list[Gate] = []

    def make(scheduler: Scheduler) -> Gate:
        made.append(Gate(scheduler))
        return made[-1]

    yield make
    for gate in made:
        gate.open()


@pytest.fixture
def gate(scheduler: Scheduler, gates: Callable[[Scheduler], Gate]) -> Gate:
    """A gate of the scheduler `scheduler`."""
    return gates(scheduler)
