"""Threads that wait until jobs have ended."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from fastsched.clock import Clock

RECHECK = 1.0
"""Seconds after which a waiting thread looks for itself, should the news have been lost."""


class Waiters:
    """Wakes waiting threads when news comes; they look at the store themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._news = 0
        self._hearers: list[tuple[str, Callable[[], None]]] = []
        self._waiting: Counter[str | None] = Counter()

    def tell(self, ended: frozenset[str] | None = None) -> None:
        """Jobs have ended: these, or some if it is not known which."""
        if self._waiting:
            with self._changed:
                if ended is None or None in self._waiting or not ended.isdisjoint(self._waiting):
                    self._news += 1
                    self._changed.notify_all()
                    for job_id, hear in self._hearers:
                        if ended is None or job_id in ended:
                            hear()

    @contextlib.contextmanager
    def listening(self, job_id: str, hear: Callable[[], None]) -> Iterator[None]:
        """Have `hear` called, from any thread, after news of a job."""
        with self._changed:
            self._waiting[job_id] += 1
            self._hearers.append((job_id, hear))
        try:
            yield
        finally:
            with self._changed:
                self._hearers.remove((job_id, hear))
                self._leave(job_id)

    def until(
        self, happened: Callable[[], bool], timeout: float | None, job_id: str | None = None
    ) -> bool:
        """Wait until `happened()`, for at most `timeout` seconds.

        It is asked anew after news, of one job only if that is all it depends on.
        """
        end = None if timeout is None else self._clock.monotonic() + timeout
        with self._changed:
            self._waiting[job_id] += 1
        try:
            while True:
                seen = self._news
                if happened():
                    return True
                left = RECHECK if end is None else min(end - self._clock.monotonic(), RECHECK)
                if left <= 0:
                    return False
                with self._changed:
                    if self._news == seen:
                        self._clock.wait(self._changed, left)
        finally:
            with self._changed:
                self._leave(job_id)

    def _leave(self, job_id: str | None) -> None:
        self._waiting[job_id] -= 1
        if not self._waiting[job_id]:
            del self._waiting[job_id]
