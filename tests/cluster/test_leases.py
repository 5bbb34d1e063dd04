"""How long a node's claims hold: by its own clock never longer than by the store's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import psycopg
import pytest
from builders import in_thread, until

from fastsched import clock
from fastsched.clock import boot_seconds
from fastsched.ids import new_id
from fastsched.stores.base import NodeInfo
from fastsched.stores.postgres import PostgresStore

LEASE = 1.0


@pytest.fixture
def store(pg_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(pg_url, keep_done=False, lease=LEASE)
    store.open()
    yield store
    store.close()


def test_a_node_that_tends_its_place_outlives_its_lease(store):
    info = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    began = boot_seconds()
    place = store.register(info, 2)
    until(lambda: store.tend(info.id).stands and boot_seconds() > began + 1.5 * LEASE)
    assert place.holds()
    assert [node.alive for node in store.nodes()] == [True]


def test_a_wall_clock_that_is_set_back_makes_no_lease_longer(store, monkeypatch):
    info = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    place = store.register(info, 2)
    assert place.holds()
    set_back = SimpleNamespace(**{name: getattr(time, name) for name in dir(time)})
    set_back.time = lambda: time.time() - 3600.0
    monkeypatch.setattr(clock, "time", set_back)
    until(lambda: not place.holds(), "the end of the lease")


def test_a_lease_counts_from_before_its_renewal_was_sent(store, pg_url):
    info = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    place = store.register(info, 2)
    with psycopg.connect(pg_url) as db:
        db.execute("SELECT FROM fastsched.nodes FOR UPDATE")  # the renewal has to wait
        began = boot_seconds()
        tending = in_thread(store.tend, info.id)
        until(lambda: boot_seconds() > began + 0.7 * LEASE)
    assert tending.get().stands
    assert place.holds()
    until(lambda: not place.holds())
    assert boot_seconds() < began + 1.3 * LEASE
