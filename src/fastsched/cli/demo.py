"""``fastsched demo``: the promises, tried on a real folder."""

from __future__ import annotations

from pathlib import Path

import click

from fastsched.cli.output import say_json
from fastsched.cli.problems import Problem


@click.command()
@click.option(
    "--path",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Whose files to measure  [default: Python's standard library]",
)
@click.option("--postgres", is_flag=True, help="On a private PostgreSQL, with three workers.")
@click.option("--redis", is_flag=True, help="And a private Redis for the hints between them.")
@click.option("--workers", type=click.IntRange(1, 100), default=4, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many files.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def demo(
    folder: Path | None,
    postgres: bool,
    redis: bool,
    workers: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Try the promises on a real folder.

    Two worker processes hash every file of it, and one is killed half-way. Files that cannot be
    measured become dead letters. At the end the folder is walked again, and every file must be
    accounted for exactly once.

    With --postgres there are three, and they hash the files again and again until one has been
    killed, one frozen for longer than its lease, and each server restarted. The servers are started
    for it and gone at the end: pip install 'fastsched[servers]'.
    """
    import logging

    from fastsched.demo.run import DemoError, run_demo

    # What this process's own scheduler warns of, when a server restarts, is the plot.
    logging.getLogger("fastsched").addHandler(logging.NullHandler())
    if redis and not postgres:
        raise click.UsageError(
            "--redis joins workers on a PostgreSQL; type: fastsched demo --postgres --redis"
        )
    try:
        report = run_demo(
            folder, workers=workers, limit=limit, quiet=as_json, postgres=postgres, redis=redis
        )
    except DemoError as error:
        raise Problem(str(error)) from error
    if as_json:
        say_json(report.record())
    else:
        report.say()
    if not report.balances:
        raise click.exceptions.Exit(Problem.exit_code)
