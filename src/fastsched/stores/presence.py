"""Signs of life on one machine: a file for each node, locked while its process lives.

The operating system drops the lock when the process ends, however it ends, and keeps what was
written through the memory map: so the file also tells which jobs were running.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from pathlib import Path

from fastsched.clock import boot_seconds
from fastsched.job import ClaimedJob

_SLOT = 64
"""Bytes a slot: whether it is taken, then the job's id. Slot 0 holds the id of the boot."""

_LOOK_EVERY = 0.05
"""Seconds for which a look at the own file counts. A look at every start gave up the GIL each time:
that took 9 of the 43 µs of a job."""


def _boot_id() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36]
    except OSError:
        return b"unknown"


class FilePresence:
    """This process's node, until `close` or death. Not inherited by forks: see `forsake`."""

    def __init__(self, path: Path, slots: int) -> None:
        size = _SLOT * (slots + 1)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            # Every byte is written: a hole in a mapped file would kill this process on a full disk.
            content = (b"\0" + _boot_id()).ljust(size, b"\0")
            if os.pwrite(self._file, content, 0) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._map = mmap.mmap(self._file, size)
        except BaseException:
            os.close(self._file)
            path.unlink()
            raise
        self._inode = os.fstat(self._file).st_ino
        self._held_until = 0.0

    def holds(self) -> bool:
        """Whether the file has not been removed: others do that when they count it as dead."""
        now = boot_seconds()
        if now < self._held_until:
            return True
        try:
            held = os.fstat(self._file).st_nlink > 0
        except OSError:  # closed
            held = False
        self._held_until = now + _LOOK_EVERY if held else 0.0
        return held

    def stands(self) -> bool:
        """Whether the file is still where the others look for it."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    def enter(self, slot: int, job: ClaimedJob) -> None:
        start = _SLOT * (slot + 1)
        self._map[start + 1 : start + 37] = job.id.encode()
        self._map[start] = 1  # last: a kill between the two leaves an empty slot

    def leave(self, slot: int) -> None:
        with contextlib.suppress(ValueError):  # closed: a zombie returns after its node left
            self._map[_SLOT * (slot + 1)] = 0

    def close(self) -> None:
        """Give the place up: from here on the node is dead to the others."""
        if self._file >= 0:
            if self.stands():
                with contextlib.suppress(OSError):
                    self.path.unlink()
            self.forsake()

    def forsake(self) -> None:
        """Let go without giving the place up: the parent of this fork still holds the lock."""
        file, self._file = self._file, -1
        self._held_until = 0.0
        if file >= 0:
            self._map.close()
            os.close(file)


def is_dead(path: Path) -> bool:
    """Whether the process behind a presence file is gone (or the file is)."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def was_running(path: Path) -> list[str]:
    """The jobs that a dead node was running; nothing if the machine went down with it."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    boot = _boot_id()
    if content[1 : 1 + len(boot)] != boot:
        return []
    return [
        content[start + 1 : start + 37].decode("ascii", "replace")
        for start in range(_SLOT, len(content), _SLOT)
        if content[start] == 1
    ]
