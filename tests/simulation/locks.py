"""What stands in for locks and clocks, and is no kinder than they are."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.threads import Thread, World

EPOCH = 1_700_000_000.0
"""The time at the store when a world begins."""


class Time:
    """Stands in for the module `time`: the clocks of the process that asks."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        self._world.point()
        return self._world.now + self._world.current.process.wall

    def monotonic(self) -> float:
        self._world.point()
        return self._world.now - EPOCH + self._world.current.process.boot

    def clock_gettime(self, which: int) -> float:
        return self.monotonic()

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


class Lock:
    """Stands in for `threading.Lock`: who comes while it is let go may overtake who waits."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held = False
        self._waiting: deque[Thread] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        world = self._world
        world.point()
        end = None if timeout < 0 else world.now + timeout
        while self._held:
            if not blocking or (end is not None and world.now >= end):
                return False
            self._waiting.append(world.current)
            if not world.wait(None if end is None else end - world.now):
                self._waiting.remove(world.current)
        self._held = True
        return True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._held = False
        if self._waiting:
            self._world.wake(self._waiting.popleft())

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        if self._held:  # not while a dead process is unwound
            self.release()
        if exc[0] is None:
            self._world.point()


class RLock:
    """Stands in for `threading.RLock`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = Lock(world)
        self._owner: Thread | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._owner is not self._world.current:
            if not self._lock.acquire(blocking, timeout):
                return False
            self._owner = self._world.current
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        if self._owner is not None:
            self.release()


class Condition:
    """Stands in for `threading.Condition`, in this too: one that has timed out, and does not know
    it yet, may swallow a notification."""

    def __init__(self, world: World, lock: Lock | None = None) -> None:
        self._world = world
        self._lock = lock or Lock(world)
        self._waiting: deque[Thread] = deque()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def wait(self, timeout: float | None = None) -> bool:
        self._waiting.append(self._world.current)
        self._lock.release()
        woken = self._world.wait(timeout)
        if not woken and self._world.current in self._waiting:
            self._waiting.remove(self._world.current)
        self._lock.acquire()
        return woken

    def notify(self, n: int = 1) -> None:
        assert self._lock.locked(), "notified without the lock"
        while n > 0 and self._waiting:
            self._world.wake(self._waiting.popleft())
            n -= 1

    def notify_all(self) -> None:
        self.notify(len(self._waiting))

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.__exit__(*exc)
