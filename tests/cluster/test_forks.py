"""Processes on one PostgreSQL fork: the child has no part in the life of its parent's node."""

from __future__ import annotations

import psutil
import psycopg
import pytest
from builders import until

from fastsched.stores import postgres_nodes

WAITS_FOR_A_ROW = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.mark.parametrize("when", ["idle", "in a call"])
def test_a_child_that_outlives_its_killed_parent_does_not_hold_its_jobs(
    make_lab, pg_url: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
    lab = make_lab(pg_url)
    lab.jobs.gate.shut()
    parent = lab.worker()
    (job_id,) = lab.jobs.enqueue(lab.jobs.linger.job(1))
    parent.hear("lingers")
    with psycopg.connect(pg_url) as db, psycopg.connect(pg_url, autocommit=True) as look:
        if when == "in a call":
            db.execute("SELECT FROM fastsched.nodes FOR UPDATE")  # it cannot renew its lease
            until(lambda: look.execute(WAITS_FOR_A_ROW).fetchone() is not None, "the renewal")
        parent.tell("fork")
        (child,) = parent.hear("child")
        parent.kill()
    lab.scheduler.start()
    lab.scheduler.wait(job_id, timeout=10)  # its lease is longer
    history = lab.verdict()
    assert len(history.runs[job_id]) == 2
    assert psutil.pid_exists(int(child)), "the child has ended: this has tested nothing"
    lab.scheduler.stop()
