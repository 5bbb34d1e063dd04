"""Errors as the command line tells them, and its exit codes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import click

from fastsched.cli.text import clean
from fastsched.errors import FastschedError, SchemaError, StoreError

FAILED = 1
"""Something that was asked for could not be done, or a job failed under ``--strict``."""
CONFIGURATION = 3
STORE = 4
"""The store cannot be reached, or is not there."""


class Problem(click.ClickException):
    """Ends the command with a line on stderr and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(clean(message))
        self.exit_code = exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"fastsched: {self.message}", err=True)


@contextlib.contextmanager
def told_shortly() -> Iterator[None]:
    """Turn what fastsched raises into a `Problem`: no traceback for what is not a bug."""
    try:
        yield
    except FastschedError as error:
        out_of_reach = isinstance(error, StoreError) and not isinstance(error, SchemaError)
        raise Problem(str(error), STORE if out_of_reach else CONFIGURATION) from error
