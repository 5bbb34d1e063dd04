"""Every error that fastsched raises, in one tree; the facts are attributes."""

from __future__ import annotations

_MOST_SHOWN = 200
"""Characters of a value in a message."""


def shown(value: object) -> str:
    """A value for a message: not too long, on one line, whatever its own `repr` does."""
    try:
        text = repr(value)
    except Exception:  # hostile, or an int too long for its own text
        return f"<{type(value).__name__}>"
    if len(text) > _MOST_SHOWN:
        text = f"{text[: _MOST_SHOWN // 2]}[...]{text[-_MOST_SHOWN // 2 :]}"
    return "".join(c if c.isprintable() else " " for c in text)


class FastschedError(Exception):
    """Base of all fastsched errors."""


class ConfigurationError(FastschedError, ValueError):
    """A setting or an option that cannot be used: says what was given and what to type."""


class PayloadError(FastschedError, TypeError):
    """Arguments that cannot be stored and come back unchanged.

    `path` names the offending value, for example ``kwargs.user.created``.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class StoreError(FastschedError):
    """The store refused or could not do what was asked; nothing of it was done."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written just now (no space, no file, no server)."""


class SchemaError(StoreError):
    """The tables in the store are not those this version works with."""


class SchedulerStopped(FastschedError, RuntimeError):
    """The scheduler was stopped while this call was waiting; nothing of it was done."""


class CommitUnknown(StoreError):
    """The store broke off in a commit, and could not be asked afterwards whether it took place."""


class EnqueueUnknown(StoreError):
    """The store broke off before it said whether the job was taken.

    Enqueue again with ``options(id=error.job_id)``: if the first try was taken, the second is a
    no-op.
    """

    def __init__(self, job_ids: tuple[str, ...]) -> None:
        first, others = job_ids[0], len(job_ids) - 1
        super().__init__(
            f"the store did not say whether job {first} was taken"
            + (f" ({others} more with it); " if others else "; ")
            + f"enqueue again with options(id={first!r}), which cannot make it run twice"
        )
        self.job_id = first
        self.job_ids = job_ids


class JobInterrupt(BaseException):
    """Ends a handler from outside; not an `Exception`, so ``except Exception`` lets it pass."""


class JobTimeout(JobInterrupt):
    """The run took longer than its `timeout`."""


class JobCancelled(JobInterrupt):
    """The job was cancelled while it ran."""


class JobStopped(JobInterrupt):
    """The node stops, or has lost its claims; the job will run again."""
