"""Jobs for tests, with everything that a test does not care about filled in; and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

from clocks import PATIENCE

from fastsched.codec import encode
from fastsched.ids import new_id
from fastsched.job import ClaimedJob, NewJob

_seq = count(1)


def new_job(kind: str = "work", *args: Any, **fields: Any) -> NewJob:
    """A job not yet stored."""
    return NewJob(**{"id": new_id(), "kind": kind, "payload": encode(args, {}), **fields})


def claimed_job(kind: str = "work", **fields: Any) -> ClaimedJob:
    """A job as it comes out of a claim, due since 1970."""
    defaults: dict[str, Any] = {
        "id": new_id(),
        "kind": kind,
        "queue": "default",
        "priority": 0,
        "due_at": 0.0,
        "deadline": None,
        "timeout": None,
        "max_attempts": 5,
        "attempt": 1,
        "claim_no": 1,
        "suspect": False,
        "payload": encode((), {}),
        "seq": next(_seq),
    }
    return ClaimedJob(**{**defaults, **fields})


class Result:
    """What a call in another thread came to."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error

    @property
    def pending(self) -> bool:
        return self._thread.is_alive()

    def get(self) -> Any:
        """Its value, once it has returned; what it raised is raised here."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call has not returned"
        if self._error is not None:
            raise self._error
        return self._value


def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Result:
    """Call it in a thread of its own."""
    return Result(lambda: function(*args, **kwargs))


def in_threads(threads: int, function: Callable[[int], Any]) -> list[Any]:
    """Call `function(number)` in threads that start together; what each returned."""
    barrier = threading.Barrier(threads)

    def together(number: int) -> Any:
        barrier.wait(PATIENCE)
        return function(number)

    results = [in_thread(together, number) for number in range(threads)]
    return [result.get() for result in results]


def until(happened: Callable[[], bool], what: str = "it") -> None:
    """Wait for what nobody tells: look every millisecond."""
    never = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if happened():
            return
        never.wait(0.001)
    raise AssertionError(f"{what} has not happened")
