"""``fastsched worker``: run the jobs of a scheduler until told to stop."""

from __future__ import annotations

import click

from fastsched.cli.options import as_seconds, store_option
from fastsched.cli.problems import Problem


@click.command()
@click.argument("target", metavar="MODULE:SCHEDULER")
@click.option("--workers", type=click.IntRange(1, 10_000), help="Threads that run jobs.")
@click.option("--queue", "queues", multiple=True, help="Run only from this queue; repeatable.")
@click.option(
    "--grace",
    type=as_seconds(0),
    metavar="SECONDS",
    help="How long running jobs may go on after Ctrl-C or SIGTERM.",
)
@click.option("--until-idle", is_flag=True, help="Stop when nothing is ready or running.")
@click.option("--strict", is_flag=True, help="Exit with 1 if a run failed.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="At info, every job that ends is a line.",
)
@click.option("--json-logs", is_flag=True, help="Log one JSON object a line.")
@store_option
def worker(
    target: str,
    workers: int | None,
    queues: tuple[str, ...],
    grace: float | None,
    until_idle: bool,
    strict: bool,
    log_level: str,
    json_logs: bool,
    store_url: str | None,
) -> None:
    """Run jobs until told to stop.

    Their handlers are those of SCHEDULER in MODULE, for example hello:scheduler; the current folder
    is searched too. Exits with 0 once it has drained.

    Ctrl-C or SIGTERM: take no more jobs and let running ones finish; a second time: stop them now,
    they run again later. SIGUSR1: show what runs, and the stack of every thread.
    """
    from fastsched.cli.logs import set_up_logging
    from fastsched.cli.serving import serve
    from fastsched.cli.target import find_scheduler

    scheduler = find_scheduler(target)
    scheduler.configure(store_url=store_url, workers=workers, queues=queues or None)
    set_up_logging(log_level, as_json=json_logs)
    failed = serve(scheduler, target, grace=grace, until_idle=until_idle, banner=not json_logs)
    if strict and failed:
        click.echo(f"fastsched: {failed:,} runs failed", err=True)
        raise click.exceptions.Exit(Problem.exit_code)
