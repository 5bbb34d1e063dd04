"""``fastsched jobs``: look at jobs, cancel them, have them tried again."""

from __future__ import annotations

import click

from fastsched.cli.options import (
    as_id,
    existing_store,
    json_option,
    show_args_option,
    store_option,
)
from fastsched.cli.output import say, say_json
from fastsched.cli.problems import Problem
from fastsched.cli.records import say_job, say_jobs
from fastsched.job import State
from fastsched.scheduler import Scheduler
from fastsched.stores.base import Cancelled


@click.group()
def jobs() -> None:
    """Look at jobs, cancel them, run them again."""


@jobs.command("list")
@click.option("--state", type=click.Choice([str(s) for s in State]), help="Only in this state.")
@click.option("--kind", help="Only of this kind.")
@click.option("--queue", help="Only from this queue.")
@click.option("--after", type=as_id, help="Only those after this id: the next page.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@show_args_option
@store_option
@json_option
def list_jobs(
    state: str | None,
    kind: str | None,
    queue: str | None,
    after: str | None,
    limit: int,
    show_args: bool,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Jobs in the store, oldest first. Finished jobs leave it."""
    with existing_store(store_url) as scheduler:
        found = scheduler.jobs(state, kind=kind, queue=queue, after=after, limit=limit)
    say_jobs(found, limit=limit, as_json=as_json, show_args=show_args)


@jobs.command()
@click.argument("job_id", metavar="ID", type=as_id)
@show_args_option
@store_option
@json_option
def show(job_id: str, show_args: bool, store_url: str | None, as_json: bool) -> None:
    """Everything about one job."""
    with existing_store(store_url) as scheduler:
        job = scheduler.find(job_id)
    if job is None:
        raise Problem(f"{job_id} is not in the store: it is done, or was never there")
    say_job(job, as_json=as_json, show_args=show_args)


@jobs.command()
@click.argument("job_ids", metavar="ID...", type=as_id, nargs=-1, required=True)
@store_option
@json_option
def cancel(job_ids: tuple[str, ...], store_url: str | None, as_json: bool) -> None:
    """Cancel jobs; those that run are asked to stop."""
    words = {
        Cancelled.CANCELLED: "cancelled",
        Cancelled.REQUESTED: "claimed by a node, which is asked to stop it",
    }
    with existing_store(store_url) as scheduler:
        results = []
        for job_id in job_ids:
            answer = scheduler.cancel(job_id)
            words_for = words.get(answer) or f"not cancelled: {_standing(scheduler, job_id)}"
            results.append((job_id, answer is not Cancelled.TOO_LATE, words_for))
    say_results(results, as_json=as_json)


@jobs.command()
@click.argument("job_ids", metavar="ID...", type=as_id, nargs=-1, required=True)
@store_option
@json_option
def retry(job_ids: tuple[str, ...], store_url: str | None, as_json: bool) -> None:
    """Run dead jobs again, and scheduled ones now."""
    results = []
    with existing_store(store_url) as scheduler:
        for job_id in job_ids:
            if scheduler.requeue(job_id):
                results.append((job_id, True, "requeued, with all its attempts"))
            elif scheduler.run_now(job_id):
                results.append((job_id, True, "due now"))
            else:
                results.append((job_id, False, f"not retried: {_standing(scheduler, job_id)}"))
    say_results(results, as_json=as_json)


def say_results(results: list[tuple[str, bool, str]], *, as_json: bool) -> None:
    """What was done for each id; exit code 1 if something could not be."""
    if as_json:
        say_json({"results": [{"id": i, "ok": ok, "result": text} for i, ok, text in results]})
    else:
        for job_id, _, text in results:
            say(f"{job_id}  {text}")
    if not all(ok for _, ok, _ in results):
        raise click.exceptions.Exit(Problem.exit_code)


def _standing(scheduler: Scheduler, job_id: str) -> str:
    """Why a job is not to be had, in words."""
    job = scheduler.find(job_id)
    if job is None:
        return "it is not in the store: done, or never there"
    match job.state:
        case State.CLAIMED:
            return "a node has claimed it and runs it, or will at once"
        case State.READY:
            return "it is ready and waits for a worker"
        case State.WAITING:
            return "it waits for other jobs"
        case State.DEAD:
            return "it is a dead letter: fastsched dead requeue, or discard"
    return f"it is {job.state}"
