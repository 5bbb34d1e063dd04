"""Jobs and ends of runs as the arrays and COPY rows of the PostgreSQL store."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
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

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_ROW_START = struct.pack(">hi", 7, 16)
"""Of a COPY row: how many fields, and the length of the first, the id."""
_COPY_FROM = 10
"""Jobs in a flush from which COPY beats an insert from arrays."""
_COPY_AT_ONCE = 200
"""Jobs in a part of the data: the server works on one while the next is made."""
_length = struct.Struct(">i").pack


def sort_out(jobs: Sequence[NewJob]) -> tuple[list[NewJob], list[NewJob], list[NewJob]]:
    """Jobs to copy, to insert from arrays, and to insert if their ids are new.

    Copied are those of which the defaults of the table say all that is not copied; and none if
    others are due at once like them, since those would come after all that were copied.
    """
    given = [job for job in jobs if job.given_id]
    free = [job for job in jobs if not job.given_id] if given else list(jobs)
    timed = [job for job in free if job.delay or job.at is not None]
    plain = [job for job in free if not job.delay and job.at is None] if timed else free
    with_deadline = any(job.deadline is not None or job.deadline_at is not None for job in plain)
    if len(plain) < _COPY_FROM or with_deadline:
        return [], free, given
    return plain, timed, given


def copy_data(jobs: Sequence[NewJob]) -> Iterator[bytes]:
    """Plain jobs as the binary data of the statement `copy`, in parts. About 0.8 µs a job."""
    yield _COPY_HEADER
    for start in range(0, len(jobs), _COPY_AT_ONCE):
        parts: list[bytes] = []
        for job in jobs[start : start + _COPY_AT_ONCE]:
            payload = job.payload
            parts += (
                _ROW_START,
                bytes.fromhex(job.id.replace("-", "")),
                _middle(job.kind, job.queue, job.priority, job.timeout, job.max_attempts),
                _length(len(payload)),
                payload,
            )
        yield b"".join(parts)
    yield _COPY_END


@lru_cache(maxsize=1_000)
def _middle(
    kind: str, queue: str, priority: int, timeout: float | None, max_attempts: int
) -> bytes:
    """The fields between id and payload, the same for most jobs of a kind."""
    names = b"".join(_length(len(name)) + name for name in (kind.encode(), queue.encode()))
    seconds = _length(-1) if timeout is None else struct.pack(">id", 8, timeout)
    return names + struct.pack(">ih", 2, priority) + seconds + struct.pack(">ii", 4, max_attempts)


def job_arrays(jobs: Sequence[NewJob]) -> dict[str, Any]:
    """The parameters of `insert` and `insert_given`."""
    return {
        "ids": [j.id for j in jobs],
        "kinds": [j.kind for j in jobs],
        "queues": [j.queue for j in jobs],
        "priorities": [j.priority for j in jobs],
        "delays": [float(j.delay) for j in jobs],
        "ats": [_float(j.at) for j in jobs],
        "deadlines": [_float(j.deadline) for j in jobs],
        "deadline_ats": [_float(j.deadline_at) for j in jobs],
        "timeouts": [_float(j.timeout) for j in jobs],
        "max_attempts": [j.max_attempts for j in jobs],
        "payloads": [j.payload for j in jobs],
    }


def _float(given: float | None) -> float | None:
    """Arrays hold one type: whole seconds may have come as int."""
    return None if given is None else float(given)


def given_twice(jobs: Iterable[NewJob]) -> set[str]:
    """Ids that stand in the batch more than once."""
    return {job_id for job_id, times in Counter(job.id for job in jobs).items() if times > 1}


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
        self.repeated: list[Claim] = []
        """Claims that an end before in the same flush has ended."""
        first: dict[Claim, End] = {}
        for end in ends:
            if first.setdefault(end[0], end) is not end:
                self.repeated.append(end[0])
        for end in sorted(first.values(), key=lambda end: end[0].id):
            self.batches.setdefault(_statement_of(end[1], keep_done), []).append(end)

    def parameters(self, statement: str) -> dict[str, Any]:
        """What the statement is given."""
        ends = self.batches[statement]
        outcomes = [outcome for _, outcome in ends]
        if statement == "complete":
            return {
                "ids": ",".join([claim.id for claim, _ in ends]),
                "nodes": ",".join([str(self._number_of(claim.node)) for claim, _ in ends]),
                "claim_nos": ",".join([str(claim.claim_no) for claim, _ in ends]),
            }
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
            given["delays"] = [float(getattr(o, "delay", None) or 0.0) for o in outcomes]
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
