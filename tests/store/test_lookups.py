"""Looking: single jobs, pages, states, counts."""

from __future__ import annotations

import pytest
from builders import in_threads, new_job

from fastsched import State
from fastsched.ids import new_id
from fastsched.outcomes import DONE, EXPIRE, Cancel, Dead, Retry
from fastsched.stores.base import Flush


def test_an_unknown_job_is_none(lab):
    assert lab.store.job(new_id()) is None
    assert lab.store.states_of([new_id()]) == {}
    assert lab.store.states_of([]) == {}


def test_the_states_of_many_jobs_at_once(lab, node):
    done, dead = lab.ended(DONE, node), lab.ended(Dead("d"), node)
    ready, scheduled = lab.add_one(), lab.add_one(delay=60)
    assert lab.store.states_of([done, dead, ready, scheduled, new_id()]) == {
        dead: State.DEAD,
        ready: State.READY,
        scheduled: State.SCHEDULED,
    }
    many = lab.add(*(new_job() for _ in range(2_000)))
    assert len(lab.store.states_of(many)) == 2_000


def test_pages_of_jobs_hold_each_job_once_in_the_order_of_their_ids(lab):
    ids = sorted(lab.add(*(new_job() for _ in range(23))))
    seen, after = [], None
    while page := lab.ids(after=after, limit=5):
        assert len(page) <= 5
        seen += page
        after = page[-1]
        lab.store.discard([])  # a page needs no state between two calls
    assert seen == ids


def test_pages_are_filtered_by_state_kind_and_queue(lab, node):
    dead = lab.ended(Dead("d"), node, kind="work", queue="q")
    lab.ended(Cancel(), node, kind="work", queue="q")
    a, b = lab.add_one("a", queue="q"), lab.add_one("b", queue="r")
    assert lab.ids(state=State.DEAD) == [dead]
    assert lab.ids(kind="a") == [a]
    assert lab.ids(queue="r") == [b]
    assert sorted(lab.ids(queue="q", state=State.READY)) == [a]
    assert lab.ids(state=State.DEAD, kind="a") == []
    assert lab.ids(state=State.DEAD, after=dead) == []


def test_counts_are_those_of_the_rows_and_totals_those_of_all_time(lab, node):
    for outcome in (DONE, DONE, Dead("d"), Cancel(), EXPIRE, Retry(60)):
        lab.ended(outcome, node)
    lab.claimed(node)
    lab.add(new_job(), new_job(), new_job(delay=60))
    counts = lab.store.counts()
    assert {state: n for state, n in counts.states.items() if n} == {
        State.READY: 2,
        State.SCHEDULED: 2,
        State.CLAIMED: 1,
        State.DEAD: 1,
        State.CANCELLED: 1,
        State.EXPIRED: 1,
    }
    expected = {"accepted": 10, "done": 2, "dead": 1, "cancelled": 1, "expired": 1, "retry": 1}
    assert {name: counts.totals[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "busy", "busy_with_scheduled"),
    [(None, False, False), ({}, True, True), ({"delay": 60}, False, True)],
)
def test_a_store_is_busy_while_something_is_ready_or_due(lab, fields, busy, busy_with_scheduled):
    if fields is not None:
        lab.add_one(**fields)
    assert lab.store.busy(False) is busy
    assert lab.store.busy(True) is busy_with_scheduled


def test_a_store_is_busy_while_something_is_claimed(lab, node):
    job = lab.claimed(node)
    assert lab.store.busy(False)
    assert lab.end(job, node, Dead("d"))
    assert not lab.store.busy(True)


def test_a_scheduled_job_makes_a_store_busy_once_it_is_due(lab):
    lab.add_one(delay=60)
    lab.pass_time(61)
    assert lab.store.busy(False)


def test_the_name_of_a_store_tells_where_it_is(lab):
    assert "://" in lab.store.name


def test_any_number_of_threads_may_look(lab, node):
    ids = lab.add(*(new_job() for _ in range(50)))

    def look(number):
        if number == 0:
            for _ in range(50):
                lab.store.flush(Flush(jobs=[new_job()]))
            return True
        for job_id in ids:
            assert lab.store.job(job_id).id == job_id
            assert lab.store.busy(False)
        return len(lab.ids(limit=10)) == 10

    assert all(in_threads(6, look))


def test_what_is_written_is_seen_by_other_processes(lab, node):
    other = lab.connect()
    job_id = lab.add_one()
    assert other.job(job_id).state is State.READY
    lab.claim(node)
    assert other.job(job_id).state is State.CLAIMED
    assert [info.id for info in other.nodes()] == [node]
