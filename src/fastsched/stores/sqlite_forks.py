"""No SQLite connection may be open while the process forks.

In the child, SQLite would take the locks of its parent for its own. It would write without a lock
that anybody else sees, into a log that the next process to leave may delete: what it commits is
lost. So files are paused around a fork: what is being written is finished, the connections are
closed, and parent and child connect anew when they next need to.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Pausable(Protocol):
    """Something that holds connections."""

    def pause(self) -> None:
        """Close the connections and let nobody open one, until `resume`."""

    def resume(self) -> None:
        """Go on, in the parent or in the child."""


opening = threading.RLock()
"""Held while the first connection to a file is made: not during a fork."""
_known: weakref.WeakSet[Pausable] = weakref.WeakSet()
_paused: list[Pausable] = []


def pause_around_forks(file: Pausable) -> None:
    """From now on, for as long as it is in use."""
    _known.add(file)


def _before() -> None:
    opening.acquire()
    for file in list(_known):
        _paused.append(file)
        file.pause()


def _after() -> None:
    while _paused:
        _paused.pop().resume()
    opening.release()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
