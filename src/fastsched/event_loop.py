"""Where `async def` handlers run: one event loop in a thread, shared by the workers of a node.

A worker waits for its coroutine, so there are as many at once as there are workers, with the same
timeouts, retries and cancellation as for plain functions.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

Function = Callable[[], Coroutine[Any, Any, Any]]

_LAST_WORDS = 1.0
"""Seconds that coroutines have, once cancelled, when the loop ends."""


class Call:
    """A coroutine under way on the event loop of another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Function) -> None:
        self._loop = loop
        self._function = function
        self._outcome: Future[Any] = Future()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """In the loop's thread."""
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        import asyncio

        try:
            value = await self._function()
        except asyncio.CancelledError:
            self.resolve(error=CancelledError())
        except BaseException as error:  # SystemExit too: it would end the loop, for all
            self.resolve(error=error)
        else:
            self.resolve(value)

    def resolve(self, value: Any = None, error: BaseException | None = None) -> None:
        """What it came to; the first word counts."""
        with contextlib.suppress(InvalidStateError):
            if error is None:
                self._outcome.set_result(value)
            else:
                self._outcome.set_exception(error)

    def cancel(self) -> bool:
        """Ask it to end; it ends when it has cleaned up. False if it has ended."""
        if self._outcome.done():
            return False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        return True

    def result(self) -> Any:
        """What it returned, once it has ended; what it raised is raised here."""
        return self._outcome.result()

    @property
    def ended(self) -> bool:
        return self._outcome.done()


class EventLoop:
    """Started when the first coroutine comes; asyncio is not imported before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls: set[Call] = set()

    def submit(self, function: Function) -> Call:
        """Begin to run the coroutine that `function` makes."""
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name="fastsched-async", daemon=True
                )
                self._thread.start()
            call = Call(self._loop, function)
            self._calls = {call, *(other for other in self._calls if not other.ended)}
            self._loop.call_soon_threadsafe(call.begin)
            return call

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_LAST_WORDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def close(self) -> None:
        """Cancel what still runs and end the thread; what ignores that is left behind."""
        with self._lock:
            loop, self._loop = self._loop, None
            calls, self._calls = self._calls, set()
        if loop is None or self._thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(2 * _LAST_WORDS)
        for call in calls:
            call.resolve(error=CancelledError())  # or its worker would wait for ever
