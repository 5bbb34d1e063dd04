"""An exception from another thread, only ever into a handler's own code.

A thread cannot be killed, but CPython can raise an exception in it between two bytecodes. Here that
exception is sent at most once, only between `Armed()` and `disarm()`, and never outlives them: no
code of the pool ever sees it.
"""

from __future__ import annotations

import ctypes
import threading

from fastsched.errors import JobInterrupt

_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
_set_async_exc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_clear_async_exc = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


class Armed:
    """A stretch of this thread's code into which `throw` may raise."""

    __slots__ = ("_thread", "_thrown", "_token")

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._token = [True]  # popped once, by whoever comes first: `throw` or `disarm`
        self._thrown = threading.Lock()
        self._thrown.acquire()

    def throw(self, interrupt: type[JobInterrupt]) -> bool:
        """Raise in the armed thread; False if its stretch is over."""
        try:
            self._token.pop()
        except IndexError:
            return False
        _set_async_exc(self._thread, interrupt)
        self._thrown.release()
        return True

    def disarm(self) -> None:
        """End the stretch, in the armed thread.

        When the exception is on its way it may still come out of this call, once; after that
        nothing is pending.
        """
        try:
            self._token.pop()
        except IndexError:
            self._thrown.acquire()
            _clear_async_exc(self._thread, None)
