"""Options that several commands have, and the store that they name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from fastsched.cli.problems import OutOfReach
from fastsched.errors import ConfigurationError, shown
from fastsched.ids import check_id
from fastsched.options import seconds
from fastsched.scheduler import Scheduler

if TYPE_CHECKING:
    from fastsched.cli.tables import Tables

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


def as_id(given: str) -> str:
    """The type of arguments that are ids of jobs."""
    try:
        return check_id(given)
    except ConfigurationError:
        raise click.BadParameter(
            f"{shown(given)} is not the id of a job; `fastsched jobs list` shows ids"
        ) from None


def as_seconds(least: float) -> Callable[[str], float]:
    """The type of options that are seconds: not-a-number is none, which click's own would take."""

    def convert(given: str) -> float:
        try:
            return seconds("it", float(given), least=least)
        except ValueError:
            raise click.BadParameter(
                f"{shown(given)} is not a number of seconds from {least:g} up"
            ) from None

    return convert


@contextlib.contextmanager
def existing_store(store_url: str | None) -> Iterator[Scheduler]:
    """A producer on a store that is there already: looking must not make one."""
    from fastsched.cli.tables import tables_of

    scheduler = Scheduler(store_url)
    refuse_missing(tables_of(scheduler.store_url))
    try:
        yield scheduler
    finally:
        scheduler.stop(0.0)


def refuse_missing(tables: Tables) -> None:
    """`OutOfReach` if there is no store, with what to type."""
    if not tables.version:
        raise OutOfReach(
            f"there is no store at {tables.store}; name yours with --store URL or in "
            "$FASTSCHED_URL, or make this one: fastsched db upgrade"
        )
