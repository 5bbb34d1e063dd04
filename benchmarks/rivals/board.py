"""When each job started, in a file that all processes map into memory."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path


class Board:
    """One time for every job number, 0 until it starts; CLOCK_MONOTONIC, so one clock for all.

    It costs a job one write to memory: the same for every library, also for those that fork.
    """

    def __init__(self, file: Path, *, size: int = 0) -> None:
        """Open the board in `file`; make it, with room for `size` jobs, when a size is given."""
        if size:
            file.write_bytes(bytes(8 * size))
        descriptor = os.open(file, os.O_RDWR)
        self._map = mmap.mmap(descriptor, 0)
        os.close(descriptor)
        self.starts = memoryview(self._map).cast("d")

    def started(self, number: int) -> None:
        """What every library's job does, and all that it does."""
        self.starts[number] = time.monotonic()

    def wait(self, first: int, count: int, timeout: float, alive: Callable[[], bool]) -> bool:
        """Wait until jobs ``first … first + count`` have started.

        False if they do not in time, or whoever runs them is not alive any more.
        """
        end = time.monotonic() + timeout
        number = first
        while True:
            while number < first + count and self.starts[number]:
                number += 1
            if number == first + count:
                return True
            if time.monotonic() > end or not alive():
                return False
            time.sleep(0.002)

    def missing(self, first: int, count: int) -> int:
        """How many of these have not started."""
        return sum(1 for start in self.starts[first : first + count] if not start)
