"""The one thread that writes: whatever is queued becomes one transaction.

There is no linger timer. While a flush is being committed, the next one gathers: batches stay small
when little happens and grow by themselves under load.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fastsched.clock import Clock
from fastsched.errors import (
    CommitUnknown,
    EnqueueUnknown,
    SchedulerStopped,
    StoreError,
    StoreUnavailable,
)
from fastsched.executor import Run
from fastsched.job import NewJob
from fastsched.outcomes import COMMITTED, Cancel, Dead, Outcome, Retry, Snooze
from fastsched.stores.base import ClaimRequest, Flush, Flushed, Store

_log = logging.getLogger("fastsched.writer")
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
"""Seconds between tries to write ended runs while the store is unavailable."""

UNWRITABLE = Dead("what its run came to could not be written", None)
_WITH_TEXT = (Dead, Retry, Snooze, Cancel)
"""Outcomes that may be refused for what is in them. Of others it is not the job's fault: the node
gives it back once it has noticed."""

Ended = tuple[Run, Outcome]
Listener = Callable[[Flush, Flushed, Sequence[Ended]], None]


class Ticket:
    """A place in a flush, for the thread that waits for it."""

    __slots__ = ("_done", "error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def resolve(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error
        self._done.release()

    def wait(self) -> Any:
        """The result, once the flush has been committed; its error if it was not."""
        self._done.acquire()
        if self.error is not None:
            raise self.error
        return self.value


class FutureTicket(Ticket):
    """The same for a coroutine that waits, on its own event loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        import asyncio

        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()

    def resolve(self, value: Any = None, error: BaseException | None = None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, value, error)

    def _tell(self, value: Any, error: BaseException | None) -> None:
        if self._future.done():
            return  # the coroutine was cancelled
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(value)

    async def result(self) -> Any:
        """The result, once the flush has been committed; its error if it was not."""
        return await self._future


class Writer:
    """Owns the write side of a store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        on_flushed: Listener,
        on_answered: Listener,
    ) -> None:
        """After a commit `on_flushed` is called, then every waiting caller gets its answer, then
        `on_answered` is called: what callers need not wait for.
        """
        self._store = store
        self._clock = clock
        self._on_flushed = on_flushed
        self._on_answered = on_answered
        self._claim_request: Callable[[Sequence[NewJob], int], ClaimRequest | None] = _no_claim
        self._changed = threading.Condition()
        self._inserts: list[tuple[Sequence[NewJob], Ticket]] = []
        self._ends: list[Ended] = []
        self._calls: list[tuple[Callable[[Store], Any], Ticket]] = []
        self._poked = False
        self._asleep = False
        self._stopping = False
        self._retry_at: float | None = None
        self._pause = 0.0
        self._thread: threading.Thread | None = None

    # For any thread ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._loop, name="fastsched-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued and end; may be called twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def insert(self, jobs: Sequence[NewJob]) -> frozenset[str]:
        """Store jobs and return once they are committed: those of the given ids known before."""
        ticket = Ticket()
        self._queue(self._inserts, (jobs, ticket))
        known: frozenset[str] = ticket.wait()
        return known

    async def ainsert(self, jobs: Sequence[NewJob]) -> frozenset[str]:
        """The same without blocking the event loop."""
        ticket = FutureTicket()
        self._queue(self._inserts, (jobs, ticket))
        known: frozenset[str] = await ticket.result()
        return known

    def call(self, function: Callable[[Store], Any]) -> Any:
        """Run a write method of the store between two flushes, and return its result."""
        ticket = Ticket()
        self._queue(self._calls, (function, ticket))
        return ticket.wait()

    def _queue(self, queue: list[Any], item: Any) -> None:
        with self._changed:
            if self._stopping:
                raise SchedulerStopped("the scheduler is closed; nothing was written")
            queue.append(item)
            self._wake()

    def end(self, run: Run, outcome: Outcome) -> None:
        """Queue the end of a run; it is written even if the store is unavailable for a while."""
        with self._changed:
            self._ends.append((run, outcome))
            self._wake()

    def ending(self) -> set[str]:
        """The jobs whose ends are queued."""
        with self._changed:
            return {run.job.id for run, _ in self._ends}

    def poke(self) -> None:
        """Have the node's claim request looked at."""
        with self._changed:
            self._poked = True
            self._wake()

    def claim_with(
        self, claim_request: Callable[[Sequence[NewJob], int], ClaimRequest | None] | None
    ) -> None:
        """Ask `claim_request(jobs, ends)` before each flush what to claim in it.

        `jobs` are inserted in that flush before the claim, and `ends` runs of the node end. It is
        called in the writer's thread, and not any more once this has returned with None given.
        """
        with self._changed:
            self._claim_request = claim_request or _no_claim

    def _wake(self) -> None:
        if self._asleep:
            self._changed.notify()

    # The thread ----------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._has_work():
                    if self._stopping and not self._ends:
                        return
                    self._asleep = True
                    self._clock.wait(self._changed, self._until_retry())
                    self._asleep = False
                inserts, calls, ends = (
                    _taken(self._inserts),
                    _taken(self._calls),
                    _taken(self._ends),
                )
                self._poked = False
                jobs = [job for jobs, _ in inserts for job in jobs]
                claim = self._asked_claim(jobs, len(ends))
            self._flush(inserts, ends, claim)
            for function, ticket in calls:
                self._call(function, ticket)

    def _asked_claim(self, jobs: Sequence[NewJob], ends: int) -> ClaimRequest | None:
        try:
            return self._claim_request(jobs, ends)
        except Exception:  # this thread must not die: everybody waits for it
            _log.exception("asking what to claim")
            return None

    def _has_work(self) -> bool:
        if self._inserts or self._calls:
            return True
        return bool(self._ends or self._poked) and self._until_retry() is None

    def _until_retry(self) -> float | None:
        """Seconds until the store may be tried again; None when it may be tried now."""
        if self._retry_at is None:
            return None
        left = self._retry_at - self._clock.monotonic()
        if left <= 0 or self._stopping:
            self._retry_at = None
            return None
        return left

    def _call(self, function: Callable[[Store], Any], ticket: Ticket) -> None:
        try:
            ticket.resolve(function(self._store))
        except Exception as error:
            ticket.resolve(error=error)

    def _flush(
        self,
        inserts: Sequence[tuple[Sequence[NewJob], Ticket]],
        ends: Sequence[Ended],
        claim: ClaimRequest | None,
    ) -> None:
        if not (inserts or ends or claim):
            return
        flush = Flush(
            jobs=[job for jobs, _ in inserts for job in jobs],
            ends=[(run.claim, outcome) for run, outcome in ends if outcome is not COMMITTED],
            claim=claim,
        )
        try:
            flushed = self._store.flush(flush)
        except StoreUnavailable as error:
            self._refuse(inserts, error)
            self._put_back(ends, claim, error)
        except CommitUnknown as error:
            for jobs, ticket in inserts:
                ticket.resolve(error=EnqueueUnknown(tuple(job.id for job in jobs)))
            self._put_back(ends, claim, error)  # ends that were written come back as stale
        except Exception as error:
            if not isinstance(error, StoreError):
                _log.exception("a flush failed on a fault of fastsched itself")
            if len(inserts) + len(ends) + (claim is not None) == 1:
                self._blame(inserts, ends, error)
                self._put_back((), claim, error)
            else:
                self._one_by_one(inserts, ends, claim)
        else:
            self._pause = 0.0
            self._tell(self._on_flushed, flush, flushed, ends)
            for _, ticket in inserts:
                ticket.resolve(flushed.known)
            self._tell(self._on_answered, flush, flushed, ends)

    def _tell(
        self, listener: Listener, flush: Flush, flushed: Flushed, ends: Sequence[Ended]
    ) -> None:
        try:
            listener(flush, flushed, ends)
        except Exception:
            _log.exception("after a flush; what it wrote stands")

    def _one_by_one(
        self,
        inserts: Sequence[tuple[Sequence[NewJob], Ticket]],
        ends: Sequence[Ended],
        claim: ClaimRequest | None,
    ) -> None:
        """After a flush that failed on its data: only the guilty operation fails again."""
        for insert in inserts:
            self._flush([insert], [], None)
        for end in ends:
            self._flush([], [end], None)
        if claim is not None:
            self._flush([], [], claim)

    def _blame(
        self,
        inserts: Sequence[tuple[Sequence[NewJob], Ticket]],
        ends: Sequence[Ended],
        error: Exception,
    ) -> None:
        self._refuse(inserts, error)
        for run, outcome in ends:
            _log.error(
                "job %s: its outcome %s cannot be written: %s",
                run.job.id,
                type(outcome).__name__,
                error,
            )
            if isinstance(outcome, _WITH_TEXT) and outcome is not UNWRITABLE:
                self._flush([], [(run, UNWRITABLE)], None)

    def _refuse(self, inserts: Sequence[tuple[Sequence[NewJob], Ticket]], error: Exception) -> None:
        for _, ticket in inserts:
            ticket.resolve(error=error)

    def _put_back(
        self, ends: Sequence[Ended], claim: ClaimRequest | None, error: Exception
    ) -> None:
        """Keep ended runs, and the claim, until the store takes them; pauses grow."""
        if not ends and claim is None:
            return
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        with self._changed:
            if self._stopping:
                _log.error(
                    "%s; %d ended jobs could not be written and will run again", error, len(ends)
                )
                return
            self._ends[:0] = ends
            self._poked = self._poked or claim is not None
            self._retry_at = self._clock.monotonic() + self._pause
        _log.warning("%s; trying again in %.2f s", error, self._pause)


def _taken(queue: list[Any]) -> list[Any]:
    """What is queued. The queue stays the same object: `_queue` is given it before it has the lock,
    and would else add to one that has been taken already."""
    taken = queue[:]
    queue.clear()
    return taken


def _no_claim(jobs: Sequence[NewJob], ends: int) -> None:
    return None
