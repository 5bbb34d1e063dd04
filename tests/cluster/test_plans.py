"""The plan of a claim, where the statistics of the database say nothing true."""

from __future__ import annotations

import psycopg
from builders import new_job

from fastsched.ids import new_id
from fastsched.stores.base import HORIZON, ClaimRequest, Flush, NodeInfo
from fastsched.stores.postgres import PostgresStore

LIMIT = 5


def test_a_claim_keeps_to_its_limit_when_statistics_know_nothing_of_ready_jobs(pg_url):
    """The planner then takes ready jobs for the smaller side of any join.

    A subquery with the limit in it becomes the inner side, run anew for each ready job, and each
    time it locks the next rows: 2,000 instead of 5.
    """
    store = PostgresStore(pg_url, keep_done=False)
    store.open()
    node = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    store.register(node, 2)
    store.flush(Flush(jobs=[new_job(delay=3600.0) for _ in range(5_000)]))
    with psycopg.connect(pg_url, autocommit=True) as db:
        db.execute("VACUUM ANALYZE fastsched.jobs")
        store.flush(Flush(jobs=[new_job() for _ in range(2_000)]))
        claim = ClaimRequest(
            node=node.id, kinds=["work"], queues=None, limit=LIMIT, min_priority=0, horizon=HORIZON
        )
        assert len(store.flush(Flush(claim=claim)).claimed) == LIMIT
        states = dict(db.execute("SELECT state, count(*) FROM fastsched.jobs GROUP BY state"))
    assert states == {"scheduled": 5_000, "ready": 2_000 - LIMIT, "claimed": LIMIT}
    store.close()
