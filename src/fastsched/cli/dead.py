"""``fastsched dead``: the dead letters."""

from __future__ import annotations

from collections.abc import Callable

import click

from fastsched.cli.jobs import say_results
from fastsched.cli.options import (
    as_id,
    existing_store,
    json_option,
    show_args_option,
    store_option,
    yes_option,
)
from fastsched.cli.output import say, say_json
from fastsched.cli.problems import Problem
from fastsched.cli.records import say_job, say_jobs
from fastsched.cli.text import clean
from fastsched.job import State
from fastsched.scheduler import Scheduler

_AT_ONCE = 500
"""Dead letters a transaction."""


@click.group()
def dead() -> None:
    """Dead letters: look at them, requeue them, discard them."""


@dead.command("list")
@click.option("--kind", help="Only of this kind.")
@click.option("--queue", help="Only from this queue.")
@click.option("--after", type=as_id, help="Only those after this id: the next page.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@show_args_option
@store_option
@json_option
def list_dead(
    kind: str | None,
    queue: str | None,
    after: str | None,
    limit: int,
    show_args: bool,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Jobs out of attempts, with why."""
    with existing_store(store_url) as scheduler:
        found = scheduler.jobs(State.DEAD, kind=kind, queue=queue, after=after, limit=limit)
    say_jobs(found, limit=limit, as_json=as_json, show_args=show_args)


@dead.command()
@click.argument("job_id", metavar="ID", type=as_id)
@show_args_option
@store_option
@json_option
def show(job_id: str, show_args: bool, store_url: str | None, as_json: bool) -> None:
    """One dead letter, with its traceback."""
    with existing_store(store_url) as scheduler:
        job = scheduler.find(job_id)
    if job is None or job.state is not State.DEAD:
        state = "not in the store" if job is None else str(job.state)
        raise Problem(f"{job_id} is no dead letter: it is {state}")
    say_job(job, as_json=as_json, show_args=show_args)


_ids = click.argument("job_ids", metavar="[ID...]", type=as_id, nargs=-1)
_all = click.option("--all", "everything", is_flag=True, help="All dead letters.")
_kind = click.option("--kind", help="With --all: only those of this kind.")


@dead.command()
@_ids
@_all
@_kind
@yes_option
@store_option
@json_option
def requeue(
    job_ids: tuple[str, ...],
    everything: bool,
    kind: str | None,
    yes: bool,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Make dead letters ready again, with all their attempts."""
    _check_usage(job_ids, everything, kind)
    with existing_store(store_url) as scheduler:
        ids = job_ids or _chosen(scheduler, kind, "Requeue", yes=yes)
        _change(scheduler.requeue, ids, "requeued", everything=everything, as_json=as_json)


@dead.command()
@_ids
@_all
@_kind
@yes_option
@store_option
@json_option
def discard(
    job_ids: tuple[str, ...],
    everything: bool,
    kind: str | None,
    yes: bool,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Delete dead letters for good."""
    _check_usage(job_ids, everything, kind)
    with existing_store(store_url) as scheduler:
        ids = job_ids or _chosen(scheduler, kind, "Discard", yes=yes)
        _change(scheduler.discard, ids, "discarded", everything=everything, as_json=as_json)


def _check_usage(job_ids: tuple[str, ...], everything: bool, kind: str | None) -> None:
    if everything == bool(job_ids):
        raise click.UsageError("give either ids or --all")
    if kind is not None and not everything:
        raise click.UsageError("--kind goes with --all")


def _chosen(scheduler: Scheduler, kind: str | None, verb: str, *, yes: bool) -> tuple[str, ...]:
    """The ids of all dead letters (of a kind), once the user has agreed."""
    ids: list[str] = []
    while page := scheduler.jobs(
        State.DEAD, kind=kind, after=ids[-1] if ids else None, limit=_AT_ONCE
    ):
        ids += [job.id for job in page]
    if ids and not yes:
        of_kind = "" if kind is None else f" of kind {clean(kind)}"
        click.confirm(f"{verb} {len(ids):,} dead letters{of_kind}?", abort=True, err=True)
    return tuple(ids)


def _change(
    change: Callable[..., list[str]],
    ids: tuple[str, ...],
    done: str,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    changed: set[str] = set()
    for start in range(0, len(ids), _AT_ONCE):
        changed.update(change(*ids[start : start + _AT_ONCE]))
    if not everything:
        words = {True: done, False: f"not {done}: no dead letter"}
        results = [(i, i in changed, words[i in changed]) for i in ids]
        say_results(results, as_json=as_json)
    elif as_json:
        say_json({done: len(changed)})
    else:
        say(f"{len(changed):,} {done}")
