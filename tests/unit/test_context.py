"""What a handler knows of its run, and what is kept from it while the scheduler works for it."""

from __future__ import annotations

import pytest
from builders import claimed_job, in_thread

from fastsched import JobCancelled, JobContext, JobTimeout
from fastsched.context import _current, check_own_run, unbroken


@pytest.fixture
def ctx(clock):
    return JobContext(claimed_job(claim_no=7), "node", clock)


@pytest.fixture
def inside(ctx):
    """This thread runs the job."""
    token = _current.set(ctx)
    yield ctx
    _current.reset(token)


def test_elapsed_counts_from_the_beginning_of_the_run(ctx, clock):
    clock.step(-1000)  # the wall clock does not matter
    clock.advance(2.5)
    assert ctx.elapsed == 2.5


def test_the_claim_is_that_of_the_run(ctx):
    assert ctx.claim == (ctx.id, "node", 7)


def test_check_raises_the_first_reason_to_stop(ctx):
    ctx.check()
    assert not ctx.cancelled
    ctx.ask_to_stop(JobTimeout)
    ctx.ask_to_stop(JobCancelled)
    assert ctx.cancelled
    for _ in range(2):
        with pytest.raises(JobTimeout):
            ctx.check()


def test_wait_sleeps_as_long_as_asked(ctx, clock):
    waiting = in_thread(ctx.wait, 5)
    assert clock.until_waiting(1) == [5.0]
    clock.advance(5)
    assert waiting.get() is False


def test_wait_ends_when_the_run_should_stop(ctx, clock):
    waiting = in_thread(ctx.wait, 5)
    clock.until_waiting(1)
    ctx.ask_to_stop()
    assert waiting.get() is True
    assert ctx.wait(5) is True


# Code of the scheduler ---------------------------------------------------------------------------


def throw(ctx):
    """What the watchdog does after it has asked; whether the exception was thrown."""
    thrown = []
    ctx.ask_to_stop(JobTimeout)
    ctx.unless_shielded(lambda: thrown.append(1) or True)
    return bool(thrown)


def test_nothing_is_thrown_into_the_scheduler_s_own_code(inside):
    assert throw(inside)

    @unbroken
    def call():
        return throw(inside)

    with pytest.raises(JobTimeout):
        call()


def test_what_was_not_thrown_is_raised_once_at_the_end_of_the_call(inside):
    steps = []

    @unbroken
    def inner():
        steps.append(throw(inside))

    @unbroken
    def outer():
        inner()
        steps.append("still undisturbed")

    with pytest.raises(JobTimeout):
        outer()
    assert steps == [False, "still undisturbed"]
    with inside.unbroken():
        pass
    assert throw(inside)


def test_being_asked_to_stop_disturbs_no_call(inside):
    inside.ask_to_stop(JobTimeout)
    assert unbroken(lambda: "answer")() == "answer"


def test_an_error_of_the_call_wins(inside):
    @unbroken
    def call():
        throw(inside)
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        call()


def test_outside_of_a_handler_a_call_is_a_call(ctx):
    assert unbroken(lambda a, b=1: (a, b))(2, b=3) == (2, 3)
    check_own_run()


def test_a_long_call_ends_when_its_handler_should_stop(inside):
    check_own_run()
    inside.ask_to_stop(JobCancelled)
    with pytest.raises(JobCancelled):
        check_own_run()


def test_a_method_keeps_its_name_and_its_words():
    def method(a):
        """Its own words."""

    assert unbroken(method).__name__ == "method"
    assert unbroken(method).__doc__ == "Its own words."
