"""What users hold: a job that they enqueued, and a function that they registered."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload
from uuid import UUID

from fastsched.codec import encode
from fastsched.context import JobContext
from fastsched.handler import CallCheck, Handler
from fastsched.ids import check_id, new_id
from fastsched.job import Job, NewJob, State
from fastsched.options import Seconds, checked
from fastsched.stores.base import Cancelled

P = ParamSpec("P")
"""The parameters of a plain call."""
E = ParamSpec("E")
"""The parameters of an enqueue: the same without the context."""
R = TypeVar("R", covariant=True)


class Producer(Protocol):
    """What handles need of a scheduler."""

    def register(self, function: Callable[..., Any], options: dict[str, Any]) -> Handler: ...
    def enqueue(self, job: NewJob) -> JobHandle: ...
    def find(self, job_id: str) -> Job | None: ...
    def state(self, job_id: str) -> State: ...
    def wait(self, job_id: str, timeout: Seconds | None) -> State: ...
    def cancel(self, job_id: str) -> Cancelled: ...
    async def aenqueue(self, job: NewJob) -> JobHandle: ...
    async def await_end(self, job_id: str, timeout: Seconds | None) -> State: ...


class JobHandle:
    """An enqueued job. Cheap to make and to keep; every answer is asked of the store."""

    __slots__ = ("_scheduler", "id")

    def __init__(self, job_id: str, scheduler: Producer) -> None:
        self.id = job_id
        self._scheduler = scheduler

    def __repr__(self) -> str:
        return f"<job {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def state(self) -> State:
        """Where the job stands; `done` when the store has no row of it any more."""
        return self._scheduler.state(self.id)

    def wait(self, timeout: Seconds | None = None) -> State:
        """Wait until the job has ended, in any process; the state in which it did.

        Raises `TimeoutError` after `timeout` seconds.
        """
        return self._scheduler.wait(self.id, timeout)

    async def await_end(self, timeout: Seconds | None = None) -> State:
        """`wait` for asyncio programs; ``await handle`` is the same without a timeout."""
        return await self._scheduler.await_end(self.id, timeout)

    def __await__(self) -> Generator[Any, Any, State]:
        return self.await_end().__await__()

    def cancel(self) -> Cancelled:
        """Cancel it if it has not started; ask it to stop if it has."""
        return self._scheduler.cancel(self.id)

    def job(self) -> Job | None:
        """All that the store knows of it; None when it is done and not kept."""
        return self._scheduler.find(self.id)


class Registrar:
    """``@scheduler.job(...)``: turns a function into a `JobFunction`."""

    def __init__(self, scheduler: Producer, options: dict[str, Any]) -> None:
        self._scheduler = scheduler
        self._options = options

    @overload
    def __call__(
        self, function: Callable[Concatenate[JobContext, E], R], /
    ) -> JobFunction[Concatenate[JobContext, E], E, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobFunction[P, P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        handler = self._scheduler.register(function, self._options)
        return JobFunction(function, handler, self._scheduler)


class JobFunction(Generic[P, E, R]):
    """A registered function: call it as ever, or `enqueue` the call."""

    def __init__(self, function: Callable[P, R], handler: Handler, scheduler: Producer) -> None:
        update_wrapper(self, function)  # first: it copies the attributes of the function
        self._function = function
        self._scheduler = scheduler
        self.handler = handler
        defaults = {
            "queue": handler.queue,
            "priority": handler.priority,
            "timeout": handler.timeout,
            "deadline": handler.deadline,
            "max_attempts": handler.max_attempts,
        }
        self._plain = JobOptions[E](self, CallCheck(handler), defaults, None)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now; nothing is enqueued."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job function {self.handler.kind}>"

    @property
    def kind(self) -> str:
        """The stable name under which its jobs are stored."""
        return self.handler.kind

    def enqueue(self, *args: E.args, **kwargs: E.kwargs) -> JobHandle:
        """Store the call as a job; returns once it is committed.

        Raises `TypeError` if the arguments do not fit the function, `PayloadError` if they would
        not come back unchanged, `StoreUnavailable` if nothing could be stored.
        """
        return self._plain.enqueue(*args, **kwargs)

    async def aenqueue(self, *args: E.args, **kwargs: E.kwargs) -> JobHandle:
        """`enqueue` for asyncio programs: does not block the event loop."""
        return await self._plain.aenqueue(*args, **kwargs)

    def job(self, *args: E.args, **kwargs: E.kwargs) -> NewJob:
        """The call as a job not yet stored, for `Scheduler.enqueue_many`."""
        return self._plain.job(*args, **kwargs)

    def options(
        self,
        *,
        delay: Seconds | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        timeout: Seconds | None = None,
        deadline: Seconds | datetime | None = None,
        max_attempts: int | None = None,
        id: str | UUID | None = None,
    ) -> JobOptions[E]:
        """The same function with other options; what is not given stays as registered.

        `delay` or `at`: when it is due. `deadline`: the latest start, a time or seconds after due.
        `timeout`: the longest run. With an `id` of your own (a UUID), enqueueing twice is a no-op.
        """
        given = {
            "delay": delay,
            "at": at,
            "queue": queue,
            "priority": priority,
            "timeout": timeout,
            "deadline": deadline,
            "max_attempts": max_attempts,
        }
        return self._plain.but(checked(given), None if id is None else check_id(id))

    def submit(self, job: NewJob) -> JobHandle:
        """Store a job made by `job`."""
        return self._scheduler.enqueue(job)

    async def asubmit(self, job: NewJob) -> JobHandle:
        """The same for asyncio programs."""
        return await self._scheduler.aenqueue(job)


class JobOptions(Generic[E]):
    """A registered function with options, ready to be enqueued any number of times."""

    __slots__ = ("_check", "_fields", "_function", "_id")

    def __init__(
        self,
        function: JobFunction[Any, E, Any],
        check: CallCheck,
        fields: dict[str, Any],
        given_id: str | None,
    ) -> None:
        self._function = function
        self._check = check
        self._fields = fields
        self._id = given_id

    def but(self, fields: dict[str, Any], given_id: str | None) -> JobOptions[E]:
        """These options with some replaced."""
        return JobOptions(self._function, self._check, {**self._fields, **fields}, given_id)

    def enqueue(self, *args: E.args, **kwargs: E.kwargs) -> JobHandle:
        """Store the call as a job; returns once it is committed."""
        return self._function.submit(self.job(*args, **kwargs))

    async def aenqueue(self, *args: E.args, **kwargs: E.kwargs) -> JobHandle:
        """`enqueue` for asyncio programs: does not block the event loop."""
        return await self._function.asubmit(self.job(*args, **kwargs))

    def job(self, *args: E.args, **kwargs: E.kwargs) -> NewJob:
        """The call as a job not yet stored."""
        self._check(args, kwargs)
        return NewJob(
            id=self._id or new_id(),
            kind=self._function.handler.kind,
            payload=encode(args, kwargs),
            given_id=self._id is not None,
            **self._fields,
        )
