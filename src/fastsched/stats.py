"""Numbers: what this node has done, and what the store holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fastsched.clock import Clock
from fastsched.job import State
from fastsched.stores.base import Counts, NodeInfo

_WINDOW = 10
"""Seconds over which rates are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """One scheduler in one process, since it was opened. Counted after each commit, so exact."""

    node: str | None
    """Id while started; None for a producer."""
    scheduled: int
    """Jobs that this process put into the store."""
    dispatched: int
    """Runs that started."""
    completed: int
    failed: int
    """Runs that raised, timed out or asked for a retry: `retried` and the failures in `dead`."""
    retried: int
    expired: int
    dead: int
    cancelled: int
    snoozed: int
    released: int
    """Jobs given back unused."""
    stale: int
    """Ends refused because the claim did not hold any more."""
    rescued: int
    """Jobs that this node took back from dead ones."""
    queue_length: int
    """Claimed jobs that wait for a worker here."""
    workers: int
    workers_active: int
    zombies: int
    """Threads whose run was written off and still has not returned."""
    flushes: int
    """Transactions that wrote jobs or ends."""
    scheduled_per_second: float
    """Over the last ten seconds."""
    completed_per_second: float
    """Over the last ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """The whole store, at `at` (store time)."""

    at: float
    nodes: tuple[NodeInfo, ...]
    ready: int
    scheduled: int
    claimed: int
    waiting: int
    dead_letters: int
    """Dead jobs kept now."""
    accepted: int
    """Jobs ever taken; always ``done + dead + cancelled + expired + live``."""
    done: int
    dead: int
    cancelled: int
    expired: int
    retried: int
    rescued: int
    crashed: int
    stale: int

    @classmethod
    def of(cls, counts: Counts, nodes: Sequence[NodeInfo], at: float) -> StoreStats:
        """From what the store answers."""
        states, totals = counts.states, counts.totals
        return cls(
            at=at,
            nodes=tuple(nodes),
            ready=states.get(State.READY, 0),
            scheduled=states.get(State.SCHEDULED, 0),
            claimed=states.get(State.CLAIMED, 0),
            waiting=states.get(State.WAITING, 0),
            dead_letters=states.get(State.DEAD, 0),
            accepted=totals.get("accepted", 0),
            done=totals.get("done", 0),
            dead=totals.get("dead", 0),
            cancelled=totals.get("cancelled", 0),
            expired=totals.get("expired", 0),
            retried=totals.get("retry", 0),
            rescued=totals.get("rescued", 0),
            crashed=totals.get("crashed", 0),
            stale=totals.get("stale", 0),
        )

    @property
    def live(self) -> int:
        """Jobs that have not ended."""
        return self.ready + self.scheduled + self.claimed + self.waiting

    def accepted_per_second(self, earlier: StoreStats) -> float:
        """The mean rate between two looks."""
        return _rate(self.accepted - earlier.accepted, self.at - earlier.at)

    def done_per_second(self, earlier: StoreStats) -> float:
        """The mean rate between two looks."""
        return _rate(self.done - earlier.done, self.at - earlier.at)


def _rate(events: int, seconds: float) -> float:
    return events / seconds if seconds > 0 else 0.0


class Meter:
    """Events a second over the last seconds; counted by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_WINDOW + 1)

    def count(self, events: int) -> None:
        """So many events have happened now."""
        second = int(self._clock.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            events += self._seconds.pop()[1]
        self._seconds.append((second, events))

    def rate(self) -> float:
        """Events a second, the present second included as far as it goes."""
        now = self._clock.monotonic()
        first = int(now) - _WINDOW + 1
        events = sum(n for second, n in list(self._seconds) if second >= first)
        return events / max(now - max(first, self._began), 1.0)
