"""What a run came to, as a value.

A handler may return `Snooze`, `Cancel` or `Retry`; anything else that it returns means `Done`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastsched.job import Failure


@dataclass(frozen=True, slots=True)
class Done:
    """The handler returned."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run again after `delay` seconds; without a delay, the handler's backoff decides.

    Charges the attempt: a job out of attempts becomes a dead letter.
    """

    delay: float | None = None
    reason: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """Out of attempts, or not worth another: kept as a dead letter."""

    reason: str
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Snooze:
    """Run again after `delay` seconds; the attempt is not charged."""

    delay: float
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop for good: the job is not wanted any more."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """The deadline had passed before the run could start."""


@dataclass(frozen=True, slots=True)
class Release:
    """Given back unused; the attempt is not charged."""


Outcome = Done | Retry | Dead | Snooze | Cancel | Expire | Release

DONE = Done()
EXPIRE = Expire()
RELEASE = Release()
