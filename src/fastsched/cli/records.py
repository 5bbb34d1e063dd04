"""A job as the command line shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from fastsched.cli.output import say, say_facts, say_json, say_table
from fastsched.cli.text import clean, clean_lines, iso, when
from fastsched.errors import PayloadError
from fastsched.job import Job


def job_record(job: Job, *, show_args: bool) -> dict[str, Any]:
    """A job for programs: these keys are stable."""
    record: dict[str, Any] = {
        "id": job.id,
        "kind": job.kind,
        "queue": job.queue,
        "state": str(job.state),
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "claim_no": job.claim_no,
        "node": job.node,
        "timeout": job.timeout,
        "created_at": iso(job.created_at),
        "due_at": iso(job.due_at),
        "deadline": iso(job.deadline),
        "claimed_at": iso(job.claimed_at),
        "ended_at": iso(job.ended_at),
        "cancel_requested": job.cancel_requested,
        "reason": job.reason,
        "failure": None,
    }
    if job.failure is not None:
        record["failure"] = {
            "type": job.failure.type,
            "message": job.failure.message,
            "traceback": job.failure.traceback,
        }
    if show_args:
        record["args"], record["kwargs"] = _arguments(job)
    return record


def say_jobs(found: Sequence[Job], *, limit: int, as_json: bool, show_args: bool) -> None:
    """A page of jobs, and how to get the next one."""
    last = found[-1].id if len(found) == limit else None
    if as_json:
        records = [job_record(job, show_args=show_args) for job in found]
        say_json({"jobs": records, "next_after": last})
        return
    if not found:
        click.echo("no jobs", err=True)
        return
    columns = ["id", "kind", "queue", "state", "priority", "attempt", "due (UTC)", "note"]
    rows: list[list[object]] = [
        [
            job.id,
            job.kind,
            job.queue,
            job.state,
            job.priority,
            f"{job.attempt}/{job.max_attempts}",
            when(job.due_at),
            _note(job),
        ]
        for job in found
    ]
    if show_args:
        columns.append("arguments")
        for row, job in zip(rows, found, strict=True):
            row.append(_call(job))
    say_table(columns, rows)
    if last is not None:
        click.echo(f"there may be more: --after {clean(last)}", err=True)


def say_job(job: Job, *, as_json: bool, show_args: bool) -> None:
    """All that is known of a job."""
    if as_json:
        say_json(job_record(job, show_args=show_args))
        return
    say(clean(job.id), bold=True)
    say_facts(
        [
            ("kind", job.kind),
            ("state", f"{job.state} (asked to cancel)" if job.cancel_requested else job.state),
            ("reason", job.reason),
            ("queue", job.queue),
            ("priority", job.priority),
            ("attempt", f"{job.attempt} of {job.max_attempts}"),
            ("crashes", job.crashes or None),
            ("node", job.node),
            ("timeout", None if job.timeout is None else f"{job.timeout:g} s"),
            ("created", f"{when(job.created_at)} UTC"),
            ("due", f"{when(job.due_at)} UTC"),
            ("deadline", None if job.deadline is None else f"{when(job.deadline)} UTC"),
            ("claimed", None if job.claimed_at is None else f"{when(job.claimed_at)} UTC"),
            ("ended", None if job.ended_at is None else f"{when(job.ended_at)} UTC"),
            ("arguments", _call(job) if show_args else "hidden; --show-args shows them"),
            ("failure", job.failure),
        ]
    )
    if job.failure is not None and job.failure.traceback:
        say()
        for line in clean_lines(job.failure.traceback.rstrip()):
            say(f"    {line}")


def _note(job: Job) -> str:
    if job.failure is not None:
        return str(job.failure)
    return job.reason or ""


def _call(job: Job) -> str:
    args, kwargs = _arguments(job)
    if args is None:
        return "(cannot be read)"
    parts = [repr(value) for value in args]
    parts += [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"({', '.join(parts)})"


def _arguments(job: Job) -> tuple[Any, Any]:
    from fastsched.codec import decode

    try:
        return decode(job.payload)
    except PayloadError:
        return None, None
