"""What a job is, as data: before it is stored, when it is claimed, and when it is looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from fastsched.clock import to_datetime

MIN_PRIORITY = -32768
MAX_PRIORITY = 32767
LATEST = 221_845_392_000.0
"""The latest time that a store takes: year 9000."""


class State(StrEnum):
    """Where a job stands in the store."""

    WAITING = "waiting"
    SCHEDULED = "scheduled"
    READY = "ready"
    CLAIMED = "claimed"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether the job will never run again by itself."""
        return self in _ENDED


_ENDED = frozenset({State.DONE, State.DEAD, State.CANCELLED, State.EXPIRED})


def _without_payload(job: NewJob | ClaimedJob) -> str:
    """Arguments may be secret, and jobs get into logs."""
    fields = (f"{k}={v!r}" for k, v in job._asdict().items() if k != "payload")
    return f"{type(job).__name__}({', '.join(fields)})"


class NewJob(NamedTuple):
    """A job not yet stored. Times are relative, so that the store's own clock decides.

    A tuple, because one is made for every enqueue: 1.5 µs where a frozen dataclass took 5.0.
    """

    id: str
    kind: str
    payload: bytes
    queue: str = "default"
    priority: int = 0
    delay: float = 0.0
    """Seconds from the moment the store takes the job."""
    at: float | None = None
    """Due time in store time; wins over `delay`."""
    deadline: float | None = None
    """Seconds after the due time."""
    deadline_at: float | None = None
    """Latest start in store time; wins over `deadline`."""
    timeout: float | None = None
    max_attempts: int = 1
    given_id: bool = False
    """Whether the caller chose the id: then storing it twice is a no-op."""

    def __repr__(self) -> str:
        return _without_payload(self)


class Claim(NamedTuple):
    """The proof that a node holds a job; every end of a run is checked against it."""

    id: str
    node: str
    claim_no: int


class ClaimedJob(NamedTuple):
    """A job that this node may run: one row of a claim."""

    id: str
    kind: str
    queue: str
    priority: int
    due_at: float
    deadline: float | None
    timeout: float | None
    max_attempts: int
    attempt: int
    claim_no: int
    suspect: bool
    payload: bytes
    seq: int
    """Insertion order in the store."""

    def __repr__(self) -> str:
        return _without_payload(self)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed, as text only: nothing stored ever becomes an exception again."""

    type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the store knows it. Times are seconds since the epoch by the store's clock."""

    id: str
    kind: str
    queue: str
    state: State
    priority: int
    due_at: float
    deadline: float | None
    timeout: float | None
    attempt: int
    max_attempts: int
    crashes: int
    claim_no: int
    node: str | None
    created_at: float
    claimed_at: float | None
    ended_at: float | None
    cancel_requested: bool
    reason: str | None
    """Why the job ended as it did, or waits as it does, in a word or a sentence."""
    failure: Failure | None
    """The newest failure."""
    payload: bytes = field(repr=False)

    @property
    def due(self) -> datetime:
        """`due_at` as an aware datetime."""
        return to_datetime(self.due_at)
