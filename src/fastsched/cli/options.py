"""Options that several commands have, and the store that they name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from fastsched.cli.problems import STORE, Problem
from fastsched.errors import ConfigurationError
from fastsched.ids import check_id
from fastsched.scheduler import Scheduler

store_option = click.option(
    "--store",
    "store_url",
    metavar="URL",
    help="Where the jobs are  [default: $FASTSCHED_URL, else sqlite:///fastsched.db]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
show_args_option = click.option(
    "--show-args", is_flag=True, help="Show the arguments of jobs, which may be secret."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class JobId(click.ParamType):
    """The id of a job."""

    name = "id"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            return check_id(value)
        except ConfigurationError:
            self.fail(f"{value!r} is not the id of a job; `fastsched jobs list` shows ids")


@contextlib.contextmanager
def existing_store(store_url: str | None) -> Iterator[Scheduler]:
    """A producer on a store that is there already: looking must not make one."""
    scheduler = Scheduler(store_url)
    file = sqlite_file(scheduler.store_name)
    if file is not None and not file.exists():
        raise Problem(
            f"there is no store at {scheduler.store_name}; name yours with --store URL or in "
            "$FASTSCHED_URL, or make this one: fastsched db upgrade",
            STORE,
        )
    try:
        yield scheduler
    finally:
        scheduler.stop(0.0)


def sqlite_file(store_name: str) -> Path | None:
    """The file of a SQLite store; None for a store that is not a file."""
    prefix = "sqlite:///"
    return Path(store_name.removeprefix(prefix)) if store_name.startswith(prefix) else None
