"""Waiting for jobs: one or all, here or elsewhere, now or kept for later."""

from __future__ import annotations

import uuid

import pytest
from builders import in_thread, until
from clocks import PATIENCE

from fastsched import ConfigurationError, State


@pytest.fixture
def quick(scheduler):
    return scheduler.job(kind="quick")(lambda: None)


def test_waiting_ends_when_the_job_does(scheduler, quick, gate):
    with scheduler:
        (held,) = gate.hold()
        waiting = in_thread(held.wait)
        assert quick.enqueue().wait(PATIENCE) is State.DONE
        assert waiting.pending
        gate.open()
        assert waiting.get() is State.DONE


def test_waiting_for_what_has_ended_returns_at_once(scheduler, quick):
    with scheduler:
        handle = quick.enqueue()
        handle.wait(PATIENCE)
    assert handle.wait(0) is State.DONE
    assert scheduler.wait(handle.id, 0) is State.DONE


def test_waiting_has_a_timeout(scheduler, quick):
    handle = quick.enqueue()
    with pytest.raises(TimeoutError, match=rf"job {handle.id} has not ended within 0\.02 s"):
        handle.wait(0.02)
    with pytest.raises(TimeoutError, match="still busy"):
        scheduler.wait_until_idle(0.02)


def test_one_scheduler_waits_for_what_another_runs(make_scheduler, gates):
    """Long before the second after which it would look by itself."""
    worker, client = make_scheduler(workers=1), make_scheduler()
    gate = gates(worker)
    with worker:
        (held,) = gate.hold()
        waiting = in_thread(client.handle(held.id).wait)
        idle = in_thread(client.wait_until_idle)
        until(lambda: sum(client._engine.waiters._waiting.values()) == 2 if client._engine else 0)
        gate.open()
        assert waiting.get() is State.DONE
        idle.get()


def test_a_store_is_idle_when_nothing_is_ready_or_running(scheduler, quick, gate):
    scheduler.wait_until_idle(0)
    later = quick.options(delay=3600).enqueue()
    scheduler.wait_until_idle(0)
    with pytest.raises(TimeoutError):
        scheduler.wait_until_idle(0, include_scheduled=True)
    with scheduler:
        (held,) = gate.hold()
        with pytest.raises(TimeoutError):
            scheduler.wait_until_idle(0)
        gate.open()
        scheduler.wait_until_idle(PATIENCE)
        assert held.state() is State.DONE
        assert scheduler.run_now(later.id) == [later.id]
        scheduler.wait_until_idle(PATIENCE, include_scheduled=True)
        assert later.state() is State.DONE


def test_retries_are_waited_for_if_asked(make_scheduler):
    scheduler = make_scheduler(workers=1)
    attempts = []

    @scheduler.job(kind="again", backoff=lambda attempt, error: 0.05)
    def again():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")

    with scheduler:
        again.enqueue()
        scheduler.wait_until_idle(PATIENCE, include_scheduled=True)
    assert len(attempts) == 3


def test_a_job_that_is_gone_counts_as_done(scheduler, quick):
    assert scheduler.state(str(uuid.uuid4())) is State.DONE
    assert scheduler.find(str(uuid.uuid4())) is None
    for ask in (scheduler.state, scheduler.find, scheduler.wait, scheduler.cancel):
        with pytest.raises(ConfigurationError, match="is not a UUID"):
            ask("job-1")


def test_handles_are_values(scheduler, quick):
    handle = quick.enqueue()
    assert handle == scheduler.handle(handle.id)
    assert len({handle, scheduler.handle(handle.id), quick.enqueue()}) == 2
    assert handle.id in repr(handle)
    assert handle.job().kind == "quick"


def test_pages_of_jobs(scheduler, quick):
    ids = [quick.enqueue().id for _ in range(7)]
    seen, after = [], None
    while page := scheduler.jobs("ready", kind="quick", after=after, limit=3):
        seen += [job.id for job in page]
        after = page[-1].id
    assert seen == ids
    assert scheduler.jobs(queue="other") == []
    with pytest.raises(ConfigurationError, match="wanted one of waiting, scheduled"):
        scheduler.jobs("running")
    with pytest.raises(ConfigurationError, match="limit=0"):
        scheduler.jobs(limit=0)


def test_dead_letters_are_listed_and_discarded(make_scheduler):
    scheduler = make_scheduler(workers=1)

    @scheduler.job(kind="fail", max_attempts=1)
    def fail(n):
        raise ValueError(n)

    with scheduler:
        handles = [fail.enqueue(n) for n in range(3)]
        assert {handle.wait(PATIENCE) for handle in handles} == {State.DEAD}
        letters = scheduler.dead_letters()
        assert [str(letter.failure) for letter in letters] == [f"ValueError: {n}" for n in range(3)]
        assert [letter.id for letter in scheduler.dead_letters(after=letters[0].id, limit=1)] == [
            handles[1].id
        ]
        first = handles[0].id
        assert scheduler.discard(first, first) == [first]
        assert len(scheduler.dead_letters()) == 2
        assert handles[0].state() is State.DONE  # gone: absent means done
