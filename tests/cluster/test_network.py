"""The network between a scheduler and PostgreSQL is cut at every byte, or swallows everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from time import monotonic
from typing import TypeVar

import pytest
from builders import until
from clocks import PATIENCE

from cluster.proxy import Proxy
from fastsched import Cancelled, EnqueueUnknown, Scheduler, State, StoreUnavailable
from fastsched.ids import new_id
from fastsched.stores.base import HORIZON, ClaimRequest, Flush, NodeInfo
from fastsched.stores.postgres import PostgresStore

T = TypeVar("T")
STEP = 29
"""Bytes between the places of two cuts: not a divisor of anything."""


@pytest.fixture
def proxy(pg_server) -> Iterator[Proxy]:
    proxy = Proxy(f"{pg_server.folder}/.s.PGSQL.5432")
    yield proxy
    proxy.close()


@pytest.fixture
def through(pg_server, pg_url: str, proxy: Proxy) -> str:
    """The URL of the test's database through the proxy."""
    name = pg_url.partition("@/")[2].partition("?")[0]
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?connect_timeout=2"


def places(proxy: Proxy, step: int = STEP) -> Iterator[int]:
    """Where to cut next, until the connection is not cut any more before all is said."""
    for place in count(0, step):
        cuts = proxy.cuts
        yield place
        if proxy.cuts == cuts:
            return


def patiently(call: Callable[[], T]) -> T:
    """What it answers, once it has noticed which of its connections were cut."""
    for _ in range(5):
        with contextlib.suppress(StoreUnavailable):
            return call()
    return call()


def add(ran: list[int]) -> Callable[..., None]:
    def add(number: int) -> None:
        ran.append(number)

    return add


@pytest.mark.parametrize("way", ["sent", "answered"])
def test_a_cut_anywhere_in_an_enqueue_leaves_one_job_or_none(
    cluster, pg_url, through, proxy, way
) -> None:
    here, witness = cluster(through), cluster(pg_url)
    job = here.job(kind="job")(add([]))
    job.enqueue(-1)
    accepted = 1
    for place in places(proxy):
        proxy.cut_after(way, place)
        try:
            handle = job.enqueue(place)
        except EnqueueUnknown as unknown:
            proxy.heal()
            job.options(id=unknown.job_id).enqueue(place)
            accepted += 1
        except StoreUnavailable:
            pass  # and nothing was stored
        else:
            assert witness.state(handle.id) is State.READY
            assert witness.find(handle.id) is not None
            accepted += 1
        proxy.heal()
        stats = witness.store_stats()
        assert (stats.accepted, stats.ready) == (accepted, accepted), f"cut {way} at {place}"
    assert proxy.cuts > 10
    assert accepted > 10


@pytest.mark.parametrize("way", ["sent", "answered"])
def test_a_cut_anywhere_in_claims_and_ends_loses_nothing(
    cluster, pg_url, redis_url, through, proxy, way
) -> None:
    ran: list[int] = []
    node, producer = cluster(through, redis_url), cluster(pg_url, redis_url)
    node.job(kind="job")(add(ran))
    job = producer.job(kind="job")(add([]))
    with node:
        for place in range(0, 3_000, 4 * STEP):
            assert job.enqueue(-1).wait(PATIENCE) is State.DONE  # its connections stand
            proxy.cut_after(way, place)
            handles = producer.enqueue_many(job.job(place) for _ in range(3))
            for handle in handles:
                assert handle.wait(PATIENCE) is State.DONE
            proxy.heal()
    stats = producer.store_stats()
    assert stats.accepted == stats.done == 4 * len(range(0, 3_000, 4 * STEP))
    assert stats.live == 0
    assert set(ran) == {-1, *range(0, 3_000, 4 * STEP)}
    assert proxy.cuts > 5


def test_a_claim_of_which_the_answer_was_lost_is_doubted_and_given_back(
    cluster, pg_url, through, proxy
) -> None:
    job = cluster(pg_url).job(kind="job")(add([]))
    store = PostgresStore(through, keep_done=False)
    store.open()
    node = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    claim = ClaimRequest(
        node=node.id, kinds=["job"], queues=None, limit=1, min_priority=0, horizon=HORIZON
    )
    lost = 0
    with contextlib.closing(store):
        store.register(node, 2)
        for place in places(proxy, 17):
            patiently(lambda: store.flush(Flush(claim=claim)))  # its connection stands
            patiently(lambda: store.reconcile(node.id, frozenset()))
            assert not patiently(lambda: store.tend(node.id)).doubt
            handle = job.enqueue(place)
            proxy.cut_after("answered", place)
            told = False
            with contextlib.suppress(StoreUnavailable):
                told = bool(store.flush(Flush(claim=claim)).claimed)
            proxy.heal()
            if not told:
                assert patiently(lambda: store.tend(node.id)).doubt
                lost += handle.state() is State.CLAIMED
            patiently(lambda: store.reconcile(node.id, frozenset()))
            assert handle.state() is State.READY
            assert handle.cancel() is Cancelled.CANCELLED
    assert lost > 0, "no answer to a commit was lost: this has tested nothing"


def test_an_enqueue_of_unknown_outcome_may_be_repeated_after_the_job_has_run(
    cluster, pg_url, redis_url, through, proxy
) -> None:
    ran: list[int] = []
    here, node = cluster(through, redis_url), cluster(pg_url, redis_url)
    job = here.job(kind="job")(add([]))
    node.job(kind="job")(add(ran))
    job.enqueue(-1)
    committed = 0
    with node:
        for place in places(proxy, 3 * STEP):
            proxy.cut_after("answered", place, then_refuse=True)
            try:
                job.enqueue(place)
            except EnqueueUnknown as unknown:
                node.wait_until_idle(PATIENCE)
                committed += ran.count(place)
                proxy.heal()
                again = job.options(id=unknown.job_id).enqueue(place)
                assert again.wait(PATIENCE) is State.DONE
                node.wait_until_idle(PATIENCE)
                assert ran.count(place) == 1, f"cut at {place}"
            except StoreUnavailable:
                assert ran.count(place) == 0
            proxy.heal()
        node.wait_until_idle(PATIENCE)
    assert committed > 0, "no reply to a commit was lost: this has tested nothing"
    assert len(ran) == len(set(ran)) == node.store_stats().accepted


def test_a_network_that_swallows_everything_holds_nobody_up_for_long(
    cluster, pg_url, through, proxy
) -> None:
    here: Scheduler = cluster(through, lease=1.0)
    witness = cluster(pg_url)
    job = here.job(kind="job")(add([]))
    job.enqueue(0)
    proxy.swallow()
    began = monotonic()
    with pytest.raises(EnqueueUnknown):
        job.enqueue(1)
    assert monotonic() - began < 1.0 + 2.0 + 2.0
    began = monotonic()
    with pytest.raises(StoreUnavailable):
        job.enqueue(2)
    assert monotonic() - began < 2.0 + 2.0
    proxy.heal()
    began = monotonic()
    handle = job.enqueue(3)
    assert monotonic() - began < 1.0
    assert witness.state(handle.id) is State.READY
    assert witness.store_stats().accepted == 2


def test_a_node_that_is_cut_off_starts_nothing_after_its_lease(through, proxy) -> None:
    store = PostgresStore(through, keep_done=False, lease=1.0)
    store.open()
    info = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)
    place = store.register(info, 2)
    proxy.swallow()
    began = monotonic()
    assert place.holds()
    until(lambda: not place.holds(), "the end of the lease")
    assert 0.5 < monotonic() - began < 1.5
    proxy.heal()
    store.close()


@pytest.mark.slow
def test_every_kind_of_call_ends_though_nothing_arrives(cluster, through, proxy) -> None:
    here: Scheduler = cluster(through)
    handle = here.job(kind="job")(add([])).enqueue(0)
    calls = [
        lambda: here.store_stats(),
        lambda: here.cancel(handle.id),
        lambda: here.find(handle.id),
        lambda: here.jobs(),
    ]
    proxy.swallow()
    began = monotonic()
    with ThreadPoolExecutor(len(calls)) as threads:  # all at once
        for answer in [threads.submit(call) for call in calls]:
            with pytest.raises(StoreUnavailable):
                answer.result()
    assert monotonic() - began < 40
    proxy.heal()
    assert handle.state() is State.READY
