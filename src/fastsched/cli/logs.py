"""What a worker logs, to stderr: lines for people or JSON for programs."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastsched.cli.text import clean, clean_lines, iso

_FIELDS = ("transition", "job_id", "kind", "queue", "attempt", "duration")


class LineFormatter(logging.Formatter):
    """A record is a line, and a traceback below it; nothing in them moves the cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return clean(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(clean_lines(super().formatException(ei)))


class JsonFormatter(logging.Formatter):
    """One object a line; the fields of a job's records are keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def set_up_logging(level: str, *, as_json: bool) -> None:
    """Log everything from `level` up, unless the program has set up its logging itself."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter()
        if as_json
        else LineFormatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s")
    )
    root.addHandler(handler)
    root.setLevel(level.upper())
