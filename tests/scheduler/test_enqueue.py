"""From a call to a job in the store."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from builders import in_threads

from fastsched import ConfigurationError, NewJob, PayloadError, State, StoreError


def add(a: int, b: int = 1) -> int:
    return a + b


def test_a_plain_call_stays_a_plain_call(scheduler):
    assert scheduler.job(add)(2, b=3) == 5
    assert scheduler.stats().scheduled == 0


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"c": 2})])
def test_arguments_that_do_not_fit_are_refused_with_the_signature(scheduler, args, kwargs):
    with pytest.raises(TypeError, match=r"add\(a: .*int.*, b: .*int.* = 1\)"):
        scheduler.job(add).enqueue(*args, **kwargs)


def test_a_value_that_cannot_be_stored_is_refused_with_its_path(scheduler):
    job = scheduler.job(kind="take")(lambda user: None)
    with pytest.raises(PayloadError, match=r"args\[0\]\.born") as refused:
        job.enqueue({"name": "x", "born": datetime.now(UTC)})
    assert refused.value.path == "args[0].born"


def test_of_many_jobs_all_are_stored_or_none(scheduler):
    job = scheduler.job(add)
    good = [job.job(n) for n in range(5)]
    with pytest.raises(TypeError, match="cannot enqueue str"):
        scheduler.enqueue_many([*good, "job"])
    twin = good[0]._replace(payload=b"[[2],{}]")
    with pytest.raises(StoreError):
        scheduler.enqueue_many([*good, twin])
    assert scheduler.store_stats().accepted == 0
    assert len(scheduler.enqueue_many(good)) == 5
    assert scheduler.store_stats().ready == 5


def test_options_are_those_of_the_job_and_the_registered_ones_stay(scheduler):
    job = scheduler.job(priority=3, queue="mail", timeout=9, max_attempts=2)(add)
    due = datetime.now(UTC) + timedelta(hours=1)
    special = job.options(at=due, priority=-7, deadline=60).enqueue(1).job()
    assert (special.priority, special.queue, special.timeout) == (-7, "mail", 9)
    assert special.due_at == pytest.approx(due.timestamp(), abs=1e-3)
    assert special.deadline == pytest.approx(due.timestamp() + 60, abs=1e-3)
    assert special.state is State.SCHEDULED
    plain = job.enqueue(1).job()
    assert (plain.priority, plain.state, plain.max_attempts) == (3, State.READY, 2)


def test_a_naive_datetime_is_refused(scheduler):
    with pytest.raises(ConfigurationError, match="no time zone"):
        scheduler.job(add).options(at=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point


def test_an_id_given_twice_is_one_job_also_when_it_has_run(scheduler):
    job = scheduler.job(add)
    mine = uuid.uuid4()
    first = job.options(id=mine).enqueue(1)
    assert job.options(id=str(mine)).enqueue(2) == first
    with scheduler:
        assert first.wait(10) is State.DONE
        job.options(id=mine).enqueue(3)
        scheduler.wait_until_idle(10)
        assert scheduler.stats().completed == 1
    assert scheduler.store_stats().accepted == 1


def test_a_scheduler_that_is_not_started_runs_nothing(scheduler):
    handle = scheduler.job(add).enqueue(1)
    assert not scheduler.started
    with pytest.raises(TimeoutError):
        handle.wait(0.05)
    assert handle.state() is State.READY


def test_threads_that_enqueue_share_commits(scheduler):
    job = scheduler.job(add)
    job.enqueue(0)
    before = scheduler.stats()
    in_threads(16, lambda number: [job.enqueue(number) for _ in range(50)])
    after = scheduler.stats()
    rows, commits = after.scheduled - before.scheduled, after.flushes - before.flushes
    assert rows == 800
    assert rows / commits >= 4


def test_a_job_of_another_kind_is_found_by_those_who_know_it(make):
    other = make()
    handle = other.job(kind="elsewhere")(add).enqueue(1)
    here = make()
    here.job(kind="here")(add)
    with here:
        here.job(kind="here")(add).enqueue(1).wait(10)
        assert handle.state() is State.READY
    with other:
        assert handle.wait(10) is State.DONE


def test_a_new_job_is_a_value(scheduler):
    job = scheduler.job(add).job(1)
    assert isinstance(job, NewJob)
    assert job.payload == b"[[1],{}]"
    assert scheduler.store_stats().accepted == 0
