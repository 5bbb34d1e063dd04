"""The clock of a node may be wrong by hours: the store's is the one that counts."""

from __future__ import annotations

import time
from types import SimpleNamespace

import psycopg
import pytest
from clocks import PATIENCE

from fastsched import State, clock


@pytest.fixture(params=[3600.0, -3600.0], ids=["an hour fast", "an hour slow"])
def _wrong_clock(request, monkeypatch) -> None:
    """The wall clock of this process, as the scheduler sees it."""
    wrong = SimpleNamespace(**{name: getattr(time, name) for name in dir(time)})
    wrong.time = lambda: time.time() + request.param
    wrong.time_ns = lambda: time.time_ns() + int(request.param * 1e9)
    monkeypatch.setattr(clock, "time", wrong)


@pytest.mark.usefixtures("_wrong_clock")
def test_jobs_start_when_they_are_due_by_the_clock_of_the_store(cluster, pg_url):
    scheduler = cluster(pg_url)
    starts: list[float] = []
    with psycopg.connect(pg_url, autocommit=True) as db:

        def store_time() -> float:
            return db.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()[0]

        note = scheduler.job(kind="note")(lambda: starts.append(store_time()))
        with scheduler:
            enqueued = store_time()
            now = note.options(deadline=60).enqueue()
            later = note.options(delay=0.6, deadline=60).enqueue()
            due = later.job().due_at
            assert 0.6 <= due - enqueued < 1.6
            assert [job.wait(PATIENCE) for job in (now, later)] == [State.DONE] * 2
    assert 0.0 <= starts[0] - enqueued < 0.6
    assert 0.0 <= starts[1] - due < 0.6
