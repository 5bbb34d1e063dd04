"""Hints between processes. Losing every one of them costs latency, never a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastsched.job import MAX_PRIORITY


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Something in the store may be worth claiming."""

    priority: int = MAX_PRIORITY
    """The highest priority among it; the highest of all if that is not known."""
    due_at: float = 0.0
    """The earliest due time among it, in store time."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What one process tells the others. Whoever gets it looks in the store: it proves nothing."""

    wake_up: WakeUp | None = None
    ended: frozenset[str] | None = frozenset()
    """Ids of jobs that have ended; None when some have and it is not said which."""
    cancel: bool = False
    """Whether running jobs may have been asked to stop."""

    def __or__(self, other: Hint) -> Hint:
        """Both in one."""
        both = (self.wake_up, other.wake_up)
        ups = [up for up in both if up is not None]
        ended = None
        if self.ended is not None and other.ended is not None:
            ended = self.ended | other.ended
        return Hint(
            WakeUp(max(up.priority for up in ups), min(up.due_at for up in ups)) if ups else None,
            ended,
            self.cancel or other.cancel,
        )

    def __bool__(self) -> bool:
        return self != _NOTHING


_NOTHING = Hint()
WORK = Hint(wake_up=WakeUp())
CANCEL = Hint(cancel=True)
LOOK_AT_ALL = Hint(WakeUp(), None, cancel=True)
"""Something may have been missed."""


class Bus(Protocol):
    """Carries hints to the other processes on the same store."""

    def publish(self, hint: Hint) -> None:
        """Send to all others; never fails, never blocks."""

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        """Call `receive` from a thread of the bus for hints of others, coalesced."""

    def close(self) -> None:
        """Stop; may be called twice."""

    def forsake(self) -> None:
        """In the child of a fork: drop what belongs to the parent, without touching it."""


class NoBus:
    """No bus: every process looks at the store once a second."""

    def publish(self, hint: Hint) -> None:
        pass

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        pass

    def close(self) -> None:
        pass

    def forsake(self) -> None:
        pass
