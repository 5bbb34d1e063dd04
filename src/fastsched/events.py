"""What happened to jobs: told to hooks and to the log, once it is committed."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fastsched.job import Failure

_log = logging.getLogger("fastsched.jobs")


class Transition(StrEnum):
    """How a run or a job ended."""

    COMPLETED = "completed"
    RETRIED = "retried"
    DEAD = "dead"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SNOOZED = "snoozed"
    RELEASED = "released"
    STALE = "stale"


_LEVELS = {
    Transition.RETRIED: logging.WARNING,
    Transition.DEAD: logging.ERROR,
    Transition.EXPIRED: logging.WARNING,
    Transition.STALE: logging.WARNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One transition of one job. Arguments are not part of it."""

    transition: Transition
    id: str
    kind: str
    queue: str
    attempt: int
    duration: float | None = None
    """Seconds that the run took; None if there was none."""
    reason: str | None = None
    failure: Failure | None = None


Hook = Callable[[Event], object]


class Events:
    """Writes one log record for every event and calls the hooks, in a thread of their own."""

    def __init__(self) -> None:
        self._hooks: dict[Transition, list[Hook]] = {}
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def on(self, transition: Transition, hook: Hook) -> None:
        """Call `hook` for every such transition that this process brings about."""
        self._hooks.setdefault(transition, []).append(hook)

    def with_hooks_of(self, other: Events) -> Events:
        """The same hooks, in a fork."""
        self._hooks = other._hooks
        return self

    def wanted(self, transition: Transition) -> bool:
        """Whether anyone would see such an event."""
        return transition in self._hooks or _log.isEnabledFor(_level(transition))

    def emit(self, event: Event) -> None:
        """Log it and hand it to the hooks; returns without waiting for them."""
        level = _level(event.transition)
        if _log.isEnabledFor(level):
            _record(level, event)
        if event.transition in self._hooks:
            self._ensure_thread()
            self._queue.put(event)

    def close(self) -> None:
        """Wait until the hooks have seen every event so far."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            if thread is not threading.current_thread():
                thread.join()

    def _ensure_thread(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop, name="fastsched-hooks", daemon=True
                )
                self._thread.start()

    def _loop(self) -> None:
        while (event := self._queue.get()) is not None:
            for hook in self._hooks[event.transition]:
                try:
                    hook(event)
                except Exception:
                    _log.exception("the hook %r failed for %s", hook, event.transition)


def _level(transition: Transition) -> int:
    return _LEVELS.get(transition, logging.INFO)


def _record(level: int, event: Event) -> None:
    duration = "" if event.duration is None else f" in {event.duration * 1000:.1f} ms"
    why = dict.fromkeys(str(each) for each in (event.reason, event.failure) if each is not None)
    reason = f": {_one_line('; '.join(why))}" if why else ""
    _log.log(
        level,
        "%s %s (%s, attempt %d)%s%s",
        event.transition,
        _one_line(event.id),
        _one_line(event.kind),
        event.attempt,
        duration,
        reason,
        extra={
            "transition": str(event.transition),
            "job_id": event.id,
            "kind": event.kind,
            "queue": event.queue,
            "attempt": event.attempt,
            "duration": event.duration,
        },
    )


def _one_line(text: str) -> str:
    """Without control characters: one event is one line."""
    return "".join(c if c.isprintable() else " " for c in text)
