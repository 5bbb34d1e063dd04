"""Where `async def` handlers run: one event loop in a thread, shared by the workers of a node.

A worker waits for its coroutine, so there are as many at once as there are workers, with the same
timeouts, retries and cancellation as for plain functions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class EventLoop:
    """Started when the first coroutine comes; asyncio is not imported before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> Future[Any]:
        """Begin to run the coroutine that `function` makes."""
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop,), name="fastsched-async", daemon=True
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(function(), self._loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def close(self) -> None:
        """Cancel what still runs and end the thread; what ignores that is left behind."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        import asyncio

        def stop() -> None:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.call_soon(loop.stop)

        loop.call_soon_threadsafe(stop)
        self._thread.join(1.0)
