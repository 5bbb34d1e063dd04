"""Text from the store, made safe for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime


def clean(text: object) -> str:
    """One line without control characters: nothing that comes from a job moves the cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def clean_lines(text: str) -> list[str]:
    """The same for text of several lines."""
    return [clean(line.expandtabs(4)) for line in text.split("\n")]


def iso(seconds: float | None) -> str | None:
    """Store time for programs: ISO 8601 in UTC."""
    moment = _moment(seconds)
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def when(seconds: float | None) -> str:
    """Store time for people, in UTC to the second."""
    moment = _moment(seconds)
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _moment(seconds: float | None) -> datetime | None:
    """None also for what is no time, such as infinity: a row may have been written by hand."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
