"""Connections to PostgreSQL that hang, are lost by one side only, or are set up by others."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterator

import psycopg
import pytest
from builders import in_thread, new_job, until
from clocks import PATIENCE
from psycopg.rows import dict_row

from fastsched import Scheduler, State, StoreUnavailable
from fastsched.clock import SystemClock
from fastsched.ids import new_id
from fastsched.stores import postgres_nodes
from fastsched.stores.base import Flush, NodeInfo
from fastsched.stores.deadlines import Deadlines
from fastsched.stores.postgres import PostgresStore
from fastsched.user_connection import adapt


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    deadlines = Deadlines(SystemClock())
    yield deadlines
    deadlines.close()


@pytest.fixture
def connect(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], PostgresStore]]:
    """Opens stores on one database; a free lock counts at once."""
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
    stores: list[PostgresStore] = []

    def connect() -> PostgresStore:
        store = PostgresStore(pg_url, keep_done=False)
        store.open()
        stores.append(store)
        return store

    yield connect
    for store in stores:
        store.close()


def node_of(store: PostgresStore) -> str:
    """Register a node; its id."""
    info = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    store.register(info, 2)
    return info.id


def test_a_call_on_a_silent_socket_ends_at_its_deadline(deadlines: Deadlines) -> None:
    here, there = socket.socketpair()
    with here, there, deadlines.limit(here.fileno(), 0.05):
        assert in_thread(here.recv, 1).get() == b""


def test_a_deadline_spares_the_socket_that_got_the_number_of_a_closed_one(
    deadlines: Deadlines,
) -> None:
    late, _ = pair = socket.socketpair()
    others = socket.socketpair()
    number = late.fileno()
    with deadlines.limit(number, 0.05):
        os.dup2(others[0].fileno(), number)  # as if closed, and opened anew by another thread
        assert in_thread(pair[1].recv, 1).get() == b""  # the deadline has passed
        others[1].sendall(b"!")
        assert late.recv(1) == b"!"
    for end in (*pair, *others):
        end.close()


def test_a_lock_that_a_lost_session_still_has_does_not_count(connect) -> None:
    store, observer = connect(), connect()
    node, watching = node_of(store), node_of(observer)
    lost, store._keeps._db = store._keeps._db, None  # the server believes in it for hours
    assert store.tend(node).stands
    lost.close()  # until it notices
    until(lambda: locks(observer) == 1)
    assert not observer.tend(watching).dead_nodes
    assert observer.rescue(3).nodes == []
    assert store.tend(node).stands  # and takes the lock anew
    assert locks(observer) == 2
    store._keeps.disconnect()
    until(lambda: locks(observer) == 1)
    assert observer.tend(watching).dead_nodes  # so that its death shows again


def test_a_node_that_lost_its_connection_locks_again(connect) -> None:
    store, observer = connect(), connect()
    node, watching = node_of(store), node_of(observer)
    store._keeps.disconnect()
    until(lambda: locks(observer) == 1)
    assert store.tend(node).stands
    assert locks(observer) == 2
    assert not observer.tend(watching).dead_nodes


def test_no_error_of_a_connection_shows_its_password() -> None:
    store = PostgresStore("postgresql://user:hunter2@127.0.0.1:1/db", keep_done=False)
    with pytest.raises(StoreUnavailable) as refused:
        store.open()
    assert "127.0.0.1" in str(refused.value)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    store.close()


def locks(store: PostgresStore) -> int:
    """How many nodes' locks are held in the database."""
    with store._looks.use() as db:
        row = db.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
            " WHERE locktype = 'advisory' AND classid = %s AND d.datname = current_database()",
            (postgres_nodes.LOCK_CLASS,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_connection_that_makes_rows_of_its_own_kind_can_enqueue(connect, pg_url: str) -> None:
    store = connect()
    job, given = new_job(), new_job(given_id=True)
    with psycopg.connect(pg_url, row_factory=dict_row) as db:
        store.insert_through(adapt(db), [job, given])
    assert store.states_of([job.id, given.id]) == {job.id: State.READY, given.id: State.READY}


def test_more_open_files_than_select_knows_are_no_obstacle(
    pg_url: str, make_scheduler: Callable[..., Scheduler]
) -> None:
    first = os.open(os.devnull, os.O_RDONLY)
    others = [os.dup(first) for _ in range(1_100)]
    try:
        scheduler = make_scheduler(pg_url, workers=1)
        job = scheduler.job(kind="job")(lambda: None)
        with scheduler:
            assert job.enqueue().wait(PATIENCE) is State.DONE
            big = scheduler.enqueue_many(job.job() for _ in range(2_000))
            scheduler.wait_until_idle(PATIENCE)
        assert len(big) == 2_000
        assert scheduler.store_stats().done == 2_001
    finally:
        for descriptor in (first, *others):
            os.close(descriptor)


def test_a_session_that_has_forgotten_what_was_prepared_is_replaced(connect) -> None:
    """As after a failure in the middle of a pipeline, which psycopg does not always learn."""
    store = connect()
    for _ in range(4):  # from the third time on a statement is prepared
        store.flush(Flush(jobs=[new_job()]))
    with store._writes.use() as db:
        db.pgconn.exec_(b"DEALLOCATE ALL")
    for _ in range(4):
        assert store.flush(Flush(jobs=[new_job()])).accepted == 1
    assert store.counts().totals["accepted"] == 8


def test_a_look_in_such_a_session_is_repeated_in_another(connect) -> None:
    store = connect()
    (job,) = jobs = [new_job()]
    store.flush(Flush(jobs=jobs))
    for _ in range(4):
        store.states_of([job.id])
    with store._looks.use() as db:
        db.pgconn.exec_(b"DEALLOCATE ALL")
    assert store.states_of([job.id]) == {job.id: State.READY}
