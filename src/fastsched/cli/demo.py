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
@click.option("--workers", type=click.IntRange(1, 100), default=4, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many files.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def demo(folder: Path | None, workers: int, limit: int | None, as_json: bool) -> None:
    """Try the promises on a real folder.

    Two worker processes hash every file of it, and one is killed half-way. Files that cannot be
    measured become dead letters. At the end the folder is walked again, and every file must be
    accounted for exactly once.
    """
    from fastsched.demo.run import DemoError, run_demo

    try:
        report = run_demo(folder, workers=workers, limit=limit, quiet=as_json)
    except DemoError as error:
        raise Problem(str(error)) from error
    if as_json:
        say_json(report.record())
    else:
        report.say()
    if not report.balances:
        raise click.exceptions.Exit(Problem.exit_code)
