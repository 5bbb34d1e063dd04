"""A run ends by compare-and-set on its claim: it changes its job once, or nothing at all."""

from __future__ import annotations

import pytest
from builders import in_threads, new_job

from fastsched import Cancelled, Claim, Failure, State
from fastsched.outcomes import DONE, EXPIRE, RELEASE, Cancel, Dead, Retry, Snooze
from fastsched.stores.base import Flush

FAILURE = Failure("ValueError", "bad\n\x1b[31m ä", "Traceback (most recent call last): ...")
ENDS = [
    pytest.param(DONE, None, id="done"),
    pytest.param(Retry(60, "again", FAILURE), State.SCHEDULED, id="retry later"),
    pytest.param(Retry(0, "again", FAILURE), State.READY, id="retry now"),
    pytest.param(Snooze(60, "not yet"), State.SCHEDULED, id="snooze"),
    pytest.param(Snooze(0), State.READY, id="snooze for nothing"),
    pytest.param(Dead("worn out", FAILURE), State.DEAD, id="dead"),
    pytest.param(Cancel("not wanted"), State.CANCELLED, id="cancel"),
    pytest.param(EXPIRE, State.EXPIRED, id="expire"),
    pytest.param(RELEASE, State.READY, id="release"),
]


@pytest.mark.parametrize(("outcome", "state"), ENDS)
def test_the_holder_of_a_claim_ends_its_job(lab, node, outcome, state):
    job = lab.claimed(node)
    claim = Claim(job.id, node, job.claim_no)
    flushed = lab.store.flush(Flush(ends=[(claim, outcome)]))
    assert flushed.stale == frozenset()
    assert flushed.states == ({} if state is None else {job.id: state})
    assert lab.state(job.id) == state
    if state is not None:
        stored = lab.job(job.id)
        assert stored.node is None
        assert (stored.ended_at is not None) == state.ended
        assert stored.reason == getattr(outcome, "reason", stored.reason)
        assert stored.failure == getattr(outcome, "failure", None)


@pytest.mark.parametrize(("outcome", "state"), ENDS)
@pytest.mark.parametrize("wrong", ["node", "claim_no", "ended", "unknown"])
def test_who_does_not_hold_the_claim_changes_nothing_and_is_told(lab, node, outcome, state, wrong):
    job = lab.claimed(node)
    claim = Claim(job.id, node, job.claim_no)
    match wrong:
        case "node":
            claim = claim._replace(node=lab.node())
        case "claim_no":
            claim = claim._replace(claim_no=claim.claim_no + 1)
        case "ended":
            lab.store.flush(Flush(ends=[(claim, Dead("first"))]))
        case "unknown":
            claim = claim._replace(id=new_job().id)
    before = lab.job(job.id)
    flushed = lab.store.flush(Flush(ends=[(claim, outcome)]))
    assert flushed.stale == {claim}
    assert flushed.states == {}
    assert lab.job(job.id) == before
    assert lab.total("stale") == 1


@pytest.mark.parametrize(("outcome", "state"), ENDS)
def test_an_older_claim_of_the_same_node_is_stale(lab, node, outcome, state):
    old = lab.claimed(node)
    assert lab.end(old, node, RELEASE)
    (new,) = lab.claim(node)
    assert (new.id, new.claim_no) == (old.id, old.claim_no + 1)
    before = lab.job(old.id)
    assert not lab.end(old, node, outcome)
    assert lab.job(old.id) == before
    assert lab.end(new, node, outcome)


def test_a_flush_ends_what_it_can_and_tells_the_rest(lab, node):
    jobs = [lab.claimed(node) for _ in range(6)]
    claims = [Claim(job.id, node, job.claim_no) for job in jobs]
    stale = [claims[1]._replace(claim_no=9), claims[4]._replace(claim_no=9)]
    flushed = lab.store.flush(
        Flush(
            ends=[
                (claims[0], DONE),
                (stale[0], DONE),
                (claims[2], Dead("d")),
                (claims[3], DONE),
                (stale[1], Snooze(1)),
            ]
        )
    )
    assert flushed.stale == set(stale)
    assert flushed.states == {jobs[2].id: State.DEAD}
    assert [lab.state(job.id) for job in jobs] == [
        None,
        State.CLAIMED,
        State.DEAD,
        None,
        State.CLAIMED,
        State.CLAIMED,
    ]
    assert (lab.total("done"), lab.total("dead"), lab.total("stale")) == (2, 1, 2)


@pytest.mark.parametrize("first", [DONE, Dead("d"), RELEASE])
def test_a_claim_that_is_ended_twice_in_one_flush_is_ended_once(lab, node, first):
    job = lab.claimed(node)
    claim = Claim(job.id, node, job.claim_no)
    flushed = lab.store.flush(Flush(ends=[(claim, first), (claim, first)]))
    assert flushed.stale == {claim}
    assert lab.total("stale") == 1
    lab.check_conservation()


def test_of_many_who_end_one_claim_exactly_one_does(lab, node):
    stores = [lab.connect() for _ in range(4)]
    jobs = [lab.claimed(node) for _ in range(20)]

    def end(number):
        outcome = (DONE, Dead("d"), RELEASE, Cancel())[number]
        claims = [Claim(job.id, node, job.claim_no) for job in jobs]
        return sum(
            claim not in stores[number].flush(Flush(ends=[(claim, outcome)])).stale
            for claim in claims
        )

    assert sum(in_threads(4, end)) == len(jobs)


# Attempts ----------------------------------------------------------------------------------------


def test_a_retry_charges_the_attempt(lab, node):
    job = lab.claimed(node)
    for attempt in (1, 2, 3):
        assert job.attempt == attempt
        assert lab.end(job, node, Retry(0, "again"))
        (job,) = lab.claim(node)


@pytest.mark.parametrize("outcome", [Snooze(0), RELEASE])
def test_snooze_and_release_give_the_attempt_back_but_not_the_claim_number(lab, node, outcome):
    job = lab.claimed(node)
    assert lab.end(job, node, Retry(0))
    for claim_no in (2, 3, 4):
        (job,) = lab.claim(node)
        assert (job.attempt, job.claim_no) == (2, claim_no)
        assert lab.end(job, node, outcome)


@pytest.mark.parametrize("outcome", [Retry(60), Snooze(60)])
def test_a_job_that_comes_back_is_due_after_its_delay(lab, node, outcome):
    job = lab.claimed(node)
    assert lab.end(job, node, outcome)
    assert lab.job(job.id).due_at == pytest.approx(lab.store.clock.now() + 60, abs=5)
    assert lab.claim(node) == []
    lab.pass_time(61)
    assert [again.id for again in lab.claim(node)] == [job.id]


def test_a_job_released_before_it_is_due_is_scheduled_as_before(lab, node):
    job_id = lab.add_one(delay=50)
    due_at = lab.job(job_id).due_at
    (job,) = lab.claim(node, horizon=100)
    assert lab.end(job, node, RELEASE)
    stored = lab.job(job_id)
    assert (stored.state, stored.due_at, stored.attempt) == (State.SCHEDULED, due_at, 0)


def test_the_newest_failure_is_kept(lab, node):
    job = lab.claimed(node)
    for n in (1, 2):
        assert lab.end(job, node, Retry(0, f"try {n}", Failure("E", str(n), "trace")))
        (job,) = lab.claim(node)
    assert lab.end(job, node, Snooze(0, "later"))
    stored = lab.job(job.id)
    assert (stored.reason, stored.failure) == ("later", Failure("E", "2", "trace"))


# Done --------------------------------------------------------------------------------------------


def test_success_deletes_the_row(lab, node):
    job_id = lab.ended(DONE, node)
    assert lab.store.job(job_id) is None
    assert lab.state(job_id) is None
    assert lab.total("done") == 1


def test_a_store_that_keeps_done_jobs_keeps_the_row(lab):
    lab.store = lab.connect(keep_done=True)
    node = lab.node()
    first, second = lab.claimed(node), lab.claimed(node)
    stale = Claim(second.id, node, 9)
    flushed = lab.store.flush(
        Flush(ends=[(Claim(first.id, node, 1), DONE), (stale, DONE)]),
    )
    assert flushed.stale == {stale}
    assert flushed.states == {}
    stored = lab.job(first.id)
    assert (stored.state, stored.node) == (State.DONE, None)
    assert stored.ended_at == pytest.approx(lab.store.clock.now(), abs=5)
    assert lab.state(second.id) is State.CLAIMED
    assert lab.total("done") == 1


# Cancelling --------------------------------------------------------------------------------------


def test_what_has_not_started_is_cancelled_for_good(lab, node):
    ready, scheduled = lab.add_one(), lab.add_one(delay=60)
    answers = lab.store.cancel([ready, scheduled])
    assert answers == {ready: Cancelled.CANCELLED, scheduled: Cancelled.CANCELLED}
    lab.pass_time(100)
    assert lab.claim(node) == []
    for job_id in (ready, scheduled):
        assert lab.job(job_id).state is State.CANCELLED
        assert lab.job(job_id).ended_at is not None
    assert lab.total("cancelled") == 2


def test_what_has_ended_or_is_not_known_is_too_late_to_cancel(lab, node):
    ids = [lab.ended(outcome, node) for outcome in (DONE, Dead("d"), Cancel(), EXPIRE)]
    ids.append(new_job().id)
    assert set(lab.store.cancel(ids).values()) == {Cancelled.TOO_LATE}
    assert lab.total("cancelled") == 1


def test_what_is_claimed_is_asked_to_stop(lab, node):
    job = lab.claimed(node)
    assert lab.store.cancel([job.id]) == {job.id: Cancelled.REQUESTED}
    assert lab.store.cancel([job.id]) == {job.id: Cancelled.REQUESTED}
    assert lab.state(job.id) is State.CLAIMED
    assert lab.job(job.id).cancel_requested
    assert lab.total("cancelled") == 0


@pytest.mark.parametrize("outcome", [Retry(60, "r", FAILURE), Retry(0), Snooze(60), RELEASE])
def test_a_job_asked_to_stop_never_comes_back(lab, node, outcome):
    job = lab.claimed(node)
    lab.store.cancel([job.id])
    claim = Claim(job.id, node, job.claim_no)
    flushed = lab.store.flush(Flush(ends=[(claim, outcome)]))
    assert flushed.states == {job.id: State.CANCELLED}
    assert lab.job(job.id).ended_at is not None
    assert (lab.total("cancelled"), lab.total("retry")) == (1, 0)
    lab.pass_time(100)
    assert lab.claim(node) == []


@pytest.mark.parametrize(
    ("outcome", "state"), [(DONE, None), (Dead("d"), State.DEAD), (EXPIRE, State.EXPIRED)]
)
def test_a_job_asked_to_stop_may_have_ended_otherwise_before(lab, node, outcome, state):
    job = lab.claimed(node)
    lab.store.cancel([job.id])
    assert lab.end(job, node, outcome)
    assert lab.state(job.id) == state


def test_a_node_is_told_what_it_should_stop(lab, node):
    mine, other = lab.claimed(node), lab.claimed(lab.node())
    assert lab.store.tend(node).cancel == []
    lab.store.cancel([mine.id, other.id])
    assert lab.store.tend(node).cancel == [mine.id]
    assert lab.end(mine, node, Cancel())
    assert lab.store.tend(node).cancel == []
