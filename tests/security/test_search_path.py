"""Schemas of others come first in the search path, with everything that fastsched uses in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files

import psycopg
import pytest
from builders import until
from clocks import PATIENCE
from psycopg import sql

from fastsched import JobContext, Retry, Scheduler, Snooze, State
from fastsched.retry import fixed
from fastsched.stores import postgres_nodes

STATEMENTS = (files("fastsched.sql") / "postgres.sql").read_text("utf-8")
FUNCTIONS = """
SELECT p.proname, pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid)
FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proname = ANY (%s)
"""
OPERATORS = """
SELECT o.oprname, o.oprleft::regtype::text, o.oprright::regtype::text, o.oprresult::regtype::text
FROM pg_catalog.pg_operator AS o
WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname = ANY (%s)
  AND o.oprleft::regtype::text = ANY (%s) AND o.oprright::regtype::text = ANY (%s)
"""
TYPES = [
    "boolean", "smallint", "integer", "bigint", "double precision", "numeric", "text", "name",
    "uuid", "timestamp with time zone", "interval", "oid", "jsonb",
]  # fmt: skip
SIGNS = ["=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "||", "~"]
BODY = "BEGIN RAISE EXCEPTION 'hijacked by %s', {}; END"


def shadow_everything(url: str) -> int:
    """Make a schema `evil` that is first in the path of the database; how much there is in it."""
    names = {"pg_backend_pid", "pg_advisory_xact_lock", "current_setting", "set_config"}
    names |= set(re.findall(r"\b([a-z_]+) ?\(", STATEMENTS))
    made = 0
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE SCHEMA evil")
        for name, arguments, result in db.execute(FUNCTIONS, [sorted(names)]).fetchall():
            body = sql.Literal(f"BEGIN RAISE EXCEPTION 'hijacked by {name}'; END")
            made += create(db, sql.SQL(
                "CREATE FUNCTION evil.{}(" + arguments + ") RETURNS " + result
                + " LANGUAGE plpgsql AS {}").format(sql.Identifier(name), body))  # fmt: skip
        operators = db.execute(OPERATORS, [SIGNS, TYPES, TYPES]).fetchall()
        for number, (sign, left, right, result) in enumerate(operators):
            body = sql.Literal(f"BEGIN RAISE EXCEPTION 'hijacked by {sign}'; END")
            create(db, sql.SQL(
                f"CREATE FUNCTION evil.o{number}({left}, {right}) RETURNS {result}"
                " LANGUAGE plpgsql AS {}").format(body))  # fmt: skip
            made += create(db, sql.SQL(
                f"CREATE OPERATOR evil.{sign} (LEFTARG = {left}, RIGHTARG = {right},"
                f" FUNCTION = evil.o{number})"))  # fmt: skip
        for table in ("jobs", "nodes", "given_ids", "flushes", "schema", "node_signs", "pg_locks",
                      "pg_database", "pg_stat_activity"):  # fmt: skip
            db.execute(sql.SQL("CREATE TABLE evil.{} (nothing int)").format(sql.Identifier(table)))
        for name in ("text", "uuid", "int4", "float8", "bytea", "interval", "jsonb"):
            db.execute(sql.SQL("CREATE TYPE evil.{} AS ENUM ('evil')").format(sql.Identifier(name)))
        database = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("ALTER DATABASE {} SET search_path = evil, pg_catalog").format(database))
    return made


def create(db: psycopg.Connection, statement: sql.Composed | sql.SQL) -> int:
    """1 if it could be made: some of the system's functions have arguments that no other may."""
    try:
        db.execute(statement)
    except psycopg.errors.InvalidFunctionDefinition:
        return 0
    return 1


def test_names_and_operators_of_others_are_never_used(
    pg_url: str, make_scheduler: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
    assert shadow_everything(pg_url) > 200
    with psycopg.connect(pg_url) as db, pytest.raises(psycopg.Error, match="hijacked by"):
        db.execute("SELECT now() WHERE 1 = 1 AND statement_timestamp() IS NOT NULL")
    scheduler = make_scheduler(pg_url, workers=2)
    seen: list[str] = []

    def work(ctx: JobContext, do: str) -> Snooze | Retry | None:
        seen.append(do)
        if do == "fail" or (do == "retry" and ctx.attempt == 1):
            raise ValueError(do)
        if do == "snooze" and seen.count("snooze") == 1:
            return Snooze(0)
        if do == "effects":
            with ctx.transaction() as own:
                own.execute("CREATE TABLE public.effects ()")
        return None

    job = scheduler.job(kind="job", max_attempts=2, backoff=fixed(0))(work)
    plain = scheduler.enqueue_many(job.job("plain") for _ in range(50))
    given = job.options(id=plain[0].id.replace("0", "1")).enqueue("given")
    later = job.options(delay=3600, deadline=7200).enqueue("later")
    with psycopg.connect(pg_url) as own:
        path = "SHOW search_path"
        with scheduler.transaction(own):
            handle = job.enqueue("mine")
            twice = job.options(id=later.id.replace("0", "2")).enqueue("mine")
            assert own.execute(path).fetchone() == ("evil, pg_catalog",)
        assert own.execute(path).fetchone() == ("evil, pg_catalog",)
    ends = [job.enqueue(do) for do in ("retry", "snooze", "effects", "fail")]
    with scheduler:
        assert [end.wait(PATIENCE) for end in (*plain, given, handle, twice, *ends[:3])] == [
            State.DONE
        ] * 56
        assert ends[3].wait(PATIENCE) is State.DEAD
        other = make_scheduler(pg_url, workers=1)
        with other:
            until(lambda: len(scheduler.store_stats().nodes) == 2)
    assert scheduler.requeue(ends[3].id) == [ends[3].id]
    assert scheduler.run_now(later.id) == [later.id]
    assert scheduler.find(later.id).state is State.READY
    assert later.cancel() == "cancelled"
    assert len(scheduler.jobs()) == 2
    store = scheduler._open().store
    store.expire(100)
    store.rescue(3)
    store.prune(done_for=0, ended_for=0, ids_for=0, limit=100)
    stats = scheduler.store_stats()
    assert (stats.accepted, stats.done, stats.live) == (58, 56, 1)
