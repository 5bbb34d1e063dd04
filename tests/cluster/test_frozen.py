"""A node frozen in the middle of a flush holds locks on its row and its jobs."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from builders import new_job, until

from fastsched.ids import new_id
from fastsched.stores.base import HORIZON, ClaimRequest, Flush, NodeInfo
from fastsched.stores.postgres import PostgresStore
from fastsched.stores.postgres_link import ConnectionLost, begin, send_all

JOBS = 40
LARGE_ANSWER = (
    b"UPDATE fastsched.jobs SET priority = 0 WHERE node IS NOT NULL RETURNING repeat('x', 1000000)"
)
WAITS = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND xact_start IS NOT NULL AND wait_event_type = 'Client'"
)
LEASE_OVER = "UPDATE fastsched.nodes SET lease_until = now() - interval '1 s' WHERE id = %s"


@pytest.fixture
def stores(pg_url):
    """Two stores, as in two processes."""
    stores = [PostgresStore(pg_url, keep_done=False) for _ in range(2)]
    for store in stores:
        store.open()
    yield stores
    for store in stores:
        store.close()


def register(store):
    node = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    store.register(node, 2)
    return node.id


def claim(node):
    return ClaimRequest(
        node=node, kinds=["work"], queues=None, limit=JOBS // 2, min_priority=0, horizon=HORIZON
    )


@pytest.mark.parametrize("where", ["between statements", "in a pipeline", "in an answer"])
def test_a_node_frozen_in_a_flush_is_rescued_once_its_lease_is_over(pg_url, stores, where):
    frozen, other = stores
    node = register(frozen)
    register(other)
    other.flush(Flush(jobs=[new_job("work", "x" * 100_000) for _ in range(JOBS)]))
    frozen.flush(Flush(claim=claim(node)))

    def rescue():
        """Once the server has nothing to do but to wait for the node."""
        with psycopg.connect(pg_url, autocommit=True) as look:
            until(lambda: look.execute(WAITS).fetchone() is not None, "the flush")
            look.execute(LEASE_OVER, [node])
        rescued = other.rescue(3)
        assert (list(rescued.nodes), rescued.released) == ([node], JOBS // 2)

    with pytest.raises(ConnectionLost):
        flush(frozen, node, where, meanwhile=rescue)
    assert not frozen.tend(node).stands


def flush(frozen, node, where, meanwhile):
    """A part of a flush, up to where the node is frozen; it wakes and commits."""
    with frozen._writes.use() as db:
        begin(db)
        if where == "in an answer":  # too large for the socket: the server waits to be read
            db.pgconn.send_query(LARGE_ANSWER)
            meanwhile()
            db.execute("COMMIT")
        with db.pipeline() if where == "in a pipeline" else contextlib.nullcontext():
            frozen._flusher._claim(db, claim(node))
            send_all(db)
            meanwhile()
            db.execute("COMMIT")
