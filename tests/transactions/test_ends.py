"""`ctx.transaction()` when the run is stopped, stale or late: effects and end, once or not."""

from __future__ import annotations

import threading

import psycopg
import pytest
import sqlalchemy
from clocks import PATIENCE
from sqlalchemy.orm import Session

from fastsched import JobContext, Scheduler, State


@pytest.fixture
def scheduler(pg_url, make_scheduler) -> Scheduler:
    return make_scheduler(pg_url, workers=2, interrupt_grace=0.05)


@pytest.fixture
def db(pg_url):
    """The user's side: a table of effects."""
    with psycopg.connect(pg_url, autocommit=True) as db:
        db.execute("CREATE TABLE effects (attempt int)")
        yield db


def effects(db) -> list[int]:
    return [row[0] for row in db.execute("SELECT attempt FROM effects ORDER BY attempt")]


def test_a_run_whose_job_was_taken_meanwhile_commits_nothing(scheduler, db):
    told = []

    @scheduler.job(kind="effect")
    def effect(ctx: JobContext) -> None:
        claim_no = ctx.claim.claim_no
        try:
            with ctx.transaction() as mine:
                mine.execute("INSERT INTO effects VALUES (%s)", (claim_no,))
                if claim_no == 1:  # as a rescue does
                    db.execute("UPDATE fastsched.jobs SET state = 'ready', node = NULL")
        except BaseException as error:
            told.append(type(error).__name__)
            raise

    with scheduler:
        handle = effect.enqueue()
        assert handle.wait(PATIENCE) is State.DONE
        scheduler.wait_until_idle(PATIENCE)
        assert scheduler.stats().stale == 1
    assert told == ["JobStopped"]
    assert effects(db) == [2]
    stats = scheduler.store_stats()
    assert (stats.accepted, stats.done) == (1, 1)


def test_a_run_that_is_written_off_in_its_transaction_is_done_or_not_done(scheduler, db):
    release = threading.Event()

    @scheduler.job(kind="effect", timeout=0.05, max_attempts=1)
    def effect(ctx: JobContext) -> None:
        with ctx.transaction() as mine:
            mine.execute("INSERT INTO effects VALUES (1)")
            release.wait(PATIENCE)

    with scheduler:
        handle = effect.enqueue()
        assert handle.wait(PATIENCE) is State.DEAD  # it was not thrown at, but written off
        release.set()
    assert effects(db) == []


def test_a_late_run_that_reaches_its_commit_is_done(scheduler, db):
    @scheduler.job(kind="effect", timeout=0.1, max_attempts=1)
    def effect(ctx: JobContext) -> None:
        with ctx.transaction() as mine:
            mine.execute("INSERT INTO effects VALUES (1)")
            while not ctx.cancelled:  # its time is over; the exception comes later, but not here
                pass

    with scheduler:
        assert effect.enqueue().wait(PATIENCE) is State.DONE
    assert effects(db) == [1]


def test_what_a_handler_did_to_its_connection_does_not_reach_the_next_one(scheduler, db):
    rows = []

    @scheduler.job(kind="look", priority=1)
    def look(ctx: JobContext) -> None:
        with ctx.transaction() as mine:
            rows.append(mine.execute("SELECT 1 AS one").fetchone())
            mine.row_factory = psycopg.rows.dict_row

    with scheduler:
        for _ in range(3):
            assert look.enqueue().wait(PATIENCE) is State.DONE
    assert rows == [(1,)] * 3


def test_handlers_that_all_use_transactions_at_once_wait_for_a_connection(make_scheduler, pg_url):
    scheduler = make_scheduler(pg_url, workers=30)

    @scheduler.job(kind="effect")
    def effect(ctx: JobContext) -> None:
        with ctx.transaction() as mine:
            mine.execute("SELECT pg_sleep(0.01)")

    with scheduler:
        scheduler.enqueue_many(effect.job() for _ in range(100))
        scheduler.wait_until_idle(PATIENCE)
        stats = scheduler.stats()
    assert (stats.completed, stats.retried) == (100, 0)


@pytest.fixture
def engine(pg_url):
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(pg_url),
        poolclass=sqlalchemy.pool.NullPool,
    )


def test_a_session_tells_of_its_commit_not_of_its_savepoints(scheduler, engine, monkeypatch):
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.store_stats()
    woken = []
    monkeypatch.setattr(scheduler._engine, "wake", lambda: woken.append("wake"))
    with Session(engine) as session:
        for _ in range(3):
            with session.begin():
                with session.begin_nested():
                    scheduler.enqueue(job.job(), connection=session)
                assert woken == []
            assert woken == ["wake"]
            woken.clear()
        scheduler.enqueue(job.job(), connection=session)
        session.rollback()
        session.execute(sqlalchemy.text("SELECT 1"))
        session.commit()
        assert woken == []  # what was rolled back is forgotten
    assert scheduler.store_stats().accepted == 3
