"""From a claimed job to an outcome: decode, call, judge. Knows neither store nor thread."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import CancelledError
from typing import Any

from fastsched.clock import Clock
from fastsched.codec import decode
from fastsched.context import Effects, JobContext, _current
from fastsched.errors import JobCancelled, JobInterrupt, JobStopped, JobTimeout, PayloadError
from fastsched.event_loop import Call, EventLoop
from fastsched.handler import Handler
from fastsched.interrupt import Armed
from fastsched.job import Claim, ClaimedJob, Failure
from fastsched.outcomes import (
    COMMITTED,
    DONE,
    EXPIRE,
    RELEASE,
    Cancel,
    Dead,
    Outcome,
    Retry,
    Snooze,
)
from fastsched.retry import clamp

_OUTCOMES = (Snooze, Cancel, Retry)
_MAX_MESSAGE = 2_000
_MAX_TRACEBACK = 16_000


class Run:
    """One attempt at one job, from the moment a worker takes it."""

    __slots__ = (
        "_armed",
        "_call",
        "_unsettled",
        "claim",
        "context",
        "duration",
        "job",
        "thread",
    )

    def __init__(
        self, job: ClaimedJob, node: str, clock: Clock, effects: Effects | None = None
    ) -> None:
        self.job = job
        self.claim = Claim(job.id, node, job.claim_no)
        self.context = JobContext(job, node, clock, effects)
        self.thread = threading.get_ident()
        self.duration: float | None = None
        """Seconds, once it has ended; None if it never started."""
        self._armed: Armed | None = None
        self._call: Call | None = None
        self._unsettled = [True]

    def settle(self) -> bool:
        """True to the first caller only: who may say what this run came to."""
        try:
            self._unsettled.pop()
        except IndexError:
            return False
        self.duration = self.context.elapsed
        return True

    def ask_to_stop(self, interrupt: type[JobInterrupt]) -> None:
        """Set the flag that a handler may look at."""
        self.context.ask_to_stop(interrupt)

    def throw(self, interrupt: type[JobInterrupt]) -> bool:
        """Raise inside the handler; False if it is not in its own code now."""
        armed, call = self._armed, self._call
        if call is not None:
            return self.context.unless_shielded(call.cancel)
        if armed is not None:
            return self.context.unless_shielded(lambda: armed.throw(interrupt))
        return False

    def call(self, handler: Handler, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """The handler's own code, the only part that can be interrupted."""
        token = _current.set(self.context)
        try:
            armed = self._armed = Armed()
            try:
                if handler.wants_context:
                    return handler.function(self.context, *args, **kwargs)
                return handler.function(*args, **kwargs)
            finally:
                armed.disarm()
        finally:
            _current.reset(token)

    def call_async(
        self, handler: Handler, args: list[Any], kwargs: dict[str, Any], loop: EventLoop
    ) -> Any:
        """The same for an async handler, on the event loop; interrupted by cancelling it."""

        async def coroutine() -> Any:
            _current.set(self.context)
            if handler.wants_context:
                return await handler.function(self.context, *args, **kwargs)
            return await handler.function(*args, **kwargs)

        call = self._call = loop.submit(coroutine)
        try:
            return call.result()
        except CancelledError:
            self.context.check()
            raise


class Executor:
    """Runs jobs by the handlers of this node."""

    def __init__(
        self, handlers: Mapping[str, Handler], clock: Clock, loop: EventLoop | None = None
    ) -> None:
        self._handlers = handlers
        self._clock = clock
        self._loop = loop or EventLoop()

    def execute(self, run: Run) -> Outcome:
        """Run the job's handler to an outcome; nothing that a handler raises gets out."""
        job = run.job
        if job.deadline is not None and self._clock.now() > job.deadline:
            return EXPIRE
        handler = self._handlers.get(job.kind)
        if handler is None:
            return RELEASE
        try:
            args, kwargs = decode(job.payload)
        except PayloadError as error:
            return Dead("the payload cannot be read", Failure("PayloadError", str(error)))
        outcome = self._called(run, handler, args, kwargs)
        return COMMITTED if run.context.committed else outcome

    def _called(
        self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any]
    ) -> Outcome:
        job = run.job
        try:
            if handler.is_async:
                value = run.call_async(handler, args, kwargs, self._loop)
            else:
                value = run.call(handler, args, kwargs)
        except JobCancelled:
            return Cancel("cancelled while it ran")
        except JobStopped:
            return RELEASE
        except BaseException as error:
            return self.judge(job, error)
        match value if issubclass(type(value), _OUTCOMES) else None:  # others are not asked a thing
            case Snooze(delay, reason):
                return Snooze(clamp(delay), reason and _clean(reason, _MAX_MESSAGE))
            case Cancel(reason):
                return Cancel(reason and _clean(reason, _MAX_MESSAGE))
            case Retry(delay, reason):
                reason = _clean(reason or "the handler asked for a retry", _MAX_MESSAGE)
                failure = Failure("Retry", reason)
                return _retry(handler, job, None, failure, delay)
        return DONE

    def close(self) -> None:
        """End what was started for async handlers."""
        self._loop.close()

    def judge(self, job: ClaimedJob, error: BaseException) -> Outcome:
        """What a failure means for the job: another attempt, or a dead letter."""
        handler = self._handlers[job.kind]
        failure = describe(error)
        if isinstance(error, JobTimeout):
            failure = Failure("JobTimeout", f"ran longer than {job.timeout} s", failure.traceback)
        try:
            worth_it = isinstance(error, (JobTimeout, *handler.retry_on))
            hopeless = isinstance(error, handler.give_up_on)
        except Exception as fault:  # of a class that decides for itself what is an instance
            return Dead(f"retry_on or give_up_on failed: {describe(fault)}", failure)
        if hopeless or not worth_it:
            return Dead(f"{failure.type} is not retried", failure)
        return _retry(handler, job, error, failure, None)


def _retry(
    handler: Handler,
    job: ClaimedJob,
    error: BaseException | None,
    failure: Failure,
    delay: float | None,
) -> Outcome:
    if job.attempt >= job.max_attempts:
        return Dead(f"failed {job.attempt} of {job.max_attempts} attempts", failure)
    if delay is None:
        try:
            delay = handler.backoff(job.attempt, error)
            if delay is None:
                return Dead("the backoff gave up", failure)
            delay = clamp(delay)
        except BaseException as fault:
            return Dead(f"the backoff of {job.kind} failed: {describe(fault)}", failure)
    return Retry(clamp(delay), str(failure), failure)


def describe(error: BaseException) -> Failure:
    """An exception as text that any store can hold, without the frames of this module."""
    try:
        message = str(error)
    except BaseException:
        message = "(its text cannot be read)"
    try:
        name = str(type(error).__qualname__)
    except BaseException:
        name = "(its name cannot be read)"
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        lines = traceback.format_exception(type(error), error, trace)
    except BaseException:
        lines = ["(its traceback cannot be read)"]
    return Failure(
        type=_clean(name, _MAX_MESSAGE),
        message=_clean(message, _MAX_MESSAGE),
        traceback=_clean("".join(lines), _MAX_TRACEBACK),
    )


def _clean(text: str, limit: int) -> str:
    """Valid Unicode without NUL, its middle left out beyond `limit` characters."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n[...]\n{text[-limit // 2 :]}"
    return text
