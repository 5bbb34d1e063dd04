"""What a running handler may know and ask about its own run."""

from __future__ import annotations

import logging
import threading
from contextvars import ContextVar

from fastsched.clock import Clock
from fastsched.errors import JobCancelled, JobInterrupt
from fastsched.job import Claim, ClaimedJob

_current: ContextVar[JobContext | None] = ContextVar("fastsched_job", default=None)
_log = logging.getLogger("fastsched.handler")


class JobContext:
    """One run of one job.

    A handler gets it by annotating its first parameter ``ctx: JobContext``, or from
    `current_job()` anywhere below the handler in the same thread.
    """

    __slots__ = ("_clock", "_interrupt", "_logger", "_started", "_stop", "_waiting", "job", "node")

    def __init__(self, job: ClaimedJob, node: str, clock: Clock) -> None:
        self.job = job
        self.node = node
        self._clock = clock
        self._started = clock.monotonic()
        self._interrupt: type[JobInterrupt] | None = None
        self._waiting: threading.Condition | None = None
        self._stop = threading.Lock()
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None

    @property
    def id(self) -> str:
        """The job's id, the same in every attempt."""
        return self.job.id

    @property
    def kind(self) -> str:
        return self.job.kind

    @property
    def queue(self) -> str:
        return self.job.queue

    @property
    def attempt(self) -> int:
        """1 in the first attempt."""
        return self.job.attempt

    @property
    def max_attempts(self) -> int:
        return self.job.max_attempts

    @property
    def claim(self) -> Claim:
        """The proof that this run holds the job; `claim.claim_no` grows with every run."""
        return Claim(self.job.id, self.node, self.job.claim_no)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock.monotonic() - self._started

    @property
    def cancelled(self) -> bool:
        """Whether the run should stop: timed out, cancelled, or no longer this node's."""
        return self._interrupt is not None

    def check(self) -> None:
        """Return at once, or raise `JobTimeout` or `JobCancelled` if the run should stop."""
        if self._interrupt is not None:
            raise self._interrupt

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than the run is wanted; True if it should stop."""
        with self._stop:
            if self._waiting is None:
                self._waiting = threading.Condition(self._stop)
            end = self._clock.monotonic() + seconds
            while self._interrupt is None and (left := end - self._clock.monotonic()) > 0:
                self._clock.wait(self._waiting, left)
        return self.cancelled

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Logger `fastsched.handler`, whose records carry `job_id`, `kind`, `attempt`, `queue`."""
        if self._logger is None:
            fields = {
                "job_id": self.id,
                "kind": self.kind,
                "queue": self.queue,
                "attempt": self.attempt,
            }
            self._logger = logging.LoggerAdapter(_log, fields)
        return self._logger

    def ask_to_stop(self, interrupt: type[JobInterrupt] = JobCancelled) -> None:
        """Set `cancelled`; the first reason stays."""
        with self._stop:
            if self._interrupt is None:
                self._interrupt = interrupt
            if self._waiting is not None:
                self._waiting.notify_all()


def current_job() -> JobContext:
    """The context of the job that this thread runs; `LookupError` outside of one."""
    ctx = _current.get()
    if ctx is None:
        raise LookupError("no job is running here; current_job() works inside a handler")
    return ctx
