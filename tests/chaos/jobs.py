"""The jobs of the durability tests, those that hurt their process, and producers that insist."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from durability.jobs import Jobs

from fastsched import EnqueueUnknown, JobContext, NewJob, StoreError, StoreUnavailable
from fastsched.ids import new_id

_MEGABYTE = 1 << 20
_HEADROOM = 64 * _MEGABYTE
_LATER = 0.05
"""Seconds until a producer asks again."""


class ChaosJobs(Jobs):
    """Jobs in any process of a storm."""

    def __init__(self, folder: Path, name: str, *, skew: float = 0.0, **settings: Any) -> None:
        """`skew`: seconds by which this process's wall clock is wrong, now and again the other way.

        Everything in the process sees that, but for the journal.
        """
        if skew:
            set_wrong(skew)
        super().__init__(folder, name, **settings)
        self.hog = self.scheduler.job(kind="hog")(self._hog)
        self.glutton = self.scheduler.job(kind="glutton", max_attempts=2)(self._glutton)

    # Jobs ----------------------------------------------------------------------------------------

    def _hog(self, ctx: JobContext, seconds: float, claims: int) -> None:
        """Holds the GIL in its first claims, as one bad regular expression does."""
        with self._noted(ctx):
            if ctx.claim.claim_no <= claims:
                since = self.journal.now()
                ctypes.PyDLL(None).usleep(int(seconds * 1e6))
                self._note_fault("held the GIL", since)

    def _glutton(self, ctx: JobContext) -> None:
        """Takes all the memory that its process may have."""
        since = self.journal.now()
        try:
            with self._noted(ctx):
                exhaust_memory()
        finally:
            self._note_fault("out of memory", since)

    def _note_fault(self, what: str, since: float) -> None:
        pid = os.getpid()
        self.journal.note("fault", pid=pid, what=what, at=since, until=self.journal.now())

    # Producing -----------------------------------------------------------------------------------

    def stream(self, count: int, seconds: float, most_ms: float, dice: random.Random) -> None:
        """Enqueue so many jobs in so many seconds, as programs do, whatever the store says.

        Most of them work for up to `most_ms`.
        """
        pace = threading.Event()
        began = time.monotonic()
        done = 0
        while done < count:
            size = min(dice.choice((1, 1, 5, 20)), count - done)
            self.insist(self._some(size, most_ms, dice))
            done += size
            pace.wait(max(began + seconds * done / count - time.monotonic(), 0))

    def insist(self, jobs: Sequence[NewJob]) -> None:
        """Enqueue them: again with the same ids if nobody knows, with others if refused."""
        while True:
            try:
                self.enqueue(*jobs)
                return
            except EnqueueUnknown:
                self.repeat(jobs)
                return
            except StoreUnavailable:
                jobs = [job._replace(id=new_id()) for job in jobs]
            threading.Event().wait(_LATER)

    def repeat(self, jobs: Sequence[NewJob]) -> None:
        """Enqueue again, with the same ids, what was perhaps accepted, until it is known to be."""
        again = [job._replace(given_id=True) for job in jobs]
        while True:
            try:
                self.scheduler.enqueue_many(again)
                break
            except StoreError:
                threading.Event().wait(_LATER)
        for job in again:
            self.journal.note("enqueue_ok", id=job.id)

    def _some(self, count: int, most_ms: float, dice: random.Random) -> list[NewJob]:
        """Jobs of one transaction; half of the callers choose their ids."""
        kind = dice.choices((self.work, self.book, self.flaky), (75, 17, 8))[0]
        delay = dice.choice((0, 0, 0, 0.02, 0.2))
        most = 3.0 if kind is self.book else most_ms  # on SQLite a book holds up everybody
        options = kind.options(priority=dice.randrange(3), delay=delay)
        jobs = [options.job(dice.uniform(0, most)) for _ in range(count)]
        given = dice.random() < 0.5
        return [job._replace(given_id=given) for job in jobs]


def exhaust_memory() -> None:
    """Allocate until there is a `MemoryError`, in other threads perhaps; then give it all back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    taken = []
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _HEADROOM, hard))
    try:
        while True:
            taken.append(bytearray(_MEGABYTE))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        taken.clear()


def set_wrong(skew: float) -> None:
    """Set this process's wall clock wrong by `skew` seconds, every other second by as much back."""
    right, right_ns = time.time, time.time_ns

    def error() -> float:
        return skew if int(time.monotonic()) % 2 else -skew

    time.time = lambda: right() + error()
    time.time_ns = lambda: right_ns() + int(error() * 1e9)
