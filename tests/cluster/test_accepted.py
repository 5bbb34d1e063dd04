"""What `enqueue` has accepted is in the database, whatever becomes of the server after that."""

from __future__ import annotations

import psycopg
import pytest

from fastsched import State


@pytest.mark.parametrize("how", ["immediate", "kill"])
def test_what_was_accepted_just_before_the_server_died_is_there_after(
    cluster, breakable_pg, breakable_pg_url, how
):
    scheduler = cluster(breakable_pg_url)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.store_stats()  # makes the tables
    with psycopg.connect(breakable_pg_url, autocommit=True) as db:
        db.execute("CHECKPOINT")
    handles = []
    for _ in range(3):
        handles += [job.enqueue() for _ in range(10)]
        breakable_pg.restart(how)
        assert [handle.state() for handle in handles] == [State.READY] * len(handles)
