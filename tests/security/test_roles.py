"""The roles of docs/operating.md, made with the very SQL that it prints: they can do their work,
and nothing else."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from clocks import PATIENCE
from psycopg import errors

from fastsched import JobContext, Scheduler, SchemaError, State, StoreError
from fastsched.cli import commands
from fastsched.retry import fixed
from fastsched.servers import PrivatePostgres
from fastsched.stores import postgres_nodes, postgres_schema

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
ROLES = ("fastsched_worker", "fastsched_producer", "fastsched_viewer")
DATABASE = "security_roles"


def documented() -> list[str]:
    """The blocks of SQL in the chapter on least privilege: the roles, then their grants."""
    chapter = OPERATING.read_text().partition("## Least privilege")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sql\n(.*?)^```", chapter, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    return blocks


class Guarded:
    """A database of an owner's, with the roles that operators are told to make."""

    def __init__(self, server: PrivatePostgres) -> None:
        self._server = server
        server.query("CREATE ROLE shop_owner LOGIN")
        server.query(f"CREATE DATABASE {DATABASE} OWNER shop_owner")
        roles, grants = documented()
        server.query(roles)
        result = self.command("shop_owner", "db", "upgrade")
        assert result.exit_code == 0, result.output
        with psycopg.connect(self.url("shop_owner")) as db:
            db.execute(grants.encode())

    def url(self, role: str) -> str:
        return self._server.url_for(DATABASE).replace("postgres@", f"{role}@", 1)

    def command(self, role: str, *args: str) -> Result:
        return CliRunner().invoke(commands, [*args, "--store", self.url(role)])

    def refused(self, role: str, *statements: str) -> None:
        """The server lets the role run none of them."""
        with psycopg.connect(self.url(role), autocommit=True) as db:
            for statement in statements:
                try:
                    with db.transaction():
                        db.execute(statement.encode())
                except errors.InsufficientPrivilege:
                    continue
                raise AssertionError(f"{role} may: {statement}")

    def empty(self) -> None:
        with psycopg.connect(self.url("shop_owner")) as db:
            db.execute(
                "TRUNCATE fastsched.jobs, fastsched.nodes, fastsched.given_ids, fastsched.flushes"
            )

    def close(self) -> None:
        self._server.drop_database(DATABASE)
        for role in ("shop_owner", *ROLES):
            self._server.query(f"DROP ROLE {role}")


@pytest.fixture(scope="module")
def guarded_once(pg_server: PrivatePostgres) -> Iterator[Guarded]:
    guarded = Guarded(pg_server)
    yield guarded
    guarded.close()


@pytest.fixture
def guarded(guarded_once: Guarded) -> Guarded:
    """The database with the roles, and nothing in it."""
    guarded_once.empty()
    return guarded_once


@pytest.fixture
def as_role(
    guarded: Guarded, make_scheduler: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Scheduler]:
    """Makes schedulers that connect as a role."""
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
    return lambda role: make_scheduler(guarded.url(role), workers=2)


NOT_TO_BE_CHANGED = (
    "CREATE TABLE fastsched.mine ()",
    "CREATE FUNCTION fastsched.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE fastsched.jobs ADD COLUMN mine int",
    "ALTER TABLE fastsched.jobs DISABLE TRIGGER ALL",
    "CREATE INDEX ON fastsched.jobs (kind)",
    "CREATE RULE mine AS ON INSERT TO fastsched.jobs DO NOTHING",
    "DROP TABLE fastsched.jobs",
    "DROP SCHEMA fastsched CASCADE",
    "TRUNCATE fastsched.jobs",
    "TRUNCATE fastsched.flushes",
    "INSERT INTO fastsched.schema VALUES (99)",
    "UPDATE fastsched.schema SET version = 99",
    "DELETE FROM fastsched.schema",
    "ALTER TABLE fastsched.jobs OWNER TO fastsched_worker",
    "ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT SELECT ON TABLES TO PUBLIC",
    "SELECT setval('fastsched.nodes_no_seq', 1)",
    "SELECT setval('fastsched.jobs_seq_seq', 1)",
    "CREATE SCHEMA other",
    "SET ROLE shop_owner",
    "CREATE ROLE more",
)
NOT_TO_BE_WRITTEN = (
    "UPDATE fastsched.jobs SET priority = 1",
    "UPDATE fastsched.jobs SET state = 'claimed', node = 1",
    "DELETE FROM fastsched.jobs",
    "SELECT id FROM fastsched.jobs FOR UPDATE",
    "SELECT id FROM fastsched.jobs FOR KEY SHARE",
    "LOCK TABLE fastsched.jobs IN EXCLUSIVE MODE",
    "INSERT INTO fastsched.nodes (id, host, pid, workers, lease_until, locked)"
    " VALUES (gen_random_uuid(), 'x', 1, 1, 'infinity', false)",
    "UPDATE fastsched.nodes SET lease_until = 'infinity'",
    "DELETE FROM fastsched.nodes",
    "UPDATE fastsched.flushes SET counts = '{}'",
    "DELETE FROM fastsched.flushes",
    "DELETE FROM fastsched.given_ids",
    "SELECT nextval('fastsched.nodes_no_seq')",
)
NOT_TO_BE_READ = (
    "SELECT * FROM fastsched.jobs",
    "SELECT payload FROM fastsched.jobs",
    "SELECT failure FROM fastsched.jobs",
    "SELECT reason FROM fastsched.jobs",
    "SELECT count(payload) FROM fastsched.jobs",
    "SELECT id FROM fastsched.jobs WHERE payload LIKE '%secret%'",
    "SELECT id FROM fastsched.jobs ORDER BY length(failure::text)",
    "SELECT jobs FROM fastsched.jobs",
    "SELECT row_to_json(j) FROM fastsched.jobs AS j",
    "TABLE fastsched.jobs",
    "COPY fastsched.jobs TO STDOUT",
    "COPY fastsched.jobs (payload) TO STDOUT",
    "INSERT INTO fastsched.jobs (id, kind, queue, priority, max_attempts, payload)"
    " VALUES (gen_random_uuid(), 'k', 'q', 0, 1, '') RETURNING payload",
    "INSERT INTO fastsched.jobs (id, kind, queue, priority, max_attempts, payload)"
    " SELECT id, kind, queue, priority, 1, payload FROM fastsched.jobs",
)


def test_a_producer_enqueues_and_waits_for_what_a_worker_runs(
    as_role: Callable[[str], Scheduler], guarded: Guarded
) -> None:
    producer, worker = as_role("fastsched_producer"), as_role("fastsched_worker")
    runs: list[int] = []

    def work(ctx: JobContext, number: int) -> None:
        runs.append(number)
        if number == 1 and ctx.attempt == 1:
            raise ValueError("once")
        if number == 2:
            raise ValueError("secret")

    job = producer.job(kind="job", max_attempts=2, backoff=fixed(0))(work)
    worker.job(kind="job", max_attempts=2, backoff=fixed(0))(work)
    handles = producer.enqueue_many(job.job(number) for number in range(50))
    once = job.options(id=handles[0].id.replace("0", "1"))
    assert once.enqueue(50) == once.enqueue(50)
    later = job.options(delay=0.2, deadline=60).enqueue(51)
    with psycopg.connect(guarded.url("fastsched_producer")) as own:
        mine = producer.enqueue(job.job(52), connection=own)
    with worker:
        ends = [handle.wait(PATIENCE) for handle in (*handles, once.enqueue(50), later, mine)]
        assert ends == [State.DONE] * 2 + [State.DEAD] + [State.DONE] * 50
        assert producer.store_stats().nodes[0].alive
        producer.wait_until_idle(PATIENCE)
    for refused in (handles[2].job, handles[2].cancel, producer.jobs, producer.start,
                    lambda: producer.requeue(handles[2].id),
                    lambda: producer.discard(handles[2].id)):  # fmt: skip
        with pytest.raises(StoreError, match="permission denied"):
            refused()
    assert not producer.started
    assert worker.find(handles[2].id).failure.message == "secret"
    assert worker.discard(handles[2].id) == [handles[2].id]


def test_a_producer_can_neither_read_arguments_nor_claim(guarded: Guarded) -> None:
    guarded.refused("fastsched_producer", *NOT_TO_BE_READ, *NOT_TO_BE_WRITTEN, *NOT_TO_BE_CHANGED)
    for command in (["jobs", "list"], ["dead", "list"]):
        result = guarded.command("fastsched_producer", *command)
        assert (result.exit_code, "permission denied" in result.stderr) == (4, True)


def test_a_viewer_sees_numbers_and_states(
    as_role: Callable[[str], Scheduler], guarded: Guarded
) -> None:
    worker, viewer = as_role("fastsched_worker"), as_role("fastsched_viewer")
    job = worker.job(kind="job")(lambda: None)
    handle = job.options(delay=3600).enqueue()
    assert viewer.state(handle.id) is State.SCHEDULED
    assert viewer.store_stats().scheduled == 1
    for command in (["stats"], ["stats", "--json"], ["db", "status"]):
        assert guarded.command("fastsched_viewer", *command).exit_code == 0
    with psycopg.connect(guarded.url("fastsched_viewer")) as db:
        assert db.execute("SELECT kind, state FROM fastsched.jobs").fetchall() == [
            ("job", "scheduled")
        ]
    theirs = viewer.job(kind="job")(lambda: None)
    for refused in (theirs.enqueue, lambda: viewer.cancel(handle.id), viewer.start, viewer.jobs,
                    lambda: viewer.enqueue_many(theirs.job() for _ in range(20)),
                    lambda: viewer.run_now(handle.id)):  # fmt: skip
        with pytest.raises(StoreError, match="permission denied"):
            refused()
    assert handle.cancel() == "cancelled"


def test_a_viewer_can_write_nothing(guarded: Guarded) -> None:
    guarded.refused(
        "fastsched_viewer",
        "INSERT INTO fastsched.jobs (id, kind, queue, priority, max_attempts, payload)"
        " VALUES (gen_random_uuid(), 'k', 'q', 0, 1, '')",
        "INSERT INTO fastsched.flushes VALUES (gen_random_uuid(), 1, now(), '{}')",
        "INSERT INTO fastsched.given_ids VALUES (gen_random_uuid())",
        *NOT_TO_BE_READ,
        *NOT_TO_BE_WRITTEN,
        *NOT_TO_BE_CHANGED,
    )


def test_a_worker_rescues_requeues_cancels_expires_and_prunes(
    as_role: Callable[[str], Scheduler], guarded: Guarded
) -> None:
    worker = as_role("fastsched_worker")
    started: list[str] = []

    def work(ctx: JobContext) -> None:
        started.append(ctx.id)
        with ctx.transaction() as own:
            own.execute("SELECT 1")

    job = worker.job(kind="effects")(work)
    bad = worker.job(kind="bad", max_attempts=1)(lambda: 1 / 0)
    with psycopg.connect(guarded.url("fastsched_worker"), autocommit=True) as db:
        db.execute(
            "INSERT INTO fastsched.nodes (no, id, host, pid, workers, lease_until, locked)"
            " VALUES (7777, gen_random_uuid(), 'gone', 1, 1, '-infinity', false)"
        )
        handle = job.enqueue()
        db.execute("UPDATE fastsched.jobs SET state = 'claimed', node = 7777, attempt = 1")
    late = job.options(deadline=0).enqueue()
    dead = bad.enqueue()
    later = job.options(delay=3600).enqueue()
    with worker:
        assert handle.wait(PATIENCE) is State.DONE
        assert (late.wait(PATIENCE), dead.wait(PATIENCE)) == (State.EXPIRED, State.DEAD)
        assert worker.requeue(dead.id) == [dead.id]
        assert dead.wait(PATIENCE) is State.DEAD
        assert later.cancel() == "cancelled"
    store = worker._open().store
    store.expire(10)
    assert store.prune(done_for=0, ended_for=0, ids_for=0, limit=100) >= 3
    assert guarded.command("fastsched_worker", "jobs", "list").exit_code == 0
    assert guarded.command("fastsched_worker", "doctor").exit_code == 0


def test_a_worker_can_change_no_table(guarded: Guarded) -> None:
    guarded.refused("fastsched_worker", *NOT_TO_BE_CHANGED)


def test_nobody_passes_on_what_they_may_or_learns_it_from_statistics(guarded: Guarded) -> None:
    with psycopg.connect(guarded.url("shop_owner"), autocommit=True) as db:
        db.execute(
            "INSERT INTO fastsched.jobs (id, kind, queue, priority, max_attempts, payload)"
            " SELECT gen_random_uuid(), 'none', 'q', 0, 1, 'secret' FROM generate_series(1, 1000)"
        )
        db.execute("ANALYZE fastsched.jobs")
        for role in ROLES:
            with psycopg.connect(guarded.url(role)) as theirs:
                with contextlib.suppress(errors.InsufficientPrivilege), theirs.transaction():
                    theirs.execute("GRANT SELECT ON fastsched.jobs TO PUBLIC")  # to some a warning
                seen = theirs.execute("SELECT attname FROM pg_stats WHERE tablename = 'jobs'")
                names = {name for (name,) in seen}
            assert "kind" in names
            assert ("payload" in names) == (role == "fastsched_worker")
        acl = db.execute("SELECT relacl::text FROM pg_class WHERE relname = 'jobs'").fetchone()
        assert acl is not None
        assert "{=" not in acl[0]
        assert ",=" not in acl[0]


@pytest.mark.parametrize("role", ROLES)
def test_tables_that_must_be_upgraded_are_left_to_their_owner(
    guarded: Guarded, as_role: Callable[[str], Scheduler], role: str, monkeypatch
) -> None:
    real = postgres_schema.migrations
    newer = [*real("postgres_migrations"), (99, "CREATE TABLE fastsched.newer ()")]
    monkeypatch.setattr(postgres_schema, "migrations", lambda folder: newer)
    scheduler = as_role(role)
    for _ in range(5):
        with pytest.raises(SchemaError, match="as their owner run: fastsched db upgrade"):
            scheduler.store_stats()
    with pytest.raises(SchemaError):
        scheduler.start()
    with psycopg.connect(guarded.url("shop_owner")) as db:
        assert db.execute("SELECT max(version) FROM fastsched.schema").fetchone() < (99,)
        assert connections(db, role) == 0


def connections(db: psycopg.Connection, role: str) -> int:
    """Sessions of a role, once those that are ending have ended."""
    ask = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND state IS NOT NULL"
    end = time.monotonic() + PATIENCE
    while True:
        db.rollback()
        (open_now,) = db.execute(ask, [role]).fetchone() or (0,)
        if not open_now or time.monotonic() > end:
            return int(open_now)
