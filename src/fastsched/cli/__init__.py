"""The command line: `fastsched`, or ``python -m fastsched``.

Command modules import what is heavy inside their commands, so that ``--help`` is quick.
"""

from __future__ import annotations

from typing import Any

import click

import fastsched
from fastsched.cli.db import db
from fastsched.cli.dead import dead
from fastsched.cli.demo import demo
from fastsched.cli.doctor import doctor
from fastsched.cli.jobs import jobs
from fastsched.cli.problems import told_shortly
from fastsched.cli.stats import stats
from fastsched.cli.worker import worker


class Commands(click.Group):
    """The commands in the order in which they are met, and their errors in a line or two."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with told_shortly():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with told_shortly():
            return super().invoke(ctx)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The store is --store URL, else $FASTSCHED_URL, else sqlite:///fastsched.db. "
    "Exit codes: 0 done, 1 something failed, 2 usage, 3 configuration, 4 store out of reach.",
)
@click.version_option(fastsched.__version__, prog_name="fastsched")
def commands() -> None:
    """Durable jobs: enqueue now, run later, lose nothing."""


for command in (demo, worker, jobs, dead, stats, db, doctor):
    commands.add_command(command)


def main() -> None:
    """The entry point."""
    commands(prog_name="fastsched")
