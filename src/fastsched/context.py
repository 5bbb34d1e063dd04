"""What a running handler may know and ask about its own run."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from fastsched.clock import Clock
from fastsched.errors import JobCancelled, JobInterrupt
from fastsched.job import Claim, ClaimedJob

P = ParamSpec("P")
R = TypeVar("R")
_current: ContextVar[JobContext | None] = ContextVar("fastsched_job", default=None)
_log = logging.getLogger("fastsched.handler")

Effects = Callable[[Claim], AbstractContextManager[Any]]
"""Opens the transaction that completes a claim at its end."""


class JobContext:
    """One run of one job.

    A handler gets it by annotating its first parameter ``ctx: JobContext``, or from
    `current_job()` anywhere below the handler in the same thread.
    """

    __slots__ = (
        "_clock",
        "_effects",
        "_interrupt",
        "_logger",
        "_missed",
        "_shields",
        "_started",
        "_stop",
        "_waiting",
        "committed",
        "job",
        "node",
    )

    def __init__(
        self, job: ClaimedJob, node: str, clock: Clock, effects: Effects | None = None
    ) -> None:
        self.job = job
        self.committed = False
        """Whether `transaction` has completed the job."""
        self._effects = effects
        self._shields = 0
        self._missed = False  # whether an exception was not thrown because of a shield
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
        with self.unbroken(), self._stop:
            if self._waiting is None:
                self._waiting = threading.Condition(self._stop)
            end = self._clock.monotonic() + seconds
            while self._interrupt is None and (left := end - self._clock.monotonic()) > 0:
                self._clock.wait(self._waiting, left)
        return self.cancelled

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """A database transaction in which the handler's effects and the job's end are one.

        Gives a connection to the store's database: a `psycopg.Connection` or a
        `sqlite3.Connection`. When the block ends the job is complete and all is committed, once;
        when it raises, or when the job is not this run's any more (`JobStopped`), nothing is. Use
        it last in the handler and keep it short: on SQLite it holds the write lock.
        """
        if self._effects is None:
            raise LookupError("ctx.transaction() works inside a handler that a worker runs")
        if self.committed:
            raise RuntimeError("the job is complete already; one ctx.transaction() ends a run")
        self.check()
        self._shield(1)
        try:
            with self._effects(self.claim) as connection:
                yield connection
            self.committed = True
        finally:
            self._shield(-1)

    @contextlib.contextmanager
    def unbroken(self) -> Iterator[None]:
        """No exception is thrown into this code; one that should have been is raised after it.

        Thrown into the middle of the scheduler's own code, it could leave a lock locked for ever.
        """
        self._shield(1)
        try:
            yield
        finally:
            self._shield(-1)
        if self._missed and not self._shields:
            self._missed = False
            self.check()

    def _shield(self, by: int) -> None:
        with self._stop:
            self._shields += by

    def unless_shielded(self, throw: Callable[[], bool]) -> bool:
        """Throw an exception into the handler, but not into a transaction or the scheduler."""
        with self._stop:
            if self._shields:
                self._missed = True
                return False
            return throw()

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


def unbroken(method: Callable[P, R]) -> Callable[P, R]:
    """Make a method of the scheduler one that handlers may call: see `JobContext.unbroken`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        ctx = _current.get()
        if ctx is None:
            return method(*args, **kwargs)
        with ctx.unbroken():
            return method(*args, **kwargs)

    return call


def check_own_run() -> None:
    """In a call that waits for long: end it if the handler that made it should stop."""
    ctx = _current.get()
    if ctx is not None:
        ctx.check()


def current_job() -> JobContext:
    """The context of the job that this thread runs; `LookupError` outside of one."""
    ctx = _current.get()
    if ctx is None:
        raise LookupError("no job is running here; current_job() works inside a handler")
    return ctx
