"""Claimed jobs that wait for a worker thread of this node.

Two heaps: `timers` by due time, for jobs claimed a little ahead, and `ready` in the order in which
jobs run. A job moves from one to the other when it is due, so a future job never blocks a ready
one. Workers pull: a free one takes the hottest job itself, and one of those that sleep watches the
time of the next timer. Suspects, which ran in a process that died, wait apart and run alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from fastsched.clock import Clock
from fastsched.heap import IndexedHeap
from fastsched.job import ClaimedJob

SUSPECT_PATIENCE = 5.0
"""Seconds for which new starts are held back while a suspect waits for the others to finish."""
SUSPECT_PAUSE = 30.0
"""Seconds until the next try, if they did not finish."""
_TIMERS_AT_ONCE = 1_000


class Backlog:
    """The jobs of a node that are claimed and not running. Safe for any number of threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._timers = IndexedHeap[ClaimedJob]("due")
        self._ready = IndexedHeap[ClaimedJob]("ready")
        self._suspects = IndexedHeap[ClaimedJob]("ready")
        self._priorities: dict[int, int] = {}  # how many are ready or timers, suspects apart
        self._sleepers = 0
        self._watched = False  # whether a sleeper watches the next timer
        self._running = 0
        self._started = 0
        self._alone = False  # whether a suspect runs
        self._hold_from = float("-inf")
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready) + len(self._timers) + len(self._suspects)

    @property
    def running(self) -> int:
        """Jobs taken and not yet given back by `finished`."""
        return self._running

    @property
    def started(self) -> int:
        """Jobs ever taken."""
        return self._started

    @property
    def timers(self) -> int:
        """Jobs that are not due yet."""
        return len(self._timers)

    def coldest(self) -> int | None:
        """The lowest priority that waits; None if nothing does. O(number of priorities)."""
        with self._changed:
            return min(self._priorities, default=None)

    def add(self, jobs: Iterable[ClaimedJob]) -> None:
        """Take jobs in, due or not. O(log n) each."""
        with self._changed:
            now = self._clock.now()
            ready = []
            later = []
            for job in jobs:
                entry = (job.id, job, job.priority, job.due_at)
                if not job.suspect:
                    self._count(job.priority, 1)
                if job.due_at > now:
                    later.append(entry)
                elif job.suspect:
                    self._suspects.push(*entry)
                else:
                    ready.append(entry)
            if ready:
                self._ready.push_many(ready)
            if later:
                self._timers.push_many(later)
            if later or len(self._suspects):
                self._changed.notify_all()  # whoever watches the time must look at it anew
            elif self._sleepers:
                self._changed.notify(len(ready))

    def take(self, finished: bool = False) -> ClaimedJob | None:
        """The next job to run, waiting for one; None once closed.

        `finished`: the caller also gives back the job that it took before.
        """
        with self._changed:
            if finished:
                self._give_back()
            while not self._closed:
                self._move_due()
                job = self._pop()
                if job is not None:
                    self._running += 1
                    self._started += 1
                    if self._sleepers and (
                        len(self._ready) or (len(self._timers) and not self._watched)
                    ):
                        self._changed.notify()
                    return job
                self._sleep()
            return None

    def finished(self) -> None:
        """Give back a job taken before, without taking another."""
        with self._changed:
            self._give_back()

    def _give_back(self) -> None:
        self._running -= 1
        if self._alone or len(self._suspects):
            self._alone = False
            self._changed.notify_all()

    def remove(self, job_id: str) -> ClaimedJob | None:
        """Take a waiting job out; None if it does not wait here. O(log n)."""
        with self._changed:
            for heap in (self._ready, self._timers, self._suspects):
                if job_id in heap:
                    job = heap.remove(job_id)[1]
                    if not job.suspect:
                        self._count(job.priority, -1)
                    return job
        return None

    def absent(self, ids: Iterable[str]) -> set[str]:
        """Those of the ids that do not wait here. O(number of ids)."""
        heaps = (self._ready, self._timers, self._suspects)
        with self._changed:
            return {job_id for job_id in ids if not any(job_id in heap for heap in heaps)}

    def take_colder(self, priority: int) -> list[ClaimedJob]:
        """Take out what is ready with a lower priority."""
        with self._changed:
            entries = self._ready.pop_many(len(self._ready))
            self._ready.push_many([entry for entry in entries if entry[2] >= priority])
            colder = [entry[1] for entry in entries if entry[2] < priority]
            for job in colder:
                self._count(job.priority, -1)
            return colder

    def close(self) -> list[ClaimedJob]:
        """Let every waiting worker go; the jobs that were left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._empty()

    def clear(self) -> list[ClaimedJob]:
        """Take out everything that waits."""
        with self._changed:
            return self._empty()

    def _empty(self) -> list[ClaimedJob]:
        left = []
        for heap in (self._suspects, self._ready, self._timers):
            left += [entry[1] for entry in heap.pop_many(len(heap))]
        self._priorities.clear()
        return left

    def _count(self, priority: int, by: int) -> None:
        count = self._priorities.get(priority, 0) + by
        if count:
            self._priorities[priority] = count
        else:
            del self._priorities[priority]

    def _move_due(self) -> None:
        if not len(self._timers):
            return
        due = self._timers.pop_due(self._clock.now(), _TIMERS_AT_ONCE)
        for entry in due:
            heap = self._suspects if entry[1].suspect else self._ready
            heap.push(*entry)

    def _pop(self) -> ClaimedJob | None:
        if self._alone:
            return None
        if len(self._suspects):
            if self._running == 0:
                self._alone = True
                self._hold_from = float("-inf")
                return self._suspects.pop()[1]
            if self._holds_back():
                return None
        if not len(self._ready):
            return None
        job = self._ready.pop()[1]
        self._count(job.priority, -1)
        return job

    def _holds_back(self) -> bool:
        """Whether new starts wait, so that the running jobs finish and a suspect gets its turn."""
        now = self._clock.monotonic()
        if now > self._hold_from + SUSPECT_PATIENCE + SUSPECT_PAUSE:
            self._hold_from = now
        return now < self._hold_from + SUSPECT_PATIENCE

    def _sleep(self) -> None:
        """Wait for a change; one of the sleepers also watches the time."""
        self._sleepers += 1
        watch = not self._watched
        seconds = self._until_next() if watch else None
        if watch:
            self._watched = seconds is not None
        try:
            self._clock.wait(self._changed, seconds)
        finally:
            self._sleepers -= 1
            if watch:
                self._watched = False

    def _until_next(self) -> float | None:
        waits = []
        if len(self._timers):
            waits.append(self._timers.peek()[3] - self._clock.now())
        if len(self._suspects) and len(self._ready) and not self._alone:
            end = self._hold_from + SUSPECT_PATIENCE
            waits.append(max(end - self._clock.monotonic(), 0.001))
        return min(waits, default=None)
