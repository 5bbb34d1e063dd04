"""The options of a job, checked at the door."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from fastsched.errors import ConfigurationError
from fastsched.job import MAX_PRIORITY, MIN_PRIORITY

_LATEST = 221_845_392_000.0  # year 9000
_NAME = re.compile(r"[\w.:<>/-]{1,200}", re.ASCII)

Seconds = float | timedelta


def seconds(name: str, given: Seconds, *, least: float = 0.0) -> float:
    """A duration as seconds."""
    if isinstance(given, timedelta):
        given = given.total_seconds()
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise ConfigurationError(
            f"{name}={given!r}: wanted seconds or a timedelta, not {type(given).__name__}"
        )
    if not least <= given <= _LATEST:  # NaN is not, either
        raise ConfigurationError(f"{name}={given!r}: wanted a number of seconds from {least:g} up")
    return float(given)


def moment(name: str, given: datetime) -> float:
    """A point in time as store time."""
    if not isinstance(given, datetime):
        raise ConfigurationError(
            f"{name}={given!r}: wanted an aware datetime, for example "
            "datetime.now(UTC) + timedelta(minutes=5)"
        )
    if given.tzinfo is None or given.utcoffset() is None:
        raise ConfigurationError(
            f"{name}={given.isoformat()} has no time zone; "
            f"say which: {name}=that.replace(tzinfo=UTC) or .astimezone()"
        )
    stamp = given.timestamp()
    if not 0 <= stamp <= _LATEST:
        raise ConfigurationError(f"{name}={given.isoformat()}: wanted a time from 1970 to 9000")
    return stamp


def priority(given: int) -> int:
    """A priority: higher runs first."""
    if isinstance(given, bool) or not isinstance(given, int):
        raise ConfigurationError(f"priority={given!r}: wanted an int, higher first")
    if not MIN_PRIORITY <= given <= MAX_PRIORITY:
        raise ConfigurationError(
            f"priority={given}: wanted {MIN_PRIORITY} to {MAX_PRIORITY}, higher first"
        )
    return given


def positive(name: str, given: int) -> int:
    """A count of at least one."""
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 1_000_000:
        raise ConfigurationError(f"{name}={given!r}: wanted an int from 1 to 1000000")
    return given


def named(name: str, given: str) -> str:
    """The name of a kind or a queue."""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise ConfigurationError(
            f"{name}={given!r}: wanted 1 to 200 letters, digits or . _ : - / < >"
        )
    return given


def named_all(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """Several such names."""
    if isinstance(given, str):
        raise ConfigurationError(f"{name}={given!r}: wanted a list, for example [{given!r}]")
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
