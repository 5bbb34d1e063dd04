"""Those who write many rows at once lock them in one order, and so do not deadlock."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from builders import in_thread, new_job, until

from fastsched import Cancelled, Claim
from fastsched.ids import new_id
from fastsched.outcomes import DONE, RELEASE, Dead, Retry, Snooze
from fastsched.stores.base import HORIZON, ClaimRequest, Flush, Flushed, NodeInfo
from fastsched.stores.postgres import PostgresStore

JOBS = 40
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
def stores(pg_url: str) -> Iterator[list[PostgresStore]]:
    """Two stores, as in two processes."""
    stores = [PostgresStore(pg_url, keep_done=False) for _ in range(2)]
    for store in stores:
        store.open()
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def claimed(stores: list[PostgresStore]) -> list[Claim]:
    """What a node of the first store has claimed, by id."""
    node = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    stores[0].register(node, 2)
    claim = ClaimRequest(
        node=node.id, kinds=["work"], queues=None, limit=JOBS, min_priority=0, horizon=HORIZON
    )
    jobs = stores[0].flush(Flush(jobs=[new_job() for _ in range(JOBS)], claim=claim)).claimed
    return sorted(Claim(job.id, node.id, job.claim_no) for job in jobs)


def flush_and_cancel(
    pg_url: str, stores: list[PostgresStore], flush: Flush, ids: list[str], third: str
) -> tuple[Flushed, dict[str, Cancelled], int]:
    """Both at once: the flush stops at a row that a third has locked, then comes the cancellation.

    What each came to, and how many deadlocks the server has seen.
    """
    with psycopg.connect(pg_url, autocommit=True) as look, psycopg.connect(pg_url) as db:
        db.execute("SELECT FROM fastsched.jobs WHERE id = %s FOR UPDATE", [third])
        flushing = in_thread(stores[0].flush, flush)
        until(lambda: look.execute(WAITING).fetchone() == (1,), "the flush")
        cancelling = in_thread(stores[1].cancel, ids)
        until(lambda: look.execute(WAITING).fetchone() == (2,), "the cancellation")
        db.rollback()
        answers = flushing.get(), cancelling.get()
        for store in stores:
            store.close()  # a session hands in its numbers when it ends
        (deadlocks,) = look.execute(DEADLOCKS).fetchone() or (None,)
    return *answers, deadlocks


@pytest.mark.parametrize("outcome", [DONE, RELEASE, Dead("d"), Retry(0.0), Snooze(0.0)], ids=repr)
def test_ends_and_cancellations_lock_in_one_order(pg_url, stores, claimed, outcome):
    flush = Flush(ends=[(claim, outcome) for claim in reversed(claimed)])
    ids = [claim.id for claim in claimed]
    flushed, answers, deadlocks = flush_and_cancel(pg_url, stores, flush, ids, ids[JOBS // 2])
    assert not flushed.stale
    assert answers.keys() == set(ids)
    assert deadlocks == 0


def test_a_cancellation_that_the_server_undid_for_a_deadlock_is_made_again(pg_url, stores, claimed):
    """Ends of several kinds are several statements: each has its order, all together have none."""
    outcomes = [DONE, RELEASE, RELEASE, DONE]
    flush = Flush(ends=list(zip(claimed, outcomes, strict=False)))
    second, third, last = [claim.id for claim in claimed[1:4]]
    flushed, answers, deadlocks = flush_and_cancel(pg_url, stores, flush, [third, last], second)
    assert deadlocks >= 1, "this has tested nothing"  # the repetition may meet another
    assert not flushed.stale
    assert answers[last] is Cancelled.TOO_LATE
    assert answers[third] in (Cancelled.REQUESTED, Cancelled.CANCELLED)
