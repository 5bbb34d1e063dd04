"""What people and chores do to jobs: requeue, run now, discard, expire, prune."""

from __future__ import annotations

import pytest
from builders import new_job

from fastsched import Cancelled, Failure, State
from fastsched.outcomes import DONE, EXPIRE, Cancel, Dead, Retry

LONG = 1e9

# Dead letters ------------------------------------------------------------------------------------


def test_a_requeued_job_is_ready_with_all_its_attempts(lab, node):
    job_id = lab.ended(Dead("worn out", Failure("E", "m", "t")), node, deadline=5, max_attempts=1)
    lab.pass_time(100)
    assert lab.store.requeue([job_id]) == [job_id]
    assert (lab.total("dead"), lab.total("requeued")) == (0, 1)
    stored = lab.job(job_id)
    assert (stored.state, stored.attempt, stored.crashes) == (State.READY, 0, 0)
    assert stored.ended_at is stored.deadline is None
    assert stored.due_at == pytest.approx(lab.store.clock.now(), abs=5)
    (again,) = lab.claim(node)
    assert (again.id, again.attempt, again.claim_no) == (job_id, 1, 2)
    assert lab.end(again, node, DONE)


def test_only_dead_letters_are_requeued_or_discarded(lab, node):
    dead = lab.ended(Dead("d"), node)
    others = [
        lab.ended(DONE, node),
        lab.ended(Cancel(), node),
        lab.ended(EXPIRE, node),
        lab.claimed(node).id,
        lab.add_one(delay=60),
        lab.add_one(),
        new_job().id,
    ]
    states = {job_id: lab.state(job_id) for job_id in others}
    assert lab.store.discard(others) == []
    assert lab.store.requeue([*others, dead, dead]) == [dead]
    assert {job_id: lab.state(job_id) for job_id in others} == states
    assert lab.store.discard([dead]) == []


def test_a_requeued_job_that_was_to_be_cancelled_may_run(lab, node):
    job = lab.claimed(node)
    lab.store.cancel([job.id])
    assert lab.end(job, node, Dead("d"))
    lab.store.requeue([job.id])
    (again,) = lab.claim(node)
    assert not lab.job(job.id).cancel_requested
    assert lab.end(again, node, Retry(0))
    assert lab.state(job.id) is State.READY


def test_a_discarded_job_is_gone_and_stays_counted(lab, node):
    first, second = lab.ended(Dead("d"), node), lab.ended(Dead("d"), node)
    assert lab.store.discard([first]) == [first]
    assert lab.store.job(first) is None
    assert lab.state(second) is State.DEAD
    assert lab.total("dead") == 2


# Running now -------------------------------------------------------------------------------------


def test_a_scheduled_job_can_be_run_now(lab, node):
    scheduled = lab.add_one(delay=3600)
    retried = lab.claimed(node)
    assert lab.end(retried, node, Retry(3600))
    others = [lab.add_one(), lab.claimed(node).id, lab.ended(Dead("d"), node), new_job().id]
    lab.claim(node)
    moved = lab.store.run_now([scheduled, retried.id, *others])
    assert sorted(moved) == sorted([scheduled, retried.id])
    assert {job.id for job in lab.claim(node)} == {scheduled, retried.id}


# Deadlines ---------------------------------------------------------------------------------------


def test_jobs_past_their_deadline_expire_unrun(lab, node):
    now = lab.store.clock.now()
    ready = lab.add_one("a", queue="q", deadline=10)
    scheduled = lab.add_one("b", delay=5, deadline=10)
    at = lab.add_one("c", delay=500, deadline_at=now + 1)
    later = lab.add_one("d", deadline=1000)
    never = lab.add_one("e")
    assert lab.store.expire(100) == []
    lab.pass_time(20)
    expired = sorted(lab.store.expire(100), key=lambda row: row[1])
    assert [tuple(row) for row in expired] == [
        (ready, "a", "q", 0),
        (scheduled, "b", "default", 0),
        (at, "c", "default", 0),
    ]
    assert lab.job(ready).state is State.EXPIRED
    assert lab.job(ready).ended_at is not None
    assert lab.total("expired") == 3
    assert {lab.state(later), lab.state(never)} == {State.READY}
    assert {job.id for job in lab.claim(node, kinds=list("abcde"))} == {later, never}


def test_a_job_that_is_claimed_or_has_ended_does_not_expire(lab, node):
    claimed = lab.claimed(node, deadline=10)
    dead = lab.ended(Dead("d"), node, deadline=10)
    lab.pass_time(20)
    assert lab.store.expire(100) == []
    assert (lab.state(claimed.id), lab.state(dead)) == (State.CLAIMED, State.DEAD)


def test_a_retried_job_expires_when_its_deadline_passes(lab, node):
    job = lab.claimed(node, deadline=10)
    assert lab.end(job, node, Retry(60))
    lab.pass_time(20)
    assert [row[0] for row in lab.store.expire(100)] == [job.id]
    assert lab.store.expire(100) == []


def test_no_more_jobs_expire_at_once_than_asked(lab):
    lab.add(*(new_job(deadline=1) for _ in range(5)))
    lab.pass_time(5)
    assert [len(lab.store.expire(2)) for _ in range(4)] == [2, 2, 1, 0]


# Pruning -----------------------------------------------------------------------------------------


def prune(lab, *, done_for=LONG, ended_for=LONG, ids_for=LONG, limit=1_000):
    return lab.store.prune(done_for=done_for, ended_for=ended_for, ids_for=ids_for, limit=limit)


def test_ended_jobs_are_pruned_when_old_enough(lab):
    lab.store = lab.connect(keep_done=True)
    node = lab.node()
    done = lab.ended(DONE, node)
    ended = [lab.ended(outcome, node) for outcome in (Dead("d"), Cancel(), EXPIRE)]
    live = [lab.add_one(delay=1e6), lab.claimed(node).id, lab.add_one()]
    lab.pass_time(100)
    young = lab.ended(Dead("d"), node)
    assert prune(lab, done_for=200, ended_for=200) == 0
    assert prune(lab, done_for=50) == 1
    assert lab.state(done) is None
    assert prune(lab, ended_for=50) == 3
    assert [lab.state(job_id) for job_id in ended] == [None] * 3
    assert sorted(lab.ids()) == sorted([young, *live])
    assert (lab.total("done"), lab.total("dead")) == (1, 2)


def test_no_more_is_pruned_at_once_than_asked(lab):
    lab.store = lab.connect(keep_done=True)
    node = lab.node()
    for outcome in (DONE, Dead("d"), DONE, Cancel(), DONE):
        lab.ended(outcome, node)
    lab.pass_time(10)
    assert [prune(lab, done_for=1, ended_for=1, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_pruned_job_is_too_late_to_cancel(lab, node):
    job_id = lab.ended(Dead("d"), node)
    lab.pass_time(10)
    prune(lab, ended_for=1)
    assert lab.store.cancel([job_id]) == {job_id: Cancelled.TOO_LATE}
    assert lab.store.requeue([job_id]) == []
