"""``fastsched db``: the tables of the store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import click

from fastsched.cli.options import existing_store, json_option, sqlite_file, store_option
from fastsched.cli.output import say, say_facts, say_json
from fastsched.cli.problems import Misconfigured, OutOfReach, Problem
from fastsched.scheduler import Scheduler


@click.group()
def db() -> None:
    """The store's tables: make, upgrade, look."""


@db.command()
@store_option
@json_option
def upgrade(store_url: str | None, as_json: bool) -> None:
    """Make the tables, or bring them up to date. Safe while workers run."""
    scheduler = Scheduler(store_url)
    file = _file_of(scheduler)
    before = look_at(file).version if file.exists() else 0
    scheduler.store_stats()  # any look opens the store, and opening it upgrades it
    scheduler.stop(0.0)
    after = look_at(file).version
    if as_json:
        say_json({"store": scheduler.store_name, "from_version": before, "to_version": after})
    elif before == after:
        say(f"{scheduler.store_name} is up to date: tables of version {after}")
    elif before == 0:
        say(f"made {scheduler.store_name}: tables of version {after}")
    else:
        say(f"upgraded {scheduler.store_name}: tables from version {before} to {after}")


@db.command()
@click.option("--check", is_flag=True, help="Read the whole file and check its integrity.")
@store_option
@json_option
def status(check: bool, store_url: str | None, as_json: bool) -> None:
    """Where the store is, how big, and the version of its tables. Changes nothing."""
    with existing_store(store_url) as scheduler:
        found = look_at(_file_of(scheduler), check=check)
        newest = newest_version()
        if as_json:
            say_json(
                {
                    "store": scheduler.store_name,
                    "path": str(found.path),
                    "bytes": found.size,
                    "wal_bytes": found.wal_size,
                    "tables_version": found.version,
                    "newest_version": newest,
                    "journal_mode": found.journal_mode,
                    "sqlite_version": sqlite3.sqlite_version,
                    "integrity": found.integrity,
                }
            )
        else:
            say(scheduler.store_name, bold=True)
            say_facts(
                [
                    ("tables", _standing(found.version, newest)),
                    ("size", f"{found.size:,} bytes, and {found.wal_size:,} in the log"),
                    ("journal", found.journal_mode),
                    ("SQLite", sqlite3.sqlite_version),
                    ("integrity", found.integrity),
                ]
            )
    if found.integrity not in (None, "ok"):
        raise click.exceptions.Exit(Problem.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of a SQLite file without changing it."""

    path: Path
    size: int
    wal_size: int
    version: int
    """Of the tables; 0 if there are none."""
    journal_mode: str
    integrity: str | None
    """`ok`, what is wrong, or None if it was not checked."""


def look_at(path: Path, *, check: bool = False) -> Found:
    """Read a SQLite file; a file that is not one is a `Problem`."""
    wal = path.with_name(f"{path.name}-wal")
    try:
        with _read_only(path) as connection:
            return Found(
                path=path,
                size=path.stat().st_size,
                wal_size=wal.stat().st_size if wal.exists() else 0,
                version=_version(connection),
                journal_mode=connection.execute("PRAGMA journal_mode").fetchone()[0],
                integrity=_integrity(connection) if check else None,
            )
    except (OSError, sqlite3.Error) as error:
        raise OutOfReach(f"{path} cannot be read: {error}") from error


def newest_version() -> int:
    """The version of the tables that this fastsched works with."""
    from fastsched.sql import migrations

    return migrations("sqlite_migrations")[-1][0]


@contextlib.contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write, so it cannot checkpoint either."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _version(connection: sqlite3.Connection) -> int:
    tables = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'fastsched_schema'")
    if tables.fetchone() is None:
        return 0
    version: int = connection.execute("SELECT max(version) FROM fastsched_schema").fetchone()[0]
    return version


def _integrity(connection: sqlite3.Connection) -> str:
    return "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check(10)"))


def _standing(version: int, newest: int) -> str:
    if version < newest:
        return f"version {version}, not the newest {newest}: fastsched db upgrade"
    if version > newest:
        return f"version {version}, newer than this fastsched knows ({newest}): upgrade fastsched"
    return f"version {version}, the newest"


def _file_of(scheduler: Scheduler) -> Path:
    file = sqlite_file(scheduler.store_name)
    if file is None:
        raise Misconfigured(f"{scheduler.store_name} is not a SQLite file")
    return file
