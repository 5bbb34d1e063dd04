"""Jobs inside the user's transactions, and effects inside the job's."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy
from clocks import PATIENCE
from sqlalchemy.orm import Session

from fastsched import ConfigurationError, JobContext, Scheduler, State


@pytest.fixture
def on_postgres(pg_url, make_scheduler) -> Scheduler:
    scheduler = make_scheduler(pg_url, workers=2)
    scheduler.store_stats()  # makes the tables
    return scheduler


@pytest.fixture(params=["psycopg", "session", "connection"])
def connect(request, pg_url):
    """Opens the user's connection of each kind."""
    if request.param == "psycopg":
        return lambda: psycopg.connect(pg_url)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(pg_url),
        poolclass=sqlalchemy.pool.NullPool,
    )
    return (lambda: Session(engine)) if request.param == "session" else engine.connect


def test_a_job_exists_once_the_users_transaction_commits(on_postgres, connect):
    job = on_postgres.job(kind="job")(lambda: None)
    with connect() as connection:
        with on_postgres.transaction(connection):
            handle = job.enqueue()
            assert on_postgres.store_stats().accepted == 0
        assert handle.state() is State.READY
    assert on_postgres.store_stats().accepted == 1


def test_a_rolled_back_transaction_leaves_no_job(on_postgres, connect):
    job = on_postgres.job(kind="job")(lambda: None)

    def fail(connection: object) -> None:
        with on_postgres.transaction(connection):
            job.enqueue()
            raise ZeroDivisionError

    with connect() as connection, pytest.raises(ZeroDivisionError):
        fail(connection)
    assert on_postgres.store_stats().accepted == 0
    assert on_postgres.jobs() == []


def test_workers_are_woken_by_the_commit(on_postgres, connect):
    job = on_postgres.job(kind="job")(lambda: None)
    with on_postgres, connect() as connection:
        on_postgres.wait_until_idle(PATIENCE)
        with on_postgres.transaction(connection):
            handle = job.enqueue()
        assert handle.wait(PATIENCE) is State.DONE
        on_postgres.wait_until_idle(PATIENCE)
        assert on_postgres.stats().completed == 1


def test_a_connection_that_commits_each_statement_is_refused(on_postgres, pg_url):
    job = on_postgres.job(kind="job")(lambda: None)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        with pytest.raises(ConfigurationError, match=r"with connection\.transaction"):
            on_postgres.enqueue(job.job(), connection=connection)
        with connection.transaction():
            on_postgres.enqueue(job.job(), connection=connection)
    assert on_postgres.store_stats().ready == 1


def test_what_is_no_connection_is_refused(on_postgres):
    job = on_postgres.job(kind="job")(lambda: None)
    with pytest.raises(ConfigurationError, match=r"connection is a str; wanted a psycopg"):
        on_postgres.enqueue(job.job(), connection="postgresql://")


@pytest.fixture(params=["sqlite", "postgres"])
def table(request, tmp_path, make_scheduler):
    """A started scheduler, and a table of effects in the database of its store."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    if request.param == "postgres":
        url = request.getfixturevalue("pg_url")
    scheduler = make_scheduler(url, workers=2)
    mark = "?" if request.param == "sqlite" else "%s"

    @scheduler.job(kind="make")
    def make(ctx: JobContext) -> None:
        with ctx.transaction() as db:
            db.execute("CREATE TABLE effects (number int)")

    @scheduler.job(kind="count")
    def count(ctx: JobContext) -> None:
        with ctx.transaction() as db:
            counted.append(db.execute("SELECT count(*) FROM effects").fetchone()[0])

    counted: list[int] = []

    def effects() -> int:
        assert count.enqueue().wait(PATIENCE) is State.DONE
        scheduler.wait_until_idle(PATIENCE)
        return counted[-1]

    with scheduler:
        assert make.enqueue().wait(PATIENCE) is State.DONE
        yield scheduler, f"INSERT INTO effects VALUES ({mark})", effects


def test_effects_and_completion_are_committed_together(table):
    scheduler, insert, effects = table

    @scheduler.job(kind="effect", max_attempts=1)
    def effect(ctx: JobContext, number: int) -> None:
        with ctx.transaction() as db:
            db.execute(insert, (number,))

    handles = [effect.enqueue(n) for n in range(20)]
    assert [h.wait(PATIENCE) for h in handles] == [State.DONE] * 20
    assert effects() == 20
    stats, store = scheduler.stats(), scheduler.store_stats()
    assert (stats.stale, store.dead) == (0, 0)
    assert store.accepted == store.done


def test_a_failed_block_leaves_no_effect_and_the_job_is_tried_again(table):
    scheduler, insert, effects = table

    @scheduler.job(kind="effect", max_attempts=2, backoff=lambda attempt, error: 0)
    def effect(ctx: JobContext) -> None:
        with ctx.transaction() as db:
            db.execute(insert, (ctx.attempt,))
            if ctx.attempt == 1:
                raise ValueError("half-way")

    assert effect.enqueue().wait(PATIENCE) is State.DONE
    assert effects() == 1


def test_a_run_can_be_completed_once_only(table):
    scheduler, insert, effects = table
    refused = []

    @scheduler.job(kind="effect")
    def effect(ctx: JobContext) -> None:
        with ctx.transaction() as db:
            db.execute(insert, (1,))
        try:
            with ctx.transaction():
                pass
        except RuntimeError as error:
            refused.append(str(error))

    assert effect.enqueue().wait(PATIENCE) is State.DONE
    assert effects() == 1
    assert "complete already" in refused[0]
