"""A file to which every run appends when it starts and when it ends.

A line is one `write` to a file opened for appending, so lines of several processes do not mix, and
what was written survives the kill of its writer. A run killed half-way has a start and no end; a
job that ran twice has two starts, told apart by the number of the claim.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastsched.clock import SystemClock
from fastsched.context import JobContext

_clock = SystemClock()


@dataclass(slots=True)
class RunRecord:
    """One run: a claim of a job that began to run."""

    job: str
    path: str
    claim_no: int
    attempt: int
    node: str
    began: float
    """Seconds on the machine's monotonic clock, which its processes share."""
    ended: float | None = None
    """None if it was cut short."""
    error: str | None = None
    sha256: str | None = None
    size: int = 0
    lines: int | None = None

    @property
    def measured(self) -> bool:
        """Whether it came to the end of the file."""
        return self.sha256 is not None


class RunLog:
    """The log, for writing from any process and for reading in one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_up_to = 0
        self._runs: dict[tuple[str, int], RunRecord] = {}
        self._ended = 0

    def started(self, ctx: JobContext, path: str) -> None:
        self._append(ctx, {"began": _clock.monotonic(), "path": path, "node": ctx.claim.node})

    def failed(self, ctx: JobContext, path: str, error: Exception) -> None:
        self._append(ctx, {"ended": _clock.monotonic(), "error": type(error).__name__})

    def measured(
        self, ctx: JobContext, path: str, *, sha256: str, size: int, lines: int | None
    ) -> None:
        end = {"ended": _clock.monotonic(), "sha256": sha256, "size": size, "lines": lines}
        self._append(ctx, end)

    def _append(self, ctx: JobContext, fields: dict[str, Any]) -> None:
        run = {"job": ctx.id, "claim_no": ctx.claim.claim_no, "attempt": ctx.attempt}
        os.write(_opened(self.path), f"{json.dumps(run | fields)}\n".encode())

    @property
    def ended(self) -> int:
        """How many runs have ended. Cost: as `read`."""
        self._read_on()
        return self._ended

    def read(self) -> list[RunRecord]:
        """Every run so far, in the order in which they began. Cost: reads what is new."""
        self._read_on()
        return list(self._runs.values())

    def _read_on(self) -> None:
        for line in self._new_lines():
            fields = json.loads(line)
            key = fields["job"], fields["claim_no"]
            if "began" in fields:
                self._runs[key] = RunRecord(**fields)
            else:
                self._ended += 1
                run = self._runs[key]
                for name in ("ended", "error", "sha256", "size", "lines"):
                    setattr(run, name, fields.get(name, getattr(run, name)))

    def _new_lines(self) -> Iterator[bytes]:
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read_up_to)
                for line in file:
                    if line.endswith(b"\n"):  # the last one may be only half there
                        self._read_up_to += len(line)
                        yield line


@functools.cache
def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
