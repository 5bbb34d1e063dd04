"""An end for calls that would wait for ever: a server that is silent, a connection half open."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from itertools import count

from fastsched.clock import Clock
from fastsched.heap import IndexedHeap


class Deadlines:
    """Shuts down the socket of a call that takes too long, so that it fails at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._calls = IndexedHeap[int]("due")  # by monotonic time; item: a socket's descriptor
        self._duplicates: set[int] = set()  # the descriptors of all calls
        self._keys = count()
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, descriptor: int, seconds: float) -> Iterator[None]:
        """Allow the block so many seconds for what it does on this socket."""
        # A duplicate: should the block close the socket, its number may be another's at once.
        duplicate = os.dup(descriptor)
        self._duplicates.add(duplicate)
        key = next(self._keys)
        due = self._clock.monotonic() + seconds
        with self._changed:
            if self._thread is None:
                self._start()
            first = not len(self._calls) or due < self._calls.peek()[3]
            self._calls.push(key, duplicate, 0, due)
            if first:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                if key in self._calls:
                    self._calls.remove(key)
            self._duplicates.discard(duplicate)
            os.close(duplicate)

    def forsake(self) -> None:
        """In the child of a fork: let go of the sockets on which the parent's threads wait."""
        for duplicate in self._duplicates:
            os.close(duplicate)

    def close(self) -> None:
        """End the thread; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="fastsched-deadlines", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        with self._changed:
            while not self._closed:
                for _, descriptor, _, _ in self._calls.pop_due(self._clock.monotonic(), 100):
                    _shut(descriptor)
                left = None
                if len(self._calls):
                    left = self._calls.peek()[3] - self._clock.monotonic()
                self._clock.wait(self._changed, left)


def _shut(descriptor: int) -> None:
    connection = socket.socket(fileno=descriptor)
    try:
        with contextlib.suppress(OSError):  # not connected any more
            connection.shutdown(socket.SHUT_RDWR)
    finally:
        connection.detach()
