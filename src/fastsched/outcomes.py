"""What a run came to, as a value.

A handler may return `Snooze`, `Cancel` or `Retry`; anything else that it returns means `Done`.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastsched.errors import shown
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

    def __post_init__(self) -> None:
        if self.delay is not None:
            _check_delay(self, self.delay)
        _check_reason(self, self.reason)


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

    def __post_init__(self) -> None:
        _check_delay(self, self.delay)
        _check_reason(self, self.reason)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop for good: the job is not wanted any more."""

    reason: str | None = None

    def __post_init__(self) -> None:
        _check_reason(self, self.reason)


@dataclass(frozen=True, slots=True)
class Expire:
    """The deadline had passed before the run could start."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Done, and written already, together with the handler's own effects."""


@dataclass(frozen=True, slots=True)
class Release:
    """Given back unused; the attempt is not charged."""


Outcome = Done | Committed | Retry | Dead | Snooze | Cancel | Expire | Release


def _check_delay(outcome: Retry | Snooze, given: object) -> None:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise TypeError(
            f"{type(outcome).__name__}(delay={shown(given)}): wanted seconds as a number; "
            "a timedelta has total_seconds()"
        )


def _check_reason(outcome: Retry | Snooze | Cancel, given: object) -> None:
    if not (given is None or isinstance(given, str)):
        raise TypeError(f"{type(outcome).__name__}(reason={shown(given)}): wanted a str")


DONE = Done()
COMMITTED = Committed()
EXPIRE = Expire()
RELEASE = Release()
