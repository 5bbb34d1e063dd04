"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

PATIENCE = 10.0
"""Real seconds after which a test gives up on something that should happen at once."""


class ManualClock:
    """A `fastsched.clock.Clock` whose time moves by `advance` only.

    Its waits end when their condition is notified or when the time has been moved: code that waits
    must look again, as it must with any clock.
    """

    def __init__(self, now: float = 1_000_000.0, monotonic: float = 5_000.0) -> None:
        self._now = now
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._waiting: list[tuple[threading.Condition, float | None]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            return
        entry = (condition, seconds)
        with self._changed:
            self._waiting.append(entry)
            self._changed.notify_all()
        condition.wait()
        with self._changed:
            self._waiting.remove(entry)

    def advance(self, seconds: float) -> None:
        """Move both times on, and let everybody who waits look at them."""
        self._now += seconds
        self._monotonic += seconds
        with self._changed:
            conditions = [condition for condition, _ in self._waiting]
        for condition in conditions:
            with condition:
                condition.notify_all()

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, unseen by the monotonic one and by who waits."""
        self._now += seconds

    def until_waiting(self, threads: int) -> list[float | None]:
        """Return once so many threads wait on this clock: the seconds that each of them asked."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._waiting) >= threads, PATIENCE), (
                f"{len(self._waiting)} threads wait on the clock, wanted {threads}"
            )
            return [seconds for _, seconds in self._waiting]
