"""What the demo's workers run: one job measures one file."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastsched import JobContext, Scheduler
from fastsched.demo.runlog import RunLog
from fastsched.retry import exponential

TEXT = frozenset({".py", ".pyi", ".txt", ".rst", ".md", ".toml", ".cfg", ".c", ".h"})
_CHUNK = 1 << 20

LEASE = 3.0
"""Seconds; ten times shorter than usual, so that nobody has to wait for the end of one."""

# The demo names another store with --store.
scheduler = Scheduler("sqlite:///fastsched-demo.db", lease=LEASE)


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured of a file."""

    sha256: str
    size: int
    lines: int | None
    """Of text; None for other files."""


@scheduler.job(max_attempts=4, backoff=exponential(0.2, cap=1.0))
def measure(ctx: JobContext, path: str, log: str) -> None:
    """Measure a file and write down, with the claim, what this run came to."""
    runs = RunLog(Path(log))
    runs.started(ctx, path)
    try:
        measured = measure_file(Path(path))
    except Exception as error:
        runs.failed(ctx, path, error)
        raise
    runs.measured(ctx, path, sha256=measured.sha256, size=measured.size, lines=measured.lines)


def measure_file(path: Path) -> Measure:
    """Hash a file and count its lines. With a bug to be found: it takes all text for UTF-8."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")() if path.suffix in TEXT else None
    size = lines = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if decoder is not None:
                lines += decoder.decode(chunk).count("\n")
    if decoder is not None:
        decoder.decode(b"", final=True)
    return Measure(digest.hexdigest(), size, None if decoder is None else lines)
