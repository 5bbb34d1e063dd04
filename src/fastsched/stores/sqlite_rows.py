"""New jobs as rows of the SQLite store."""

from __future__ import annotations

from typing import Any

from fastsched.job import LATEST, NewJob


def new_row(job: NewJob, now: float) -> tuple[Any, ...]:
    """The values of the statement `insert`, in its order."""
    due_at = now + job.delay if job.at is None else job.at
    deadline = job.deadline_at
    if deadline is None and job.deadline is not None:
        deadline = min(due_at + job.deadline, LATEST)
    return (
        job.id,
        job.kind,
        job.queue,
        "scheduled" if due_at > now else "ready",
        job.priority,
        due_at,
        deadline,
        job.timeout,
        job.max_attempts,
        job.payload,
        now,
    )
