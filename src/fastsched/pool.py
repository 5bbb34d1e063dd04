"""Worker threads, and the watchdog that deals with runs that should stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVar

from fastsched.backlog import Backlog
from fastsched.clock import Clock, wait_for
from fastsched.context import Effects
from fastsched.errors import JobInterrupt, JobStopped, JobTimeout, StoreError
from fastsched.executor import Executor, Run
from fastsched.heap import Id, IndexedHeap
from fastsched.outcomes import RELEASE, Cancel, Outcome
from fastsched.stores.base import Presence

_log = logging.getLogger("fastsched.pool")

T = TypeVar("T")
_OUT_OF_MEMORY_PAUSE = 0.05
_Step = Callable[[Run, type[JobInterrupt]], bool]
_Plan = tuple[Run, type[JobInterrupt], tuple[_Step, ...]]
"""A run, why it should stop, and the steps to come."""


class Watchdog:
    """Stops runs in three steps, `grace` seconds apart: ask, throw, write off."""

    def __init__(
        self, clock: Clock, grace: float, write_off: Callable[[Run, type[JobInterrupt]], None]
    ) -> None:
        self._clock = clock
        self._grace = grace
        self._write_off = write_off
        self._changed = threading.Condition()
        self._steps = IndexedHeap[_Plan]("due")  # by monotonic time
        self._keys = count()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="fastsched-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def watch(self, run: Run, seconds: float, why: type[JobInterrupt]) -> int:
        """Begin to stop the run in so many seconds; the key to call it off."""
        key = next(self._keys)
        self._push(key, run, why, (self._ask, self._throw, self._give_up), seconds)
        return key

    def unwatch(self, key: int) -> None:
        with self._changed:
            if key in self._steps:
                self._steps.remove(key)

    def _push(
        self,
        key: Id,
        run: Run,
        why: type[JobInterrupt],
        steps: tuple[_Step, ...],
        seconds: float,
    ) -> None:
        due = self._clock.monotonic() + seconds
        with self._changed:
            first = not len(self._steps) or due < self._steps.peek()[3]
            self._steps.push(key, (run, why, steps), 0, due)
            if first:
                self._changed.notify()

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not (due := self._steps.pop_due(self._clock.monotonic(), 100)):
                    if self._closed:
                        return
                    left = None
                    if len(self._steps):
                        left = self._steps.peek()[3] - self._clock.monotonic()
                    self._clock.wait(self._changed, left)
            for key, item, _, _ in due:
                run, why, (step, *to_come) = item
                if step(run, why) and to_come:
                    self._push(key, run, why, tuple(to_come), self._grace)

    def _ask(self, run: Run, why: type[JobInterrupt]) -> bool:
        run.ask_to_stop(why)
        return True

    def _throw(self, run: Run, why: type[JobInterrupt]) -> bool:
        run.throw(why)
        return True

    def _give_up(self, run: Run, why: type[JobInterrupt]) -> bool:
        self._write_off(run, why)
        return False


class Pool:
    """Threads that pull jobs from a backlog, run them, and hand on what they came to."""

    def __init__(
        self,
        *,
        node: str,
        size: int,
        backlog: Backlog,
        executor: Executor,
        presence: Presence,
        clock: Clock,
        effects: Effects,
        interrupt_grace: float,
        finish: Callable[[Run, Outcome], None],
    ) -> None:
        self._node = node
        self._size = size
        self._backlog = backlog
        self._executor = executor
        self._presence = presence
        self._clock = clock
        self._effects = effects
        self._finish = finish
        self._watchdog = Watchdog(clock, interrupt_grace, self._write_off)
        self._free_slots = list(range(self.slots(size)))
        self._runs: dict[tuple[str, int], Run] = {}
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Condition()
        self._zombies = 0
        self._missing = 0  # workers for which no slot was free
        self._hurried = False

    @staticmethod
    def slots(size: int) -> int:
        """How many runs may exist at once: a slot for every worker, as many for zombies."""
        return 2 * size

    @property
    def zombies(self) -> int:
        """Threads whose run was written off and has not returned."""
        return self._zombies

    @property
    def able(self) -> bool:
        """Whether any worker is left to run jobs."""
        return bool(self._threads)

    def start(self) -> None:
        """Start the threads."""
        self._watchdog.start()
        with self._lock:
            for _ in range(self._size):
                self._start_worker()

    def runs(self) -> list[Run]:
        """What runs now, zombies included."""
        return list(self._runs.values())

    def stop_run(self, job_id: str, why: type[JobInterrupt]) -> bool:
        """Begin to stop a running job; False if it does not run here."""
        found = [run for run in self.runs() if run.job.id == job_id]
        for run in found:
            self._watchdog.watch(run, 0.0, why)
        return bool(found)

    def join(self, grace: float) -> bool:
        """Once the backlog is closed: wait for the workers; True if all have ended in time."""
        with self._lock:
            wait_for(self._clock, self._lock, lambda: not self._threads or self._hurried, grace)
            self._hurried = False
            return not self._threads

    def hurry(self) -> None:
        """End a `join`, this one or the next, before its time."""
        with self._lock:
            self._hurried = True
            self._lock.notify_all()

    def close(self) -> None:
        """End the watchdog, and the event loop of async handlers."""
        self._watchdog.close()
        self._executor.close()

    def _start_worker(self) -> None:
        slot = self._free_slots.pop(0)
        thread = threading.Thread(
            target=self._work, args=(slot,), name=f"fastsched-worker-{slot}", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _work(self, slot: int) -> None:
        finished = False
        while (job := self._backlog.take(finished)) is not None:
            run = self._outlast(partial(Run, job, self._node, self._clock, self._effects))
            outcome = self._run_to_end(slot, run)
            if not run.settle():
                self._bury_zombie(slot)
                return
            self._outlast(partial(self._finish, run, outcome))
            finished = True
        with self._lock:
            self._threads.discard(threading.current_thread())
            self._lock.notify_all()

    def _outlast(self, do: Callable[[], T]) -> T:
        """Do it; again a little later if a handler has taken all the memory."""
        while True:
            try:
                return do()
            except MemoryError:
                with self._lock:
                    self._clock.wait(self._lock, _OUT_OF_MEMORY_PAUSE)

    def _run_to_end(self, slot: int, run: Run) -> Outcome:
        try:
            return self._run(slot, run)
        except Exception as error:  # not of the handler, but here: memory was short
            fault = error
        self._runs.pop((run.job.id, run.job.claim_no), None)
        self._presence.leave(slot)
        return self._outlast(partial(self._executor.judge, run.job, fault))

    def _run(self, slot: int, run: Run) -> Outcome:
        key = (run.job.id, run.job.claim_no)
        job = run.job
        if self._zombies:  # not alone: what kills the process now may be one of them
            job = job._replace(suspect=False)
        try:
            self._presence.enter(slot, job)
        except StoreError as error:
            _log.warning("job %s is given back, its start cannot be written: %s", key[0], error)
            return RELEASE
        if not self._presence.holds():  # asked last: this process may have been frozen meanwhile
            self._presence.leave(slot)
            return RELEASE
        self._runs[key] = run
        if run.job.timeout is None:
            outcome = self._executor.execute(run)
        else:
            watch = self._watchdog.watch(run, run.job.timeout, JobTimeout)
            outcome = self._executor.execute(run)
            self._watchdog.unwatch(watch)
        del self._runs[key]
        self._presence.leave(slot)
        return outcome

    def _write_off(self, run: Run, why: type[JobInterrupt]) -> None:
        """The run did not stop: its thread is lost, its claim ends, another thread takes over."""
        if not run.settle():
            return
        self._finish(run, self._written_off(run, why))
        with self._lock:
            self._zombies += 1
            self._threads = {t for t in self._threads if t.ident != run.thread}
            if self._free_slots:
                self._start_worker()
            else:
                self._missing += 1
                _log.critical(
                    "%d runs did not stop when told to; this node has one worker less",
                    self._zombies,
                )
            self._lock.notify_all()
        _log.error(
            "job %s (%s) did not stop when told to; its thread is written off",
            run.job.id,
            run.job.kind,
        )
        self._backlog.finished()
        if not self.able:  # other nodes may run what waits here
            for job in self._backlog.clear():
                self._finish(Run(job, self._node, self._clock), RELEASE)

    def _written_off(self, run: Run, why: type[JobInterrupt]) -> Outcome:
        if why is JobStopped:
            return RELEASE
        if why is JobTimeout:
            return self._executor.judge(run.job, JobTimeout())
        return Cancel("cancelled while it ran")

    def _bury_zombie(self, slot: int) -> None:
        with self._lock:
            self._zombies -= 1
            self._free_slots.append(slot)
            if self._missing:
                self._missing -= 1
                self._start_worker()
