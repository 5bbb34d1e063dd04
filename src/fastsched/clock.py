"""The only module that asks the time.

Due times, deadlines and leases are **store time**: seconds since the epoch by the store's clock.
Durations are measured on the monotonic clock. A wait is never longer than `MAX_WAIT`, so that a
wall clock set forward is noticed, and never so long that the platform refuses it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

MAX_WAIT = 60.0
"""Longest single wait, seconds."""


class Clock(Protocol):
    """What the scheduler needs to know about time; tests bring their own."""

    def now(self) -> float:
        """Store time, seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds on a clock that never steps."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait on `condition` (held) until notified or until `seconds` have passed."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(None if seconds is None else min(max(seconds, 0.0), MAX_WAIT))


class RemoteClock(SystemClock):
    """Store time of a server elsewhere, told by readings and carried on by the monotonic clock.

    A reading is already a little old when it arrives, so the time told here is late by as much, and
    never early. The freshest of the last readings counts.
    """

    def __init__(self) -> None:
        self._offsets: deque[float] = deque([time.time() - time.monotonic()], maxlen=1)

    def read(self, store_time: float) -> None:
        """The server said that it was `store_time`."""
        if self._offsets.maxlen == 1:
            self._offsets = deque(maxlen=10)
        self._offsets.append(store_time - time.monotonic())

    def now(self) -> float:
        return max(self._offsets) + time.monotonic()


def boot_seconds() -> float:
    """Seconds on a clock that also counts while the machine sleeps, for leases."""
    return time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic()


_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def epoch_ns() -> int:
    """Nanoseconds since the epoch, for ids."""
    return time.time_ns()


def to_datetime(seconds: float) -> datetime:
    """Store time as an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def wait_for(
    clock: Clock,
    condition: threading.Condition,
    ready: Callable[[], bool],
    timeout: float | None,
) -> bool:
    """Wait on `condition` (held) until `ready()` or for `timeout` seconds; return `ready()`."""
    end = None if timeout is None else clock.monotonic() + timeout
    while not ready():
        left = None if end is None else end - clock.monotonic()
        if left is not None and left <= 0:
            return False
        clock.wait(condition, left)
    return True
