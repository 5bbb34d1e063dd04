"""``fastsched db``: the tables of the store."""

from __future__ import annotations

import sqlite3

import click

from fastsched.cli.options import json_option, refuse_missing, store_option
from fastsched.cli.output import say, say_facts, say_json
from fastsched.cli.problems import Problem
from fastsched.scheduler import Scheduler


@click.group()
def db() -> None:
    """The store's tables: make them, upgrade them, look at them."""


@db.command()
@store_option
@json_option
def upgrade(store_url: str | None, as_json: bool) -> None:
    """Make the tables, or bring them up to date. Safe while workers run."""
    from fastsched.cli.tables import tables_of

    scheduler = Scheduler(store_url)
    before = tables_of(scheduler.store_url)
    scheduler.store_stats()  # any look opens the store, and opening it upgrades it
    scheduler.stop(0.0)
    name, after = before.store, tables_of(scheduler.store_url).version
    if as_json:
        say_json({"store": name, "from_version": before.version, "to_version": after})
    elif before.version == after:
        say(f"{name} is up to date: tables of version {after}")
    elif before.version == 0:
        say(f"made tables of version {after} in {name}")
    else:
        say(f"upgraded the tables of {name} from version {before.version} to {after}")


@db.command()
@click.option("--check", is_flag=True, help="Read all of a SQLite file and check its integrity.")
@store_option
@json_option
def status(check: bool, store_url: str | None, as_json: bool) -> None:
    """Where the store is, how big, and the version of its tables. Changes nothing."""
    from fastsched.cli.tables import tables_of

    tables = tables_of(Scheduler(store_url).store_url, check=check)
    refuse_missing(tables)
    file = tables.sqlite
    if as_json:
        record: dict[str, object] = {
            "store": tables.store,
            "tables_version": tables.version,
            "newest_version": tables.newest,
        }
        if file is not None:
            record["sqlite"] = {
                "version": sqlite3.sqlite_version,
                "path": str(file.path),
                "bytes": file.size,
                "wal_bytes": file.wal_size,
                "journal_mode": file.journal_mode,
                "integrity": file.integrity,
            }
        say_json(record)
    else:
        say(tables.store, bold=True)
        facts: list[tuple[str, object]] = [("tables", tables.standing)]
        if file is not None:
            facts += [
                ("size", f"{file.size:,} bytes, and {file.wal_size:,} in its log"),
                ("SQLite", f"{sqlite3.sqlite_version}, journal {file.journal_mode}"),
                ("integrity", file.integrity),
            ]
        say_facts(facts)
    if file is not None and file.integrity not in (None, "ok"):
        raise click.exceptions.Exit(Problem.exit_code)
