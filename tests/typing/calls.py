"""What a type checker must know of enqueueing. Checked, never run."""

from __future__ import annotations

from typing import assert_type

from fastsched import JobContext, JobHandle, NewJob, Scheduler, State

scheduler = Scheduler()


@scheduler.job
def bare(to: str, count: int = 1) -> bool:
    return bool(to) and count > 0


@scheduler.job(priority=5, timeout=30, max_attempts=4)
def with_options(to: str, *, subject: str) -> None: ...


@scheduler.job
def bare_with_context(ctx: JobContext, to: str) -> int:
    return ctx.attempt + len(to)


@scheduler.job(queue="mail")
def options_with_context(ctx: JobContext, to: str, count: int = 1) -> None: ...


# A plain call stays a plain call.
assert_type(bare("a"), bool)
assert_type(bare("a", count=2), bool)
bare(1)  # type: ignore[arg-type]
bare("a", "b")  # type: ignore[arg-type]

# An enqueue takes the arguments of the function.
assert_type(bare.enqueue("a", 2), JobHandle)
assert_type(with_options.enqueue("a", subject="s"), JobHandle)
bare.enqueue()  # type: ignore[call-arg]
bare.enqueue(1)  # type: ignore[arg-type]
bare.enqueue("a", number=2)  # type: ignore[call-arg]
with_options.enqueue("a", "s")  # type: ignore[call-arg]
with_options.enqueue("a")  # type: ignore[call-arg]

# The context is not one of them.
assert_type(bare_with_context.enqueue("a"), JobHandle)
assert_type(options_with_context.enqueue("a", count=2), JobHandle)
bare_with_context.enqueue()  # type: ignore[call-arg]
options_with_context.enqueue(1)  # type: ignore[arg-type]
bare_with_context("a")  # type: ignore[call-arg, arg-type]

# The same through options, and for jobs not yet stored.
assert_type(bare.options(delay=60, priority=9).enqueue("a"), JobHandle)
assert_type(options_with_context.options(delay=1).job("a"), NewJob)
assert_type(bare.job("a"), NewJob)
assert_type(scheduler.enqueue_many(bare.job(to) for to in ("a", "b")), list[JobHandle])
bare.options(delay=60).enqueue(1)  # type: ignore[arg-type]
bare.options(retries=3)  # type: ignore[call-arg]
options_with_context.options(delay=1).job()  # type: ignore[call-arg]
scheduler.enqueue(bare)  # type: ignore[arg-type]

# What comes back.
assert_type(bare.enqueue("a").wait(1.0), State)
