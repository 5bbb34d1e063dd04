"""Errors as the command line tells them, and its exit codes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, Any

import click

from fastsched.cli.text import clean_lines
from fastsched.errors import FastschedError, SchemaError, StoreError


class Problem(click.ClickException):
    """Ends the command with a line on stderr: something that was asked for could not be done."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(clean_lines(message)))

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"fastsched: {self.message}", err=True)


class Misconfigured(Problem):
    """A setting, a module or a version that cannot be used."""

    exit_code = 3


class OutOfReach(Problem):
    """The store cannot be reached, or is not there."""

    exit_code = 4


@contextlib.contextmanager
def told_shortly() -> Iterator[None]:
    """Turn what fastsched raises into a `Problem`: no traceback for what is not a bug."""
    try:
        yield
    except StoreError as error:
        kind = Misconfigured if isinstance(error, SchemaError) else OutOfReach
        raise kind(str(error)) from error
    except FastschedError as error:
        raise Misconfigured(str(error)) from error
    except click.UsageError as error:
        text = "\n".join(clean_lines(error.format_message()))  # it repeats what was typed
        raise click.UsageError(text, error.ctx) from error
