"""``fastsched doctor``: is everything as it should be, and what to do if not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import click

from fastsched.cli.options import json_option, store_option
from fastsched.cli.output import colours, say_json
from fastsched.cli.problems import OutOfReach, Problem
from fastsched.cli.text import clean
from fastsched.scheduler import Scheduler

Status = Literal["ok", "warn", "fail"]
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's report."""

    name: str
    status: Status
    text: str
    fix: str | None = None


@click.command()
@store_option
@json_option
def doctor(store_url: str | None, as_json: bool) -> None:
    """Check this installation and the store.

    Each line is ok, warn or fail, and says how to mend it. Writes to the store once, to see how
    long that takes, and takes it back.
    """
    from fastsched.cli.checkups import installation, store

    checks = installation()
    store_checks = list(store(Scheduler(store_url).store_url))
    checks += store_checks
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        say_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            _say(check)
    if any(check.status == "fail" for check in store_checks):
        raise click.exceptions.Exit(OutOfReach.exit_code)
    if failed:
        raise click.exceptions.Exit(Problem.exit_code)


def _say(check: Check) -> None:
    status = check.status.ljust(4)
    if colours():
        status = click.style(status, fg=_COLOURS[check.status])
    click.echo(f"{status}  {check.name.ljust(12)}  {clean(check.text)}")
    if check.fix is not None:
        click.echo(f"{' ' * 20}-> {clean(check.fix)}")
