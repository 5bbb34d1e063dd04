"""Threads that wait until jobs have ended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from fastsched.clock import Clock

RECHECK = 1.0
"""Seconds after which a waiting thread looks for itself, should the news have been lost."""


class Waiters:
    """Wakes waiting threads when news comes; they look at the store themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._news = 0
        self._waiting: Counter[str | None] = Counter()

    def tell(self, ended: frozenset[str] | None = None) -> None:
        """Jobs have ended: these, or some if it is not known which."""
        if self._waiting:
            with self._changed:
                if ended is None or None in self._waiting or not ended.isdisjoint(self._waiting):
                    self._news += 1
                    self._changed.notify_all()

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
                self._waiting[job_id] -= 1
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
