"""The options of a job, checked at the door."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from fastsched.errors import ConfigurationError, PayloadError, shown
from fastsched.ids import check_id
from fastsched.job import LATEST, MAX_PRIORITY, MIN_PRIORITY, NewJob

_LONGEST = 100_000_000_000.0
"""Seconds, some 3,000 years: so that now and the longest delay and deadline are before `LATEST`."""
_MOST = 1_000_000
_NAME = re.compile(r"[\w.:<>/-]{1,200}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Seconds = float | timedelta


def seconds(name: str, given: Seconds, *, least: float = 0.0) -> float:
    """A duration as seconds."""
    wanted = f"wanted a number of seconds from {least:g} up to 3,000 years"
    return _number_of_seconds(name, given, least, wanted)


def patience(given: Seconds | None) -> float | None:
    """How long a call waits, perhaps less than nothing; None for as long as it takes."""
    if given is None:
        return None
    wanted = "wanted seconds, up to 3,000 years, or None to wait as long as it takes"
    return _number_of_seconds("timeout", given, -_LONGEST, wanted)


def _number_of_seconds(name: str, given: Seconds, least: float, wanted: str) -> float:
    if isinstance(given, timedelta):
        given = given.total_seconds()
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ConfigurationError(
            f"{name}={shown(given)}: wanted seconds or a timedelta, not {type(given).__name__}"
        )
    # Of subclasses only the number counts: they may compare as they like.
    exact = int.__index__(given) if isinstance(given, int) else float.__float__(given)
    if not least <= exact <= _LONGEST:  # NaN is not, either
        raise ConfigurationError(f"{name}={shown(given)}: {wanted}")
    return float(exact)


def moment(name: str, given: datetime) -> float:
    """A point in time as store time."""
    if not isinstance(given, datetime):
        raise ConfigurationError(
            f"{name}={shown(given)}: wanted an aware datetime, for example "
            "datetime.now(UTC) + timedelta(minutes=5)"
        )
    if given.tzinfo is None or given.utcoffset() is None:
        raise ConfigurationError(
            f"{name}={given.isoformat()} has no time zone; "
            f"say which: {name}=that.replace(tzinfo=UTC) or .astimezone()"
        )
    stamp = given.timestamp()
    if not 0 <= stamp <= LATEST:
        raise ConfigurationError(f"{name}={given.isoformat()}: wanted a time from 1970 to 9000")
    return stamp


def priority(given: int) -> int:
    """A priority: higher runs first."""
    if isinstance(given, bool) or not isinstance(given, int):
        raise ConfigurationError(f"priority={shown(given)}: wanted an int, higher first")
    exact = int.__index__(given)
    if not MIN_PRIORITY <= exact <= MAX_PRIORITY:
        raise ConfigurationError(
            f"priority={shown(exact)}: wanted {MIN_PRIORITY} to {MAX_PRIORITY}, higher first"
        )
    return exact


def positive(name: str, given: int, *, most: int = _MOST) -> int:
    """A count of at least one."""
    if isinstance(given, int) and not isinstance(given, bool):
        exact = int.__index__(given)
        if 1 <= exact <= most:
            return exact
    raise ConfigurationError(f"{name}={shown(given)}: wanted an int from 1 to {most}")


def named(name: str, given: str) -> str:
    """The name of a kind or a queue."""
    if isinstance(given, str):
        exact = str.__str__(given)
        if _NAME.fullmatch(exact):
            return exact
    raise ConfigurationError(
        f"{name}={shown(given)}: wanted 1 to 200 letters, digits or . _ : - / < >"
    )


def named_all(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """Several such names."""
    if isinstance(given, str):
        text = shown(given)
        raise ConfigurationError(f"{name}={text}: wanted a list, for example [{text}]")
    if not isinstance(given, Iterable):
        raise ConfigurationError(f"{name}={shown(given)}: wanted a list of names")
    return tuple(named(name, each) for each in given)


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """Options as the fields of a new job; what is None is left out."""
    fields: dict[str, Any] = {}
    for name, given in options.items():
        if given is None:
            continue
        match name:
            case "delay":
                fields["delay"] = seconds(name, given)
            case "timeout":
                fields["timeout"] = seconds(name, given, least=0.001)
            case "at":
                fields["at"] = moment(name, given)
            case "deadline" if isinstance(given, datetime):
                fields["deadline_at"] = moment(name, given)
            case "deadline":
                fields["deadline"] = seconds(name, given)
            case "priority":
                fields["priority"] = priority(given)
            case "max_attempts":
                fields["max_attempts"] = positive(name, given)
            case _:
                fields[name] = named(name, given)
    if "delay" in fields and "at" in fields:
        raise ConfigurationError("delay and at are two ways to say the same; give one")
    return fields


def check_new_jobs(jobs: Iterable[object]) -> None:
    """Refuse what is no job, and jobs that were made or changed by hand into what none can be.

    Cost: less than a microsecond for a job made by a `JobFunction`.
    """
    for job in jobs:
        if not isinstance(job, NewJob):
            raise TypeError(
                f"cannot enqueue {type(job).__name__}; wanted a job made by function.job(...)"
            )
        (
            id, kind, payload, queue, priority, delay, at, deadline, deadline_at, timeout,
            max_attempts, _,
        ) = job  # fmt: skip
        plain = (
            type(id) is str
            and _ID.fullmatch(id)
            and type(payload) is bytes
            and type(kind) is type(queue) is str
            and _are_names(kind, queue)
            and type(priority) is type(max_attempts) is int
            and MIN_PRIORITY <= priority <= MAX_PRIORITY
            and 1 <= max_attempts <= _MOST
            and at is deadline is deadline_at is None
            and (timeout is None or (type(timeout) is float and 0 < timeout <= _LONGEST))
            and type(delay) is float
            and 0 <= delay <= _LONGEST
        )
        if not plain:
            _check_by_field(job)


@lru_cache(maxsize=1_000)
def _are_names(kind: str, queue: str) -> bool:
    return bool(_NAME.fullmatch(kind) and _NAME.fullmatch(queue))


def _check_by_field(job: NewJob) -> None:
    """The same with an error that names the field."""
    if check_id(job.id) != job.id:
        raise ConfigurationError(f"id={shown(job.id)}: wanted the id in its usual form, lower case")
    if type(job.payload) is not bytes:
        raise PayloadError(
            f"the payload is {type(job.payload).__name__}, wanted bytes; "
            "make the job by function.job(...)",
            path="payload",
        )
    named("kind", job.kind)
    named("queue", job.queue)
    priority(job.priority)
    positive("max_attempts", job.max_attempts)
    seconds("delay", job.delay)
    if job.deadline is not None:
        seconds("deadline", job.deadline)
    if job.timeout is not None:
        seconds("timeout", job.timeout, least=0.001)
    for name, given in (("at", job.at), ("deadline_at", job.deadline_at)):
        if given is not None and not (type(given) in (int, float) and 0 <= given <= LATEST):
            raise ConfigurationError(f"{name}={shown(given)}: wanted store time from 1970 to 9000")
