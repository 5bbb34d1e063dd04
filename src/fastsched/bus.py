"""Hints between processes. Losing every one of them costs latency, never a job."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Callable
from enum import IntFlag
from pathlib import Path
from typing import Protocol

from fastsched.ids import new_id

_log = logging.getLogger("fastsched.bus")


class Hint(IntFlag):
    """What may be worth a look in the store."""

    WORK = 1
    """Something may be due."""
    ENDED = 2
    """Jobs have ended."""
    CANCEL = 4
    """Running jobs are asked to stop."""


class Bus(Protocol):
    """Carries hints to the other processes on the same store."""

    def publish(self, hint: Hint) -> None:
        """Send to all others; never fails, never blocks."""

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        """Call `receive` from a thread of the bus for hints of others, coalesced."""

    def close(self) -> None:
        """Stop receiving; may be called twice."""


class NoBus:
    """No bus: every process looks at the store once a second."""

    def publish(self, hint: Hint) -> None:
        pass

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        pass

    def close(self) -> None:
        pass


class PipeBus:
    """A bus of named pipes in a folder, one for each listening process.

    A hint is one byte written to every pipe. The reader blocks in the kernel: an idle listener
    costs nothing. A pipe that nobody reads belongs to a dead process and is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{new_id()}.pipe"
        self._reader: int | None = None
        self._thread: threading.Thread | None = None

    def publish(self, hint: Hint) -> None:
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(".pipe") and name != self._name:
                self._send(self._folder / name, hint)

    def _send(self, path: Path, hint: Hint) -> None:
        try:
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no reader: its process is gone
                path.unlink(missing_ok=True)
            return
        try:
            os.write(pipe, bytes([hint]))
        except OSError:  # full: the reader has hints enough to look again
            pass
        finally:
            os.close(pipe)

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        self._folder.mkdir(exist_ok=True)
        hidden = self._folder / f"{self._name}.new"
        os.mkfifo(hidden, 0o600)
        # Open for both ways: never at end of file, and close() can write to its own reader.
        self._reader = os.open(hidden, os.O_RDWR)
        hidden.rename(self._folder / self._name)  # visible only once it has a reader
        self._thread = threading.Thread(
            target=self._listen, args=(self._reader, receive), name="fastsched-bus", daemon=True
        )
        self._thread.start()

    def _listen(self, reader: int, receive: Callable[[Hint], None]) -> None:
        while True:
            gathered = 0
            for byte in os.read(reader, 4096):
                if byte == 0:
                    return
                gathered |= byte
            try:
                receive(Hint(gathered))
            except Exception:
                _log.exception("after a hint; the next one is awaited")

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None or self._thread is None:
            return
        with contextlib.suppress(OSError):
            (self._folder / self._name).unlink()
        os.write(reader, b"\0")
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(reader)

    def forsake(self) -> None:
        """In the child of a fork: the pipe is the parent's."""
        reader, self._reader = self._reader, None
        if reader is not None:
            os.close(reader)
