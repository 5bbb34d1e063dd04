"""How far a node claims ahead of its workers."""

from __future__ import annotations

from fastsched.clock import Clock

HOLD_SECONDS = 0.5
"""A node claims no more than it will finish in about this time."""
MOST_HELD = 4_096


class Pace:
    """How many jobs a node may hold: what it will finish in `HOLD_SECONDS`, at its present rate."""

    def __init__(self, clock: Clock, workers: int) -> None:
        self._clock = clock
        self._least = workers
        self._since = clock.monotonic()
        self._count = 0
        self._rate = 0.0

    def ended(self, runs: int) -> None:
        """So many runs have ended; averages over about a quarter of a second."""
        self._count += runs
        now = self._clock.monotonic()
        seconds = now - self._since
        if seconds >= 0.01:
            weight = min(seconds / 0.25, 1.0)
            self._rate += weight * (self._count / seconds - self._rate)
            self._since, self._count = now, 0

    def most(self) -> int:
        return int(min(max(self._rate * HOLD_SECONDS, self._least), MOST_HELD))
