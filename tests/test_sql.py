"""SQL lives in .sql files, under the names and with the parameters that the stores use."""

from __future__ import annotations

import ast
import re
import sqlite3
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import pytest

import fastsched
from fastsched import Claim, Job, NewJob, SchemaError, State, StoreError
from fastsched.clock import SystemClock
from fastsched.job import ClaimedJob
from fastsched.sql import load, migrations
from fastsched.stores import sqlite_file
from fastsched.stores.rows import listing
from fastsched.stores.sqlite import SqliteStore
from fastsched.stores.sqlite_rows import new_row

STORES = Path(fastsched.__file__).parent / "stores"
SQLITE = load("sqlite.sql", "?")
DIALECTS = {"sqlite": SQLITE, "postgres": load("postgres.sql", "%s")}
_OF_THE_SESSION = re.compile(
    r"PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET |SELECT pg_catalog.pg_backend_pid|"
    r"SELECT set_config"
)
_OF_THE_SCHEMA = re.compile(r"fastsched[_.]schema\b|CREATE SCHEMA|pg_advisory_xact_lock")
_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|COPY|CREATE|DROP|ALTER)\b")


def modules(dialect):
    return sorted(STORES.glob(f"{dialect}*.py"))


def trees(dialect):
    return [ast.parse(path.read_text()) for path in modules(dialect)]


def texts(dialect):
    """Every string in the modules of a store but the docstrings."""
    for tree in trees(dialect):
        documented = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in documented:
                yield node.value


# Names and parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_has_a_name_of_its_own(dialect):
    text = (files("fastsched.sql") / f"{dialect}.sql").read_text("utf-8")
    names = re.findall(r"^-- name: (.*)$", text, flags=re.MULTILINE)
    assert sorted(names) == sorted(DIALECTS[dialect])
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_statement_is_used(dialect):
    named = set(texts(dialect)) | {listing(state) for state in [None, *State]}
    assert DIALECTS[dialect].keys() <= named


def names_in(expression):
    """The names of statements that an expression may come to."""
    if ast.unparse(expression) == "listing(state)":
        return {listing(state) for state in [None, *State]}
    assert isinstance(expression, ast.Constant), f"line {expression.lineno}: what name?"
    return {expression.value}


def runs():
    """Every call of `run` in the SQLite store: name, what it passes, whether that is all."""
    for tree in trees("sqlite"):
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "run"):
                continue
            names = names_in(node.args[1])
            given, all_known = set(), True
            for keyword in node.keywords:
                if keyword.arg is not None:
                    given.add(keyword.arg)
                elif ast.unparse(keyword.value) == "claim._asdict()":
                    given |= set(Claim._fields)
                else:
                    all_known = False
            for name in names:
                yield pytest.param(name, given, all_known, id=f"{name}-{node.lineno}")


@pytest.mark.parametrize(("name", "given", "all_known"), list(runs()))
def test_a_statement_is_given_the_parameters_that_it_names(name, given, all_known):
    wanted = set(SQLITE[name].parameters)
    assert given == wanted if all_known else given <= wanted


def test_parameters_are_found_and_nothing_else():
    statement = SQLITE["claim"]
    assert statement.text.count("?") == len(statement.parameters)
    assert ":" not in statement.text
    assert {"node", "kinds", "queues", "limit", "min_priority", "now"} == set(statement.parameters)
    with pytest.raises(KeyError, match="limit"):
        statement.values(node=1, kinds=1, queues=1, min_priority=1, now=1)


def test_the_row_of_a_new_job_is_in_the_order_of_the_statement():
    job = NewJob(
        id="the id",
        kind="the kind",
        payload=b"the payload",
        queue="the queue",
        priority=7,
        delay=50.0,
        deadline=5.0,
        timeout=2.5,
        max_attempts=9,
    )
    row = dict(zip(SQLITE["insert"].parameters, new_row(job, 1000.0), strict=True))
    assert row == {
        "id": "the id",
        "kind": "the kind",
        "queue": "the queue",
        "state": "scheduled",
        "priority": 7,
        "due_at": 1050.0,
        "deadline": 1055.0,
        "timeout": 2.5,
        "max_attempts": 9,
        "payload": b"the payload",
        "created_at": 1000.0,
    }


def test_a_claim_is_in_the_order_of_the_statement_that_completes_it():
    assert SQLITE["complete"].parameters == Claim._fields


def columns(text, before, after):
    found = re.search(rf"{before}(.*?){after}", text, flags=re.DOTALL)
    return [column.strip() for column in found[1].split(",")]


@pytest.mark.parametrize("name", ["claim", "claim_ahead"])
def test_a_claim_returns_the_fields_of_a_claimed_job(name):
    assert columns(SQLITE[name].text, "RETURNING", "$") == list(ClaimedJob._fields)


@pytest.mark.parametrize("name", ["job", "jobs", "ended_jobs"])
def test_a_look_up_returns_the_fields_of_a_job(name):
    assert columns(SQLITE[name].text, "SELECT", "FROM") == [field.name for field in fields(Job)]


# Where SQL may stand -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_statement_on_jobs_or_nodes_stands_in_python(dialect):
    written = [
        text
        for text in texts(dialect)
        if _STATEMENT.match(text)
        and not _OF_THE_SESSION.match(text)
        and not _OF_THE_SCHEMA.search(text)
    ]
    assert written == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_statement_is_put_together_from_strings(dialect):
    for path, tree in zip(modules(dialect), trees(dialect), strict=True):
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in ("execute", "executemany", "executescript") and node.args:
                put_together = isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
                assert not put_together, f"{path.name}, line {node.lineno}"


# Migrations --------------------------------------------------------------------------------------

ALL = migrations("sqlite_migrations")


def tables(path):
    """All that makes up the database but its rows."""
    with sqlite3.connect(path) as db:
        rows = db.execute(
            "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
        ).fetchall()
    db.close()
    return rows


def install(path):
    """Open a store on the file; the version of its tables."""
    store = SqliteStore(path, SystemClock(), keep_done=False)
    try:
        store.open()
        return store.schema_version()
    finally:
        store.close()


@pytest.mark.parametrize("folder", ["sqlite_migrations", "postgres_migrations"])
def test_migrations_are_numbered_from_one_without_a_gap(folder):
    numbers = [number for number, _ in migrations(folder)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("version", range(1, len(ALL) + 1))
def test_a_migrated_store_is_as_a_fresh_one(tmp_path, monkeypatch, version):
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "migrations", lambda folder: ALL[:version])
        assert install(tmp_path / "old.db") == version
    assert install(tmp_path / "old.db") == len(ALL)
    assert install(tmp_path / "old.db") == len(ALL)
    assert install(tmp_path / "fresh.db") == len(ALL)
    assert tables(tmp_path / "old.db") == tables(tmp_path / "fresh.db")


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "jobs.db"
    install(path)
    before = tables(path)
    broken = "CREATE TABLE half (a INTEGER) STRICT;\nCREATE TABLE half (a INTEGER) STRICT;\n"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "migrations", lambda folder: [*ALL, (len(ALL) + 1, broken)])
        with pytest.raises(StoreError, match="half"):
            install(path)
    assert tables(path) == before
    assert install(path) == len(ALL)


def test_tables_of_a_later_version_are_refused(tmp_path):
    path = tmp_path / "jobs.db"
    install(path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO fastsched_schema (version) VALUES (?)", (len(ALL) + 1,))
    db.close()
    with pytest.raises(SchemaError, match="upgrade fastsched"):
        install(path)


# Plans -------------------------------------------------------------------------------------------

SMALL = {"fastsched_nodes", "fastsched_totals", "json_each", "CONSTANT"}
"""What has a few rows and may be read whole."""
RARE = {"jobs", "states", "count", "totals", "nodes", "register", "forget_node"}
"""Statements for people to look with, or on small tables."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """The steps of a statement's plan, as SQLite tells them."""
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    install(path)
    db = sqlite3.connect(path)
    yield lambda name: [
        row[3]
        for row in db.execute(
            f"EXPLAIN QUERY PLAN {SQLITE[name].text}", [None] * len(SQLITE[name].parameters)
        )
    ]
    db.close()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("claim", "fastsched_ready"),
        ("promote", "fastsched_scheduled"),
        ("claim_ahead", "fastsched_scheduled"),
        ("next_due", "fastsched_scheduled"),
        ("expire", "fastsched_deadlines"),
        ("prune", "fastsched_ended"),
        ("prune_given_ids", "fastsched_given_at"),
        ("release_all", "fastsched_claimed"),
        ("owned", "fastsched_claimed"),
        ("cancel_requests", "fastsched_claimed"),
        ("ended_jobs", "fastsched_ended_ids"),
    ],
)
def test_a_statement_finds_its_rows_by_the_index_made_for_it(plan, name, index):
    assert any(re.search(rf"USING (COVERING )?INDEX {index}\b", step) for step in plan(name))


def test_a_claim_reads_ready_jobs_in_the_order_of_its_index(plan):
    assert not any("TEMP B-TREE" in step for step in plan("claim"))


@pytest.mark.parametrize("name", sorted(SQLITE.keys() - RARE))
def test_no_statement_of_everyday_work_reads_a_whole_table(plan, name):
    for step in plan(name):
        scan = re.match(r"SCAN (\w+)(.*)", step)
        if scan is not None and scan[1] not in SMALL:
            # a partial index holds only the rows of the state that the statement is about
            assert re.search(r"USING (COVERING )?INDEX fastsched_", scan[2]), step
