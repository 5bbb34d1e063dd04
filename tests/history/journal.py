"""What one process writes down about its jobs, so that a kill cannot take it back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import time  # bound now: a test may set the clock of its process wrong, not this one
from typing import Any


class Journal:
    """Events of this process, appended to a file of its own.

    One event is one line and one `os.write`: once it has returned the line is in the page cache,
    which outlives the process. Every line carries `event`, `pid` and `at` (store time). The events:

    enqueue         id, not_before, books,     about to be enqueued, not to start earlier; whether
                    given (all optional)       its effect is committed together with its end, and
                                               whether its caller chose the id
    enqueue_ok      id                         it was accepted
    enqueue_failed  id                         it was refused; with neither, nobody knows
    enqueue_unknown id                         its caller was told that nobody knows
    cancelled       id                         the store said that it will never start
    start           id, claim_no, attempt, due a run begins, of a job due then
    end             id, claim_no, outcome      its handler is about to return: `done`, `failed`
                                               (to be retried), `snoozed`, `stopped` (to be run
                                               again) or `unknown` (it failed in the commit)
    timed_out       id, claim_no               its node gave the run up: it took too long
    committing      id, claim_no               its transaction, which completes it, is about to be
                                               committed: until it ends, its outcome is `unknown`
    hurried         id                         somebody asked that it run before it is due
    undone          id, claim_no               its end was to be committed with its effect, and the
                                               commit failed
    completed       id, claim_no               the node was told that its completion is committed
    requested       id, claim_no               it was asked to stop for good while claimed so
    requeued        id                         somebody asked that a dead letter run again
    held            of `record.Held`           it waits in this process's backlog
    taken           of `record.Held`           a worker takes it from there
    dropped         id, claim_no               it is not held any more
    frozen          until                      the process stood still until then
    fault           pid, what, until           something was done to `pid` from `at` to `until`
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._pid = os.getpid()
        self._file = os.open(
            folder / f"{name}-{self._pid}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )

    def now(self) -> float:
        """Store time, as in `at`."""
        return time()

    def note(self, event: str, **facts: Any) -> None:
        """Write one event down."""
        line = {"event": event, "pid": self._pid, "at": self.now(), **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)
