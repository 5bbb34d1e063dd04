"""After every flush: count what it came to and tell it. Runs in the writer's thread only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fastsched.clock import Clock
from fastsched.events import Event, Events, Transition
from fastsched.executor import Run
from fastsched.job import State
from fastsched.outcomes import (
    Cancel,
    Committed,
    Dead,
    Done,
    Expire,
    Outcome,
    Release,
    Retry,
    Snooze,
)
from fastsched.stats import Meter
from fastsched.stores.base import Flush, Flushed, Rescued


class Report:
    """The counts of one process, and the source of its events."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self.counts: Counter[str] = Counter()
        self.dispatched = 0
        """Runs started by nodes that this process has stopped since."""
        self.scheduled = Meter(clock)
        self.completed = Meter(clock)

    def flushed(self, flush: Flush, flushed: Flushed, ends: Sequence[tuple[Run, Outcome]]) -> None:
        """A flush was committed."""
        if flush.jobs:
            self.counts["scheduled"] += flushed.accepted
            self.scheduled.count(flushed.accepted)
        if flush.jobs or ends:
            self.counts["flushes"] += 1
        if ends:
            self._ended(flushed, ends)

    def _ended(self, flushed: Flushed, ends: Sequence[tuple[Run, Outcome]]) -> None:
        before = self.counts["completed"]
        if flushed.stale or flushed.states or self._events.wanted(Transition.COMPLETED):
            for run, outcome in ends:
                self._told(run, outcome, _transition(run, outcome, flushed))
        else:  # all completed, and nobody listens: the usual case under load
            self.counts["completed"] += len(ends)
        self.completed.count(self.counts["completed"] - before)

    def _told(self, run: Run, outcome: Outcome, transition: Transition) -> None:
        self.counts[transition.value] += 1
        failure = outcome.failure if isinstance(outcome, (Retry, Dead)) else None
        if failure is not None and transition is not Transition.STALE:
            self.counts["failed"] += 1
        if self._events.wanted(transition):
            self._events.emit(
                Event(
                    transition=transition,
                    id=run.job.id,
                    kind=run.job.kind,
                    queue=run.job.queue,
                    attempt=run.job.attempt,
                    duration=None if isinstance(outcome, (Expire, Release)) else run.duration,
                    reason=getattr(outcome, "reason", None),
                    failure=failure,
                )
            )

    def rescued(self, rescued: Rescued) -> None:
        """This node took back the jobs of dead ones."""
        self.counts["rescued"] += rescued.released
        self.ended_unrun(Transition.DEAD, rescued.dead, "crashed")

    def ended_unrun(
        self, transition: Transition, jobs: Sequence[tuple[str, str, str, int]], reason: str
    ) -> None:
        """Jobs (id, kind, queue, attempt) that the store ended without a run here."""
        for job_id, kind, queue, attempt in jobs:
            self.counts[transition.value] += 1
            if self._events.wanted(transition):
                self._events.emit(
                    Event(
                        transition=transition,
                        id=job_id,
                        kind=kind,
                        queue=queue,
                        attempt=attempt,
                        reason=reason,
                    )
                )


def _transition(run: Run, outcome: Outcome, flushed: Flushed) -> Transition:
    if run.claim in flushed.stale:
        return Transition.STALE
    if flushed.states.get(run.job.id) is State.CANCELLED:
        return Transition.CANCELLED
    match outcome:
        case Done() | Committed():
            return Transition.COMPLETED
        case Retry():
            return Transition.RETRIED
        case Dead():
            return Transition.DEAD
        case Snooze():
            return Transition.SNOOZED
        case Cancel():
            return Transition.CANCELLED
        case Expire():
            return Transition.EXPIRED
        case Release():
            return Transition.RELEASED
