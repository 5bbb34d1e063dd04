"""From a job to an outcome: whatever a handler does, a value comes out."""

from __future__ import annotations

import sys

import orjson
import pytest
from builders import claimed_job
from clocks import ManualClock
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched import Cancel, Retry, Snooze, current_job
from fastsched.codec import encode
from fastsched.errors import JobCancelled, JobStopped, JobTimeout
from fastsched.executor import Executor, Run, describe
from fastsched.handler import make_handler
from fastsched.outcomes import DONE, EXPIRE, RELEASE, Dead
from fastsched.retry import MAX_DELAY, fixed


class Broken(Exception):
    pass


def execute(function, args=(), kwargs=None, *, clock=None, options=None, **job):
    clock = clock or ManualClock()
    handler = make_handler(function, {"kind": "work", "backoff": fixed(7), **(options or {})})
    run = Run(claimed_job(**{"payload": encode(args, kwargs or {}), **job}), "node", clock)
    return Executor({"work": handler}, clock).execute(run)


def never():
    pytest.fail("it ran")


def raising(error, **options):
    def function():
        raise error

    return execute(function, **options)


# Calls -------------------------------------------------------------------------------------------


def test_a_handler_that_returns_is_done():
    calls = []

    def function(*args, **kwargs):
        calls.append((args, kwargs))
        return "a value that nobody keeps"

    assert execute(function, [1, {"b": None}], {"c": "d"}) == DONE
    assert calls == [((1, {"b": None}), {"c": "d"})]


def test_a_handler_knows_its_job():
    seen = []
    job = {"queue": "mail", "attempt": 3, "claim_no": 9}

    def function():
        ctx = current_job()
        seen.append((ctx.kind, ctx.queue, ctx.attempt, ctx.max_attempts, ctx.claim.claim_no))

    assert execute(function, **job) == DONE
    assert seen == [("work", "mail", 3, 5, 9)]
    with pytest.raises(LookupError, match="inside a handler"):
        current_job()


def test_a_job_past_its_deadline_expires_unrun():
    clock = ManualClock()
    assert execute(never, clock=clock, deadline=clock.now() - 1) == EXPIRE
    assert execute(lambda: None, clock=clock, deadline=clock.now()) == DONE


def test_a_job_of_an_unknown_kind_is_given_back():
    clock = ManualClock()
    run = Run(claimed_job("elsewhere"), "node", clock)
    assert Executor({}, clock).execute(run) == RELEASE


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", orjson.dumps({"args": []})])
def test_a_payload_that_is_no_call_makes_a_dead_letter(payload):
    outcome = execute(never, payload=payload)
    assert isinstance(outcome, Dead)
    assert outcome.failure.type == "PayloadError"


# Values that a handler returns -------------------------------------------------------------------


def test_snooze_comes_back_within_the_limits():
    assert execute(lambda: Snooze(60, "not yet")) == Snooze(60.0, "not yet")
    assert execute(lambda: Snooze(-1)) == Snooze(0.0)
    assert execute(lambda: Snooze(float("inf"))) == Snooze(MAX_DELAY)
    assert execute(lambda: Snooze(float("nan"))) == Snooze(MAX_DELAY)


def test_cancel_is_for_good():
    assert execute(lambda: Cancel("not wanted")) == Cancel("not wanted")


def test_retry_waits_as_it_says_or_as_the_backoff_says():
    outcome = execute(lambda: Retry(3, "busy"))
    assert (outcome.delay, outcome.failure.message) == (3.0, "busy")
    assert execute(lambda: Retry()).delay == 7.0
    assert execute(lambda: Retry(-5)).delay == 0.0


def test_retry_charges_the_attempt():
    assert isinstance(execute(lambda: Retry(3), attempt=5, max_attempts=5), Dead)
    assert isinstance(execute(lambda: Snooze(3), attempt=5, max_attempts=5), Snooze)


@pytest.mark.parametrize("make", [Snooze, Retry])
@pytest.mark.parametrize("delay", ["5", True, object(), [1]])
def test_a_delay_that_is_no_number_fails_the_run_that_made_it(make, delay):
    with pytest.raises(TypeError, match="wanted seconds as a number"):
        make(delay)
    outcome = execute(lambda: make(delay))
    assert isinstance(outcome, Retry)
    assert outcome.failure.type == "TypeError"


@pytest.mark.parametrize("make", [Cancel, lambda reason: Snooze(1, reason)])
def test_a_reason_is_text_that_any_store_can_hold(make):
    with pytest.raises(TypeError, match="wanted a str"):
        make(5)
    reason = execute(lambda: make("a\0b\ud800c" + "x" * 10_000)).reason
    reason.encode()
    assert "\0" not in reason
    assert len(reason) < 3_000


# Failures ----------------------------------------------------------------------------------------


def test_an_exception_is_retried_until_the_attempts_are_used_up():
    outcome = raising(Broken("oh"), attempt=4, max_attempts=5)
    assert isinstance(outcome, Retry)
    assert outcome.delay == 7.0
    assert str(outcome.failure) == outcome.reason == "Broken: oh"
    outcome = raising(Broken("oh"), attempt=5, max_attempts=5)
    assert isinstance(outcome, Dead)
    assert outcome.reason == "failed 5 of 5 attempts"
    assert "raise error" in outcome.failure.traceback


@pytest.mark.parametrize(
    ("options", "retried"),
    [
        ({}, True),
        ({"retry_on": Broken}, True),
        ({"retry_on": (OSError, Broken)}, True),
        ({"retry_on": OSError}, False),
        ({"retry_on": ()}, False),
        ({"give_up_on": Broken}, False),
        ({"give_up_on": Exception}, False),
        ({"give_up_on": OSError}, True),
        ({"retry_on": Exception, "give_up_on": (OSError, Broken)}, False),
    ],
)
def test_retry_on_and_give_up_on_decide_what_is_worth_another_attempt(options, retried):
    outcome = raising(Broken(), options=options)
    assert isinstance(outcome, Retry if retried else Dead)
    if not retried:
        assert outcome.reason == "Broken is not retried"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_exits_end_the_job_and_not_the_worker(error):
    outcome = raising(error)
    assert isinstance(outcome, Dead)
    assert outcome.failure.type == type(error).__name__
    assert isinstance(raising(error, options={"retry_on": BaseException}), Retry)


def test_a_base_exception_of_its_own_is_not_retried_unless_asked():
    class Odd(BaseException):
        pass

    assert isinstance(raising(Odd()), Dead)
    assert isinstance(raising(Odd(), options={"retry_on": Odd}), Retry)


@pytest.mark.parametrize(
    ("backoff", "reason"),
    [
        (lambda attempt, error: None, "the backoff gave up"),
        (lambda attempt, error: 1 / 0, "the backoff of work failed: ZeroDivisionError"),
        (lambda attempt, error: sys.exit(3), "the backoff of work failed: SystemExit"),
        (lambda attempt, error: "soon", "the backoff of work failed: TypeError"),
        (lambda attempt: 1, "the backoff of work failed: TypeError"),
    ],
)
def test_a_backoff_without_an_answer_makes_a_dead_letter(backoff, reason):
    outcome = raising(Broken("the cause"), options={"backoff": backoff})
    assert isinstance(outcome, Dead)
    assert outcome.reason.startswith(reason)
    assert outcome.failure.message == "the cause"


def test_the_backoff_gets_the_failed_attempt_and_its_error():
    seen = []

    def backoff(attempt, error):
        seen.append((attempt, error))
        return 10**9

    error = Broken()
    assert raising(error, attempt=2, options={"backoff": backoff}).delay == MAX_DELAY
    assert seen == [(2, error)]


# Interrupts --------------------------------------------------------------------------------------


def test_interrupts_have_outcomes_of_their_own():
    assert raising(JobCancelled()) == Cancel("cancelled while it ran")
    assert raising(JobStopped()) == RELEASE
    outcome = raising(JobTimeout(), timeout=2.5)
    assert isinstance(outcome, Retry)
    assert outcome.reason == "JobTimeout: ran longer than 2.5 s"
    assert isinstance(raising(JobTimeout(), attempt=5), Dead)


def test_timeouts_may_be_given_up_on():
    assert isinstance(raising(JobTimeout(), options={"retry_on": OSError}), Retry)
    assert isinstance(raising(JobTimeout(), options={"give_up_on": JobTimeout}), Dead)


def test_a_handler_asked_to_stop_may_do_so_by_check():
    for interrupt, outcome in ((JobStopped, RELEASE), (JobCancelled, Cancel)):

        def function(interrupt=interrupt):
            current_job().check()
            current_job().ask_to_stop(interrupt)
            assert current_job().cancelled
            current_job().check()

        got = execute(function)
        assert got == outcome if outcome is RELEASE else isinstance(got, outcome)


# Exceptions as text ------------------------------------------------------------------------------


class Unreadable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Exiting(Exception):
    def __str__(self):
        sys.exit(1)

    __repr__ = __str__


@pytest.mark.parametrize("error", [Unreadable(), Exiting()])
def test_an_error_that_cannot_be_read_is_still_a_failure(error):
    outcome = raising(error)
    assert isinstance(outcome, Retry)
    assert outcome.failure.message == "(its text cannot be read)"
    assert outcome.failure.type == type(error).__name__


def test_long_messages_and_tracebacks_keep_both_ends():
    failure = raising(Broken("<" + "x" * 100_000 + ">")).failure
    assert len(failure.message) < 2_100
    assert failure.message.startswith("<xxx")
    assert failure.message.endswith("xxx>")
    assert "[...]" in failure.message

    def deep(n):
        if n:
            deep(n - 1)
        raise Broken(n) from ValueError(n)

    try:
        deep(200)
    except Broken as error:
        for n in range(300):
            chained = Broken(n)
            chained.__context__ = error
            error = chained
        failure = describe(error)
    assert 10_000 < len(failure.traceback) < 17_000
    assert failure.traceback.startswith("ValueError: 0")
    assert failure.traceback.endswith("Broken: 299\n")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters()))
def test_failures_are_unicode_without_nul(text):
    failure = raising(Broken(text)).failure
    for part in (failure.type, failure.message, failure.traceback):
        part.encode()
        assert "\0" not in part


def test_the_traceback_begins_in_the_handler():
    first = raising(Broken()).failure.traceback.splitlines()[1]
    assert first.endswith("in function")
