"""What a worker logs, to stderr: lines for people or JSON for programs."""

from __future__ import annotations

import json
import logging

from fastsched.cli.text import iso

_FIELDS = ("transition", "job_id", "kind", "queue", "attempt", "duration")


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
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s")
    )
    root.addHandler(handler)
    root.setLevel(level.upper())
