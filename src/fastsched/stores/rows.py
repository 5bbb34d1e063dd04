"""Rows as both SQL stores read and write them."""

from __future__ import annotations

import json
from typing import Any

from fastsched.job import Failure, Job, State

_MOST_SHOWN = 200
"""Characters of a failure that cannot be read."""


def failure_text(failure: Failure | None) -> str | None:
    """A failure as JSON text."""
    if failure is None:
        return None
    return json.dumps(
        {"type": failure.type, "message": failure.message, "traceback": failure.traceback}
    )


def job_of(row: tuple[Any, ...]) -> Job:
    """A row of the statements `job` and `jobs`."""
    (
        job_id, kind, queue, state, priority, due_at, deadline, timeout, attempt, max_attempts,
        crashes, claim_no, node, created_at, claimed_at, ended_at, cancel_requested, reason,
        failure, payload,
    ) = row  # fmt: skip
    return Job(
        id=job_id,
        kind=kind,
        queue=queue,
        state=State(state),
        priority=priority,
        due_at=due_at,
        deadline=deadline,
        timeout=timeout,
        attempt=attempt,
        max_attempts=max_attempts,
        crashes=crashes,
        claim_no=claim_no,
        node=node,
        created_at=created_at,
        claimed_at=claimed_at,
        ended_at=ended_at,
        cancel_requested=bool(cancel_requested),
        reason=reason,
        failure=None if failure is None else _failure_of(failure),
        payload=payload,
    )


def _failure_of(text: str) -> Failure:
    """A stored failure, whatever it is: one that cannot be read must not hide its job."""
    try:
        found = json.loads(text)
        return Failure(**{name: str(found[name]) for name in ("type", "message", "traceback")})
    except (ValueError, TypeError, LookupError, RecursionError):
        return Failure("(unreadable)", str(text)[:_MOST_SHOWN])


def listing(state: State | None) -> str:
    """The statement that lists jobs of a state: ended ones have an index for it."""
    return "ended_jobs" if state is not None and state.ended else "jobs"
