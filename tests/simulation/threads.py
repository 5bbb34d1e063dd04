"""Threads that take turns, on a clock that jumps: what stands in for `threading` and `time`.

Every simulated thread is a greenlet. One runs at a time, and hands over only at a *point*: where it
takes or lets go of a lock, waits, notifies, reads a clock, and, in a world that is `fine`, before
any line of the code under test. Who goes on is drawn from the world's random numbers. When nobody
can go on, the time jumps to the next timer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent, greenlet

from fastsched import backlog, clock, context, engine, executor, interrupt, node, pool, waiters

from fastsched import event_loop, events, writer  # isort: skip

from simulation.locks import EPOCH, Condition, Lock, RLock, Time
from simulation.points import enter_points, leave_points

MOST_STEPS = 400_000
"""Turns after which a world is taken for one that goes round in circles."""

_THREADED = (
    backlog, context, engine, event_loop, events, executor, interrupt, node, pool, waiters, writer,
)  # fmt: skip


class Killed(BaseException):
    """Ends a thread whose process has died, or whose world is over."""


class Stuck(Exception):
    """Every thread waits for ever, or the world goes round in circles."""


class Process:
    """A process: its threads, its clocks, and whether it goes on."""

    def __init__(self, name: str, pid: int, wall: float = 0.0, boot: float = 0.0) -> None:
        self.name = name
        self.pid = pid
        self.wall = wall
        """Seconds by which its wall clock is ahead of the store's."""
        self.boot = boot
        """What its monotonic clock showed when the world began."""
        self.dead = False
        self.paused = False
        self.waiting: list[Thread] = []
        """Threads that would go on, were the process not paused."""

    def __str__(self) -> str:
        return self.name


class Thread:
    """A thread of a process."""

    def __init__(
        self, world: World, process: Process, function: Callable[[], None], name: str
    ) -> None:
        self.process = process
        self.name = name
        self.ident = next(world.idents)
        self.ended = False
        self.started = False
        self.interrupt: type[BaseException] | None = None
        """What another thread has thrown into this one, and it has not felt yet."""
        self.feels = False
        """Whether it is in code of its own that such an exception gets into."""
        self._world = world
        self._function = function
        self._joining: list[Thread] = []
        self._wait_no = 0
        self._waits = False
        self._greenlet = greenlet(self._run, world.hub)

    def __str__(self) -> str:
        return f"{self.process}/{self.name}"

    def start(self) -> None:
        self.started = True
        self._world.threads.append(self)
        self._world.ready.append(self)
        self._world.point()

    def join(self, timeout: float | None = None) -> None:
        me = self._world.current
        if not self.ended:
            self._joining.append(me)
            if not self._world.wait(timeout):
                self._joining.remove(me)

    def is_alive(self) -> bool:
        return self.started and not self.ended

    def _run(self) -> None:
        try:
            self._function()
        except Killed:
            pass
        except BaseException as error:
            if not self._world.over:
                self._world.broken.append((str(self), error))
        self.ended = True
        for thread in self._joining:
            self._world.wake(thread)


class World:
    """Virtual time, and who runs in it."""

    def __init__(self, random: Random, *, restless: float = 0.1, fine: bool = False) -> None:
        self.random = random
        self.restless = restless
        """How likely a thread hands over at a point."""
        self.fine = fine
        self.now = EPOCH
        self.hub = getcurrent()
        self.idents = count(1)
        self.outside = Process("world", 0)
        self.current = Thread(self, self.outside, lambda: None, "hub")
        self.threads: list[Thread] = []
        self.ready: list[Thread] = []
        self.broken: list[tuple[str, BaseException]] = []
        """Threads that an exception has ended."""
        self.steps = 0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_nos = count()
        self.over = False

    # For the code in it --------------------------------------------------------------------------

    def point(self) -> None:
        """Hand over, perhaps."""
        self.check()
        if self.random.random() < self.restless and self.current.process is not self.outside:
            if self.random.random() < 0.05:  # the system lets others run for a while
                self.wait(self.random.random() * 0.002)
            else:
                self.ready.append(self.current)
                self._leave()

    def step(self) -> None:
        """A point before a statement, where handing over is rarer: there are so many."""
        if not self.over and self.random.random() < 0.1:
            self.point()

    def wait(self, seconds: float | None = None) -> bool:
        """Let others run until woken, or for so many seconds; whether it was woken."""
        self.check()
        me = self.current
        me._waits = True
        me._wait_no += 1
        if seconds is not None:
            wait_no = me._wait_no
            self.at(self.now + max(seconds, 0.0), lambda: self._time_out(me, wait_no))
        woken_no = me._wait_no
        self._leave()
        return me._wait_no != woken_no

    def wake(self, thread: Thread) -> None:
        """End a `wait`; nothing if it has ended."""
        if thread._waits:
            thread._waits = False
            thread._wait_no += 1
            self.ready.append(thread)

    def sleep(self, seconds: float) -> None:
        """Wait in the system: no exception gets in."""
        end = self.now + seconds
        while self.now < end:
            self.wait(end - self.now)

    def work(self, seconds: float) -> None:
        """Spend time in code of one's own, into which an exception may be thrown."""
        me = self.current
        end = self.now + seconds
        me.feels = True
        try:
            while self.now < end and me.interrupt is None:
                self.wait(end - self.now)
        finally:
            me.feels = False
        self.feel()

    def feel(self) -> None:
        """Raise what was thrown into this thread."""
        thrown, self.current.interrupt = self.current.interrupt, None
        if thrown is not None:
            raise thrown

    def throw(self, ident: int, error: type[BaseException] | None) -> None:
        """Stands in for CPython's exceptions from other threads."""
        for thread in self.threads:
            if thread.ident == ident:
                thread.interrupt = error
                if thread.feels and error is not None:
                    self.wake(thread)

    def check(self) -> None:
        """End here if this process is dead."""
        if self.over or self.current.process.dead:
            if not self.over:
                self.hub.switch()  # never to come back before the end
            raise Killed

    def _leave(self) -> None:
        self.hub.switch()
        self.check()

    # Processes -----------------------------------------------------------------------------------

    def spawn(self, process: Process, function: Callable[[], None], name: str) -> Thread:
        """Start a thread of a process."""
        thread = Thread(self, process, function, name)
        thread.started = True
        self.threads.append(thread)
        self.ready.append(thread)
        return thread

    def kill(self, process: Process) -> None:
        """None of its threads takes another step."""
        process.dead = True
        self.check()

    def pause(self, process: Process) -> None:
        process.paused = True

    def resume(self, process: Process) -> None:
        process.paused = False
        self.ready += process.waiting
        process.waiting.clear()

    # Time ----------------------------------------------------------------------------------------

    def at(self, time: float, happen: Callable[[], None]) -> None:
        """Call it then, in no thread: it must not wait."""
        heapq.heappush(self._timers, (time, next(self._timer_nos), happen))

    def _time_out(self, thread: Thread, wait_no: int) -> None:
        if thread._waits and thread._wait_no == wait_no:
            thread._waits = False
            self.ready.append(thread)

    def run(self, happened: Callable[[], bool], until: float) -> bool:
        """Let everybody run until that has happened, or until that time; whether it has."""
        while not happened():
            while self.ready:
                self._turn()
                if happened():
                    return True
            if not self._timers:
                raise Stuck("every thread waits for ever: " + ", ".join(self.waiting()))
            if self._timers[0][0] > until:
                self.now = until
                return False
            self.now = self._timers[0][0]
            while self._timers and self._timers[0][0] <= self.now:
                heapq.heappop(self._timers)[2]()
        return True

    def _turn(self) -> None:
        """One of those that can goes on, to its next point."""
        ready = self.ready
        place = int(self.random.random() * len(ready)) if len(ready) > 1 else 0
        thread = ready[place]
        ready[place] = ready[-1]
        ready.pop()
        if thread.process.dead:
            return
        if thread.process.paused:
            thread.process.waiting.append(thread)
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Stuck(f"no end after {MOST_STEPS} turns; the last was that of {thread}")
        outside, self.current = self.current, thread
        thread._greenlet.switch()
        self.current = outside

    def waiting(self) -> list[str]:
        """The names of the threads that have not ended, of processes that have not died."""
        return [str(t) for t in self.threads if not t.ended and not t.process.dead]

    def end(self) -> None:
        """Unwind every thread that is left."""
        self.over = True
        for thread in self.threads:
            while thread._greenlet and not thread._greenlet.dead:
                thread._greenlet.throw(Killed)
        self.threads.clear()
        self.ready.clear()
        self._timers.clear()

    @contextmanager
    def stands_in(self) -> Iterator[None]:
        """Give the modules of fastsched these threads and this time."""
        fake: Any = SimpleNamespace(
            Lock=lambda: Lock(self),
            RLock=lambda: RLock(self),
            Condition=lambda lock=None: Condition(self, lock),
            Thread=self._thread,
            get_ident=lambda: self.current.ident,
            current_thread=lambda: self.current,
        )
        before = [(module, "threading", vars(module)["threading"]) for module in _THREADED]
        before += [(clock, "time", clock.time)]
        if self.fine:
            enter_points(self.step)
        before += [(interrupt, name, vars(interrupt)[name])
                   for name in ("_set_async_exc", "_clear_async_exc")]  # fmt: skip
        for module in _THREADED:
            vars(module)["threading"] = fake
        vars(clock)["time"] = Time(self)
        vars(interrupt).update(_set_async_exc=self.throw, _clear_async_exc=self.throw)
        try:
            yield
        finally:
            self.end()
            if self.fine:
                leave_points()
            for module, name, was in before:
                vars(module)[name] = was

    def _thread(
        self, *, target: Any, args: tuple[Any, ...] = (), name: str, daemon: bool
    ) -> Thread:
        return Thread(self, self.current.process, lambda: target(*args), name)
