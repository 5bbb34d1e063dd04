"""Jobs go in, and come out to nodes in the order in which they must run."""

from __future__ import annotations

import random

import pytest
from builders import in_threads, new_job

from fastsched import Claim, State, StoreError, StoreUnavailable
from fastsched.ids import new_id
from fastsched.job import MAX_PRIORITY, MIN_PRIORITY
from fastsched.outcomes import DONE, RELEASE
from fastsched.stores.base import ClaimRequest, Flush

# Inserting ---------------------------------------------------------------------------------------


def test_a_job_is_stored_as_it_was_given(lab):
    job = new_job(
        "kind", 1, queue="mail", priority=-7, delay=60.0, timeout=2.5, max_attempts=9, deadline=30.0
    )
    before = lab.store.clock.now()
    lab.add(job)
    stored = lab.job(job.id)
    assert stored.due_at == pytest.approx(before + 60, abs=5)
    assert stored.deadline == pytest.approx(stored.due_at + 30)
    assert stored.created_at == pytest.approx(before, abs=5)
    fields = ("id", "kind", "payload", "queue", "priority", "timeout", "max_attempts")
    assert all(getattr(stored, name) == getattr(job, name) for name in fields)
    assert (stored.state, stored.attempt, stored.claim_no, stored.crashes) == ("scheduled", 0, 0, 0)
    assert stored.node is stored.claimed_at is stored.ended_at is stored.failure is None


def test_a_job_is_ready_or_scheduled_by_its_due_time(lab):
    now = lab.store.clock.now()
    assert lab.job(lab.add_one()).state is State.READY
    assert lab.job(lab.add_one(delay=1.0)).state is State.SCHEDULED
    assert lab.job(lab.add_one(at=now - 100)).state is State.READY
    assert lab.job(lab.add_one(at=now + 100)).state is State.SCHEDULED
    far = lab.job(lab.add_one(at=221_845_392_000.0, delay=5.0))  # `at` wins
    assert far.due_at == 221_845_392_000.0


def test_a_deadline_at_a_time_wins_over_one_after_due(lab):
    now = lab.store.clock.now()
    job = lab.job(lab.add_one(delay=10, deadline=1.0, deadline_at=now + 500))
    assert job.deadline == pytest.approx(now + 500)


def test_any_payload_comes_back_byte_for_byte(lab, node):
    payloads = [b"", b"\0", bytes(range(256)), b"x" * 1_000_000, "ä\u2028".encode()]
    ids = lab.add(*(new_job(payload=payload) for payload in payloads))
    claimed = {job.id: job.payload for job in lab.claim(node)}
    assert [claimed[job_id] for job_id in ids] == payloads
    assert [lab.job(job_id).payload for job_id in ids] == payloads


@pytest.mark.parametrize(
    "bad",
    [
        {"priority": MAX_PRIORITY + 1},
        {"priority": 2**70},
        {"at": -1.0},
        {"at": 1e13},
        {"delay": float("inf")},
        {"delay": float("nan")},
        {"at": float("-inf")},
        {"deadline_at": 1e13},
        {"timeout": 0.0},
        {"timeout": -1.0},
        {"timeout": float("inf")},
        {"max_attempts": 0},
        {"queue": None},
        {"kind": "\ud800"},
        {"id": None},
    ],
    ids=str,
)
def test_a_flush_with_a_bad_job_stores_nothing_and_the_store_goes_on(lab, node, bad):
    claimed = lab.claimed(node)
    good = new_job()
    claim = Claim(claimed.id, node, claimed.claim_no)
    with pytest.raises((StoreError, TypeError)):
        lab.store.flush(Flush(jobs=[good, new_job(**bad)], ends=[(claim, DONE)]))
    assert lab.ids() == [claimed.id]
    assert lab.state(claimed.id) is State.CLAIMED
    assert lab.total("accepted") == 1
    lab.add(good)


def test_an_id_that_is_there_is_refused(lab):
    job = new_job()
    lab.add(job)
    with pytest.raises(StoreError):
        lab.add(new_job(), job)
    assert lab.ids() == [job.id]


def test_an_empty_flush_is_no_error(lab):
    flushed = lab.store.flush(Flush())
    assert (flushed.claimed, flushed.accepted, flushed.known) == ([], 0, frozenset())


# Ids given by callers ----------------------------------------------------------------------------


def given(**fields):
    return new_job(given_id=True, **fields)


def test_a_given_id_is_stored_once(lab):
    job = given()
    assert lab.store.flush(Flush(jobs=[job])).known == frozenset()
    for _ in range(2):
        again = lab.store.flush(Flush(jobs=[job]))
        assert (again.known, again.accepted) == ({job.id}, 0)
    assert lab.ids() == [job.id]
    assert lab.total("accepted") == 1


@pytest.mark.parametrize("times", [2, 3, 7])
def test_a_given_id_many_times_in_one_flush_is_stored_once(lab, times):
    job, other = given(), new_job()
    flushed = lab.store.flush(Flush(jobs=[job, other] + [job] * (times - 1)))
    assert flushed.accepted == 2
    assert flushed.known == {job.id}
    assert lab.total("accepted") == 2
    assert sorted(lab.ids()) == sorted([job.id, other.id])


def test_a_given_id_is_known_after_the_job_is_done_and_gone(lab, node):
    job = given()
    lab.add(job)
    (claimed,) = lab.claim(node)
    assert lab.end(claimed, node, DONE)
    assert lab.ids() == []
    assert lab.store.flush(Flush(jobs=[job])).known == {job.id}
    assert lab.ids() == []


def test_a_given_id_is_forgotten_when_it_is_old_enough(lab, node):
    done, waiting = given(), given()
    lab.add(done)
    assert lab.end(lab.claim(node)[0], node, DONE)
    lab.add(waiting)
    lab.pass_time(100)
    prune = {"done_for": 1e6, "ended_for": 1e6, "limit": 100}
    assert lab.store.prune(ids_for=200, **prune) == 0
    assert lab.store.prune(ids_for=50, **prune) == 2
    flushed = lab.store.flush(Flush(jobs=[done, waiting]))
    assert flushed.known == {waiting.id}  # its row is still there
    assert flushed.accepted == 1


def test_a_given_id_that_was_made_by_the_store_before_is_known(lab):
    job = new_job()
    lab.add(job)
    assert lab.store.flush(Flush(jobs=[given(id=job.id)])).known == {job.id}


def test_processes_that_give_one_id_at_once_store_it_once(lab):
    stores = [lab.connect() for _ in range(4)]
    for _ in range(10):
        jobs = [given(queue="common"), given(queue="common")]

        def give(number, jobs=jobs):
            return stores[number].flush(Flush(jobs=jobs[:: 1 if number % 2 else -1]))

        answers = in_threads(4, give)
        assert sum(flushed.accepted for flushed in answers) == 2
        for job in jobs:
            assert sum(job.id not in flushed.known for flushed in answers) == 1
    assert lab.total("accepted") == len(lab.ids(queue="common")) == 20


# Order -------------------------------------------------------------------------------------------


def test_claims_take_by_priority_then_due_time_then_insertion(lab, node):
    now = lab.store.clock.now()
    jobs = [
        new_job(priority=priority, at=now - ago)
        for priority in (MIN_PRIORITY, -1, 0, 0, 7, MAX_PRIORITY)
        for ago in (5, 5, 1, 30)
    ]
    random.shuffle(jobs)
    lab.add(*jobs)
    expected = sorted(jobs, key=lambda job: (-job.priority, job.at))  # stable: by insertion
    taken = []
    while claimed := lab.claim(node, limit=5):
        taken += [job.id for job in claimed]
    assert taken == [job.id for job in expected]


def test_a_claimed_job_carries_what_it_needs_to_run(lab, node):
    job = new_job("kind", 1, queue="mail", priority=3, deadline=50, timeout=2.0, max_attempts=9)
    lab.add(job)
    (claimed,) = lab.claim(node, kinds=["kind"])
    names = ("id", "kind", "queue", "priority", "timeout", "max_attempts", "payload")
    assert all(getattr(claimed, name) == getattr(job, name) for name in names)
    assert (claimed.attempt, claimed.claim_no, bool(claimed.suspect)) == (1, 1, False)
    assert claimed.deadline == pytest.approx(claimed.due_at + 50)
    stored = lab.job(job.id)
    assert (stored.state, stored.node) == (State.CLAIMED, node)
    assert stored.claimed_at == pytest.approx(lab.store.clock.now(), abs=5)


def test_a_claim_takes_no_more_than_its_limit_and_says_whether_that_was_all(lab, node):
    lab.add(*(new_job() for _ in range(5)))
    first = lab.claim_flush(node, limit=3)
    assert (len(first.claimed), first.drained) == (3, False)
    rest = lab.claim_flush(node, limit=3)
    assert (len(rest.claimed), rest.drained) == (2, True)
    none = lab.claim_flush(node, limit=3)
    assert (len(none.claimed), none.drained) == (0, True)


def test_a_claim_sees_what_its_own_flush_inserted_and_gave_back(lab, node):
    given_back = lab.claimed(node)
    inserted = new_job()
    flushed = lab.store.flush(
        Flush(
            jobs=[inserted],
            ends=[(Claim(given_back.id, node, given_back.claim_no), RELEASE)],
            claim=ClaimRequest(
                node=node,
                kinds=["work"],
                queues=None,
                limit=10,
                min_priority=MIN_PRIORITY,
                horizon=1.0,
            ),
        )
    )
    assert {job.id for job in flushed.claimed} == {given_back.id, inserted.id}


# Filters -----------------------------------------------------------------------------------------


def test_a_node_is_given_only_kinds_that_it_knows(lab, node):
    ids = {kind: lab.add_one(kind) for kind in ("a", "b", "c")}
    assert {job.id for job in lab.claim(node, kinds=["a", "c", "unknown"])} == {ids["a"], ids["c"]}
    assert lab.claim(node, kinds=["unknown"]) == []
    assert lab.state(ids["b"]) is State.READY


def test_a_node_is_given_only_jobs_of_its_queues(lab, node):
    ids = {queue: lab.add_one(queue=queue) for queue in ("a", "b", "c")}
    assert [job.id for job in lab.claim(node, queues=["b", "unknown"])] == [ids["b"]]
    assert lab.claim(node, queues=[]) == []
    assert {job.id for job in lab.claim(node, queues=None)} == {ids["a"], ids["c"]}


def test_names_in_filters_are_taken_literally(lab, node):
    evil = ["'", '"', "%", "a,b", "{a}", "\\", "; DROP TABLE x", "ä"]
    ids = [lab.add_one(kind, queue=kind) for kind in evil]
    claimed = lab.claim(node, kinds=evil, queues=evil)
    assert {job.id for job in claimed} == set(ids)


def test_a_claim_may_ask_for_hot_jobs_only(lab, node):
    cold, warm, hot = (lab.add_one(priority=priority) for priority in (1, 5, 9))
    flushed = lab.claim_flush(node, min_priority=5)
    assert [job.id for job in flushed.claimed] == [hot, warm]
    assert flushed.drained
    assert [job.id for job in lab.claim(node)] == [cold]


def test_a_hot_claim_takes_no_colder_jobs_ahead_of_time(lab, node):
    cold, hot = (lab.add_one(priority=priority, delay=0.5) for priority in (1, 9))
    assert [job.id for job in lab.claim(node, min_priority=5)] == [hot]
    assert lab.state(cold) is State.SCHEDULED


# Due times ---------------------------------------------------------------------------------------


def test_a_scheduled_job_is_claimed_when_it_is_due(lab, node):
    job_id = lab.add_one(delay=60)
    assert lab.claim(node) == []
    lab.pass_time(61)
    assert [job.id for job in lab.claim(node)] == [job_id]


@pytest.mark.parametrize("size", [4, 40])  # few go into PostgreSQL by INSERT, many by COPY
def test_jobs_of_one_batch_are_claimed_in_its_order_whether_they_have_deadlines_or_not(
    lab, node, size
):
    jobs = [new_job(deadline=None if place % 3 else 3600.0) for place in range(size)]
    ids = lab.add(*jobs)
    assert [job.id for job in lab.claim(node)] == ids


def test_due_jobs_are_ordered_among_the_ready_ones(lab, node):
    scheduled = lab.add_one(priority=5, delay=60)
    lab.pass_time(61)
    ready = lab.add_one(priority=4)
    hotter = lab.add_one(priority=6)
    assert [job.id for job in lab.claim(node)] == [hotter, scheduled, ready]


def test_due_jobs_take_their_turn_though_ready_ones_fill_the_claim(lab, node):
    scheduled = lab.add_one(priority=5, delay=60)
    ready = [lab.add_one(priority=4) for _ in range(3)]
    lab.pass_time(61)
    assert [job.id for job in lab.claim(node, limit=1)] == [scheduled]
    assert [job.id for job in lab.claim(node, limit=9)] == ready


def test_a_future_job_of_high_priority_blocks_nothing(lab, node):
    future = lab.add_one(priority=MAX_PRIORITY, delay=3600)
    ready = lab.add_one(priority=MIN_PRIORITY)
    assert [job.id for job in lab.claim(node, limit=1)] == [ready]
    assert lab.state(future) is State.SCHEDULED


def test_jobs_due_soon_are_claimed_ahead_when_ready_ones_run_short(lab, node):
    ready = lab.add_one()
    later, soon, far = (lab.add_one(delay=delay) for delay in (8, 5, 50))
    assert [job.id for job in lab.claim(node, limit=1, horizon=10)] == [ready]
    ahead = lab.claim(node, limit=1, horizon=10)
    assert [job.id for job in ahead] == [soon]
    assert ahead[0].due_at > lab.store.clock.now()
    assert [job.id for job in lab.claim(node, horizon=10)] == [later]
    assert lab.claim(node, horizon=10) == []
    assert lab.state(far) is State.SCHEDULED


def test_claiming_ahead_heeds_kinds_and_queues(lab, node):
    lab.add_one("other", delay=5)
    lab.add_one(queue="other", delay=5)
    assert lab.claim(node, queues=["default"], horizon=10) == []


def test_a_claim_tells_when_the_next_job_is_due(lab, node):
    assert lab.claim_flush(node).next_due is None
    later, soon = lab.add_one(delay=500), lab.add_one(delay=100)
    assert lab.claim_flush(node).next_due == pytest.approx(lab.job(soon).due_at)
    lab.store.cancel([soon])
    assert lab.claim_flush(node).next_due == pytest.approx(lab.job(later).due_at)
    assert lab.claim_flush(node, horizon=1_000).next_due is None  # claimed ahead


# Many nodes --------------------------------------------------------------------------------------


def test_only_a_registered_node_is_given_jobs(lab):
    lab.add_one()
    assert lab.claim(new_id()) == []


def test_nodes_of_many_processes_share_the_jobs_and_none_gets_one_twice(lab):
    ids = lab.add(*(new_job(priority=n % 3) for n in range(300)))
    stores = [lab.connect() for _ in range(4)]
    nodes = [lab.node(store) for store in stores]

    def claim_all(number):
        taken = []
        while True:
            flushed = stores[number].flush(
                Flush(
                    claim=ClaimRequest(
                        node=nodes[number],
                        kinds=["work"],
                        queues=None,
                        limit=7,
                        min_priority=MIN_PRIORITY,
                        horizon=1.0,
                    )
                )
            )
            if not flushed.claimed:
                return taken
            assert len(flushed.claimed) <= 7
            taken += [job.id for job in flushed.claimed]

    taken = [job_id for part in in_threads(4, claim_all) for job_id in part]
    assert sorted(taken) == sorted(ids)


def test_processes_that_insert_at_once_lose_nothing(lab):
    stores = [lab.connect() for _ in range(4)]

    def insert(number):
        jobs = [new_job() for _ in range(25)]
        for job in jobs:
            stores[number].flush(Flush(jobs=[job]))
        return [job.id for job in jobs]

    ids = [job_id for part in in_threads(4, insert) for job_id in part]
    assert sorted(lab.ids()) == sorted(ids)
    assert lab.total("accepted") == 100


# Life --------------------------------------------------------------------------------------------


def test_jobs_are_still_there_after_closing(lab):
    job_id = lab.add_one(priority=3)
    lab.store.close()
    lab.store.close()
    lab.store = lab.connect()
    assert lab.job(job_id).priority == 3


def test_a_closed_store_says_so(lab):
    store = lab.connect()
    store.close()
    with pytest.raises(StoreUnavailable):
        store.flush(Flush(jobs=[new_job()]))
    with pytest.raises(StoreUnavailable):
        store.jobs(state=None, kind=None, queue=None, after=None, limit=1)


def test_opening_twice_changes_nothing(lab):
    lab.add_one()
    lab.store.open()
    assert len(lab.ids()) == 1


def test_processes_that_open_a_new_store_at_once_make_its_tables_once(lab):
    stores = in_threads(4, lambda _: lab.connect())
    for store in stores:
        store.flush(Flush(jobs=[new_job()]))
    assert len(lab.ids()) == 4
