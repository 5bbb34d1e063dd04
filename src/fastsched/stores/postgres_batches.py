"""Jobs and ends of runs as the arrays and COPY rows of the PostgreSQL store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastsched.job import Claim, NewJob, State
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
from fastsched.stores.rows import failure_text

COPY_TYPES = ["bytea", "text", "text", "int2", "float8", "int4", "bytea"]
"""The types as they are sent: an id goes as its 16 bytes."""


def is_plain(job: NewJob) -> bool:
    """Whether the defaults of the table say all that is not copied."""
    return (
        job.delay == 0.0
        and job.at is None
        and job.deadline is None
        and job.deadline_at is None
        and not job.given_id
    )


def copy_row(job: NewJob) -> tuple[Any, ...]:
    """The values of the statement `copy`, in its order."""
    return (
        bytes.fromhex(job.id.replace("-", "")),
        job.kind,
        job.queue,
        job.priority,
        job.timeout,
        job.max_attempts,
        job.payload,
    )


def job_arrays(jobs: Sequence[NewJob]) -> dict[str, Any]:
    """The parameters of `insert` and `insert_given`."""
    return {
        "ids": [j.id for j in jobs],
        "kinds": [j.kind for j in jobs],
        "queues": [j.queue for j in jobs],
        "priorities": [j.priority for j in jobs],
        "delays": [j.delay for j in jobs],
        "ats": [j.at for j in jobs],
        "deadlines": [j.deadline for j in jobs],
        "deadline_ats": [j.deadline_at for j in jobs],
        "timeouts": [j.timeout for j in jobs],
        "max_attempts": [j.max_attempts for j in jobs],
        "payloads": [j.payload for j in jobs],
    }


End = tuple[Claim, Outcome]


class Ends:
    """The ends of one flush, by the statement that writes them, each in the order of ids.

    Rows that many transactions write are locked in one order: deadlocks come from others.
    """

    def __init__(
        self, ends: Iterable[End], *, keep_done: bool, number_of: Callable[[str], int]
    ) -> None:
        self._number_of = number_of
        self.batches: dict[str, list[End]] = {}
        for end in sorted(ends, key=lambda end: end[0].id):
            self.batches.setdefault(_statement_of(end[1], keep_done), []).append(end)

    def parameters(self, statement: str) -> dict[str, Any]:
        """What the statement is given."""
        ends = self.batches[statement]
        outcomes = [outcome for _, outcome in ends]
        given: dict[str, Any] = {
            "ids": [claim.id for claim, _ in ends],
            "nodes": [self._number_of(claim.node) for claim, _ in ends],
            "claim_nos": [claim.claim_no for claim, _ in ends],
        }
        if statement in ("end_jobs", "end_runs"):
            given["reasons"] = [_reason(outcome) for outcome in outcomes]
            given["failures"] = [
                failure_text(getattr(outcome, "failure", None)) for outcome in outcomes
            ]
        if statement == "end_jobs":
            given["states"] = [_ENDED_AS[type(outcome)] for outcome in outcomes]
        if statement == "end_runs":
            given["delays"] = [getattr(outcome, "delay", None) or 0.0 for outcome in outcomes]
            given["attempts_back"] = [int(isinstance(o, Snooze)) for o in outcomes]
        return given


_ENDED_AS = {
    Done: State.DONE.value,
    Dead: State.DEAD.value,
    Cancel: State.CANCELLED.value,
    Expire: State.EXPIRED.value,
}


def _statement_of(outcome: Outcome, keep_done: bool) -> str:
    match outcome:
        case Done() | Committed():
            return "end_jobs" if keep_done else "complete"
        case Dead() | Cancel() | Expire():
            return "end_jobs"
        case Retry() | Snooze():
            return "end_runs"
        case Release():
            return "release"


def _reason(outcome: Outcome) -> str | None:
    if isinstance(outcome, Expire):
        return "deadline passed"
    reason: str | None = getattr(outcome, "reason", None)
    return reason
