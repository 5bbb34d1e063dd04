"""The bus of processes on one machine: named pipes in a folder."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from fastsched.bus import Hint, WakeUp
from fastsched.ids import new_id

_log = logging.getLogger("fastsched.bus")
_WORK, _ENDED, _CANCEL = 1, 2, 4


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
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no reader: its process is gone
                path.unlink(missing_ok=True)
            return
        try:
            if stat.S_ISFIFO(os.fstat(pipe).st_mode):
                os.write(pipe, bytes([_byte(hint)]))
        except OSError:  # full: the reader has hints enough to look again
            pass
        finally:
            os.close(pipe)

    def subscribe(self, receive: Callable[[Hint], None]) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
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
                if byte == 0 and self._reader is None:  # closed; else it is nobody's hint
                    return
                gathered |= byte
            try:
                receive(_hint(gathered))
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


def _byte(hint: Hint) -> int:
    """A hint without its details."""
    return (
        (_WORK if hint.wake_up is not None else 0)
        | (_ENDED if hint.ended is None or hint.ended else 0)
        | (_CANCEL if hint.cancel else 0)
    )


def _hint(byte: int) -> Hint:
    return Hint(
        WakeUp() if byte & _WORK else None,
        None if byte & _ENDED else frozenset(),
        bool(byte & _CANCEL),
    )
