"""What is wrong is refused at the door: with its name, what was given and what is wanted; and
nothing of the call is done."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched import (
    Cancel,
    ConfigurationError,
    FastschedError,
    JobFunction,
    NewJob,
    PayloadError,
    Retry,
    Scheduler,
    Snooze,
    State,
    retry,
)
from fastsched.ids import new_id
from fastsched.options import check_new_jobs
from input import odd

YEAR_9000 = datetime(9000, 1, 1, tzinfo=UTC)


def refused(
    call: Callable[[], Any], names: str, error: type[Exception] = ConfigurationError
) -> None:
    """The call is refused with an error that names what is wrong and fits on a line or two."""
    with pytest.raises(error) as found:
        call()
    readable(found.value)
    assert names in str(found.value)


def readable(error: BaseException) -> None:
    """The message of an error is for people, whatever the value was that it is about."""
    text = str(error)
    assert len(text) < 1_000
    assert text.isprintable(), ascii(text)


@pytest.fixture
def job(scheduler: Scheduler) -> Iterator[JobFunction]:
    """A job that takes anything; after the test the store is still empty."""
    job = scheduler.job(kind="job")(lambda *args, **kwargs: None)
    yield job
    assert scheduler.store_stats().accepted == 0


# Options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["delay", "timeout", "deadline"])
def test_no_option_takes_seconds_that_are_none(job: JobFunction, name: str) -> None:
    for bad in [*odd.NO_NUMBERS, *odd.BAD_NUMBERS, -1, -5e-324]:
        refused(lambda bad=bad: job.options(**{name: bad}), f"{name}=")


@pytest.mark.parametrize("name", ["priority", "max_attempts"])
def test_no_option_takes_an_int_that_is_none(job: JobFunction, name: str) -> None:
    for bad in [*odd.NO_NUMBERS, *odd.BAD_NUMBERS, 5.0, -32769, 1_000_001]:
        refused(lambda bad=bad: job.options(**{name: bad}), f"{name}=")


def test_no_name_is_strange(job: JobFunction, scheduler: Scheduler) -> None:
    for bad in odd.BAD_NAMES:
        refused(lambda bad=bad: job.options(queue=bad), "queue=")
        refused(lambda bad=bad: scheduler.job(kind=bad)(print), "kind=")
        refused(lambda bad=bad: scheduler.job(kind="k", queue=bad)(print), "queue=")
        refused(lambda bad=bad: Scheduler(scheduler.store_url, queues=[bad]), "queues=")
        refused(lambda bad=bad: scheduler.jobs(kind=bad), "kind=")
        refused(lambda bad=bad: scheduler.jobs(queue=bad), "queue=")
    for bad in ("mail", odd.LyingText("mail"), b"mail", 5, object()):
        refused(lambda bad=bad: Scheduler(scheduler.store_url, queues=bad), "queues=")
    assert scheduler.kinds == ("job",)


def test_no_id_is_of_another_form(job: JobFunction, scheduler: Scheduler) -> None:
    good = new_id()
    for call in (
        lambda bad: job.options(id=bad),
        scheduler.handle,
        scheduler.find,
        scheduler.state,
        lambda bad: scheduler.wait(bad, 0),
        scheduler.cancel,
        lambda bad: scheduler.requeue(good, bad),
        lambda bad: scheduler.run_now(good, bad),
        lambda bad: scheduler.discard(good, bad),
        lambda bad: scheduler.jobs(after=bad),
        lambda bad: scheduler.dead_letters(after=bad),
        lambda bad: asyncio.run(scheduler.await_end(bad, 0)),
    ):
        for bad in odd.BAD_IDS:
            refused(lambda call=call, bad=bad: call(bad), "id=")


@pytest.mark.parametrize("form", [str.upper, uuid.UUID, "{{{}}}".format, "urn:uuid:{}".format])
def test_an_id_has_one_form_in_the_store(make: Callable[..., Scheduler], form: Any) -> None:
    scheduler = make()
    job, mine = scheduler.job(kind="job")(lambda: None), new_id()
    assert job.options(id=mine).enqueue() == job.options(id=form(mine)).enqueue()
    assert scheduler.find(form(mine)).id == mine
    assert [found.id for found in scheduler.jobs()] == [mine]


@pytest.mark.parametrize(
    "bad",
    [
        datetime(2030, 1, 1),  # noqa: DTZ001 - that is the point
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        YEAR_9000 + timedelta(seconds=1),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-23, minutes=-59))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59))),
    ],
    ids=str,
)
def test_no_time_is_without_a_zone_or_far_away(job: JobFunction, bad: datetime) -> None:
    refused(lambda: job.options(at=bad), "at=")
    refused(lambda: job.options(deadline=bad), "deadline=")


def test_no_setting_is_beyond_its_limits(scheduler: Scheduler) -> None:
    url = scheduler.store_url
    for bad in [*odd.NO_NUMBERS, *odd.BAD_NUMBERS, 0]:
        for name in ("workers", "lease", "interrupt_grace"):
            refused(lambda name=name, bad=bad: Scheduler(url, **{name: bad}), f"{name}=")
        refused(lambda bad=bad: scheduler.configure(workers=bad), "workers=")
        refused(lambda bad=bad: scheduler.jobs(limit=bad), "limit=")
    for bad in [*odd.NO_NUMBERS, *odd.BAD_NUMBERS, -1]:
        for name in ("stop_grace", "keep_done", "keep_ended", "dedupe_for"):
            refused(lambda name=name, bad=bad: Scheduler(url, **{name: bad}), f"{name}=")
        refused(lambda bad=bad: scheduler.stop(grace=bad), "grace=")


def test_there_are_no_more_workers_than_a_machine_has_threads(scheduler: Scheduler) -> None:
    Scheduler(scheduler.store_url, workers=10_000)
    refused(lambda: Scheduler(scheduler.store_url, workers=10_001), "workers=10001")
    refused(lambda: scheduler.configure(workers=10_001), "workers=10001")


def test_nobody_waits_for_a_time_that_is_none(scheduler: Scheduler) -> None:
    handle = scheduler.handle(new_id())
    for bad in [*odd.NO_NUMBERS, *odd.BAD_NUMBERS]:
        refused(lambda bad=bad: handle.wait(bad), "timeout=")
        refused(lambda bad=bad: scheduler.wait(handle.id, bad), "timeout=")
        refused(lambda bad=bad: scheduler.wait_until_idle(bad), "timeout=")
        refused(lambda bad=bad: asyncio.run(handle.await_end(bad)), "timeout=")


@pytest.mark.parametrize("over", [0, -1, -1e9, timedelta(milliseconds=1), timedelta(-1)], ids=str)
def test_a_wait_that_has_no_time_left_ends(scheduler: Scheduler, over: Any) -> None:
    handle = scheduler.job(kind="job")(lambda: None).options(delay=60).enqueue()
    for wait in (lambda: handle.wait(over), lambda: asyncio.run(handle.await_end(over))):
        with pytest.raises(TimeoutError):
            wait()
    with pytest.raises(TimeoutError):
        scheduler.wait_until_idle(over, include_scheduled=True)


def test_no_hook_is_not_a_function(scheduler: Scheduler) -> None:
    for name in ("on_completed", "on_retried", "on_dead", "on_expired", "on_cancelled"):
        for bad in (None, 5, "print", [print], object(), odd.Hostile()):
            refused(lambda name=name, bad=bad: getattr(scheduler, name)(bad), "hook")


def test_no_state_is_looked_for_that_there_is_not(scheduler: Scheduler) -> None:
    for bad in ("", "READY", "running", 5, b"ready", [], {}, "x" * 10_000, object()):
        refused(lambda bad=bad: scheduler.jobs(bad), "wanted one of waiting, scheduled, ready")


def test_no_backoff_has_senseless_numbers() -> None:
    for bad in [*odd.NO_NUMBERS, math.nan, math.inf, -math.inf, -1]:
        refused(lambda bad=bad: retry.fixed(bad), "seconds=")
        refused(lambda bad=bad: retry.linear(bad), "step=")
        refused(lambda bad=bad: retry.linear(1, cap=bad), "cap=")
        for name in ("base", "factor", "cap", "jitter"):
            refused(lambda name=name, bad=bad: retry.exponential(**{name: bad}), f"{name}=")


@pytest.mark.parametrize("factor", [10**300, 1e308, 3])
def test_a_backoff_of_huge_numbers_is_quick_and_has_its_cap(factor: float) -> None:
    assert retry.exponential(5, factor=factor, cap=60, jitter=0)(1_000_000, None) == 60


def test_no_outcome_has_a_delay_or_a_reason_that_is_none() -> None:
    for bad in odd.NO_NUMBERS:
        refused(lambda bad=bad: Snooze(bad), "delay=", TypeError)
        refused(lambda bad=bad: Retry(bad), "delay=", TypeError)
    for bad in (5, b"why", ["why"], object(), odd.Hostile()):
        for make in (Cancel, lambda bad: Snooze(1, bad), lambda bad: Retry(1, bad)):
            refused(lambda make=make, bad=bad: make(bad), "reason=", TypeError)


def test_a_delay_and_a_deadline_may_be_as_long_as_any(make: Callable[..., Scheduler]) -> None:
    job = make().job(kind="job")(lambda: None)
    longest = 100_000_000_000.0
    at_last = job.options(at=YEAR_9000, deadline=longest).enqueue().job()
    assert at_last.deadline >= at_last.due_at == YEAR_9000.timestamp()
    late = job.options(delay=longest, deadline=longest).enqueue().job()
    assert late.deadline - late.due_at == pytest.approx(longest)
    assert job.options(deadline=YEAR_9000, timeout=longest).enqueue().state() is State.READY


def test_enums_stand_for_their_values(make: Callable[..., Scheduler]) -> None:
    scheduler = make()
    job = scheduler.job(kind=odd.Word.MAIL)(lambda: None)
    many = [job.options(queue=odd.Word.MAIL, priority=odd.Level.HIGH).job() for _ in range(20)]
    one = many[0]._replace(id=new_id(), queue=odd.Word.MAIL, priority=odd.Level.HIGH)
    for handle in [*scheduler.enqueue_many(many), scheduler.enqueue(one)]:
        found = handle.job()
        assert (found.kind, found.queue, found.priority) == ("mail", "mail", 7)
    assert len(scheduler.jobs(kind=odd.Word.MAIL, queue=odd.Word.MAIL)) == 21


# Arguments ---------------------------------------------------------------------------------------


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


UNSTORABLE = [
    math.nan, -math.inf, 2**64, -(2**63) - 1, 10**5000, "\ud800", "a\udfff", odd.Hostile(),
    odd.Proxy(), nested(1_000), nested(100_000), odd.LyingText("x"), odd.LyingInt(2**70),
    (n for n in range(3)), iter([1]), {1, 2}, frozenset(), b"x", range(3), {1: 2}, {None: 1},
    {odd.LyingText("k"): 1}, {odd.Word.MAIL: 1}, {"\udfff": 1}, "x" * (1 << 20),
    ["x" * 1024] * 1024, Exception("x"), lambda: None, type, NotImplemented,
]  # fmt: skip


def test_arguments_that_would_not_come_back_are_refused_and_with_them_their_batch(
    job: JobFunction, scheduler: Scheduler
) -> None:
    for bad in UNSTORABLE:
        refused(lambda bad=bad: job.enqueue(bad), "arg", PayloadError)
        refused(lambda bad=bad: job.enqueue(x=bad), "arg", PayloadError)
        refused(lambda bad=bad: job.enqueue({"deep": [bad]}), "arg", PayloadError)
        with pytest.raises(PayloadError):
            scheduler.enqueue_many(job.job(value) for value in [1, 2, bad])


def test_the_path_in_an_error_can_be_read_whatever_the_keys_are(job: JobFunction) -> None:
    for key in ("a b", "\x1b[2J", "\n", "k" * 10_000, "\u202e", "", "\ud800"):
        refused(lambda key=key: job.enqueue({key: math.nan}), "args[0]", PayloadError)


def test_a_payload_of_the_largest_size_arrives_on_both_stores(
    make: Callable[..., Scheduler],
) -> None:
    scheduler = make()
    heard: list[str] = []
    job = scheduler.job(kind="job")(heard.append)
    texts = ["x" * ((1 << 20) - 9), "\U0001f600" * ((1 << 18) - 3), "\0" * ((1 << 20) // 6 - 2)]
    assert len(job.job(texts[0]).payload) == 1 << 20
    handles = scheduler.enqueue_many(job.job(text) for text in texts)
    with scheduler:
        assert [handle.wait(30) for handle in handles] == [State.DONE] * 3
    assert sorted(heard) == sorted(texts)


def test_the_handler_gets_what_was_enqueued_to_the_last_bit(make: Callable[..., Scheduler]) -> None:
    values = [
        2**64 - 1, -(2**63), 2**53 + 1, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, True, 1,
        1.0, None, "", "\0", "\x7f\u2028\ufeff\U0010ffff", "é", "e\u0301", "'; DROP TABLE jobs; --",
        {"": {"\0": []}, "a": 1, "A": 2}, [[[]]], nested(100), "\u202e", '"', "\\", "%s {} :x",
    ]  # fmt: skip
    heard: list[Any] = []
    scheduler = make(workers=1)
    job = scheduler.job(kind="job")(lambda value, *, again: heard.append((value, again)))
    scheduler.enqueue_many(job.job(value, again=value) for value in values)
    with scheduler:
        scheduler.wait_until_idle(30)
    assert repr(heard) == repr([(value, value) for value in values])


# Batches -----------------------------------------------------------------------------------------


def test_a_batch_of_something_else_is_refused(job: JobFunction, scheduler: Scheduler) -> None:
    for jobs in (None, 5, object(), "job", b"job", {"a": 1}, [None], [odd.Hostile()], job.job()):
        with pytest.raises(TypeError):
            scheduler.enqueue_many(jobs)
        with pytest.raises(TypeError):
            asyncio.run(scheduler.aenqueue_many(jobs))


def test_as_many_ids_as_anyone_may_have_are_taken_in_one_call(
    make: Callable[..., Scheduler],
) -> None:
    scheduler = make()
    job = scheduler.job(kind="job")(lambda: None)
    handle = job.options(delay=3600).enqueue()
    unknown = [new_id() for _ in range(20_000)]
    assert scheduler.run_now(*unknown, handle.id, *unknown, handle.id) == [handle.id]
    assert scheduler.requeue(*unknown) == scheduler.discard(*unknown) == []
    assert scheduler.requeue() == scheduler.run_now() == scheduler.discard() == []


def test_a_generator_that_fails_half_way_stores_nothing(
    job: JobFunction, scheduler: Scheduler
) -> None:
    def broken() -> Iterator[NewJob]:
        yield from (job.job(n) for n in range(100))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scheduler.enqueue_many(broken())


def test_no_connection_is_something_else(job: JobFunction, scheduler: Scheduler) -> None:
    for bad in (5, "postgresql://x", object(), Scheduler, [None]):
        refused(lambda bad=bad: scheduler.enqueue(job.job(), connection=bad), "connection")
        with pytest.raises(ConfigurationError), scheduler.transaction(bad):
            raise AssertionError("never here")


BY_HAND: dict[str, list[Any]] = {
    "id": [*odd.BAD_IDS[:10], None, str(uuid.uuid4()).upper(), uuid.uuid4()],
    "kind": [None, *odd.BAD_NAMES[:20]],
    "queue": [None, *odd.BAD_NAMES[:20]],
    "payload": [None, "[[],{}]", bytearray(b"[[],{}]"), memoryview(b"[[],{}]"), 5, ["x"]],
    "priority": [None, 32768, -32769, "1", True, 1.0, math.nan, odd.LyingInt(2**20)],
    "max_attempts": [None, 0, -1, 2**31, 2**64, "1", True, 1.0],
    "delay": [None, math.nan, math.inf, -1.0, 1e12, "1", True, odd.LyingFloat("nan")],
    "timeout": [math.nan, math.inf, 0.0, -1.0, 1e12, "1", True],
    "deadline": [math.nan, math.inf, -1.0, 1e12, "1", True],
    "at": [math.nan, math.inf, -1.0, 1e12, "1", True, datetime.now(UTC)],
    "deadline_at": [math.nan, -math.inf, -1.0, 1e12, "1", datetime.now(UTC)],
}


@pytest.mark.parametrize("field", BY_HAND)
def test_a_job_made_by_hand_is_checked_like_any_other(
    make: Callable[..., Scheduler], field: str
) -> None:
    scheduler = make()
    job = scheduler.job(kind="job")(lambda *args: None)
    batch = [job.job(n) for n in range(15)]
    for bad in BY_HAND[field]:
        wrong = job.job()._replace(**{field: bad})
        refused(lambda wrong=wrong: scheduler.enqueue(wrong), field, FastschedError)
        with pytest.raises(FastschedError):
            scheduler.enqueue_many([*batch, wrong])
    assert scheduler.store_stats().accepted == 0
    right = batch[0]._replace(id=new_id(), timeout=5, at=0, deadline=1, priority=odd.Level.HIGH)
    assert scheduler.enqueue(right).job().priority == 7


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "delay": st.floats() | st.integers() | st.timedeltas() | st.none(),
            "timeout": st.floats() | st.integers(-1, 10) | st.timedeltas(),
            "deadline": st.floats() | st.datetimes() | st.datetimes(timezones=st.timezones()),
            "at": st.datetimes(timezones=st.timezones() | st.none()),
            "priority": st.integers() | st.integers(-40_000, 40_000) | st.floats(),
            "max_attempts": st.integers() | st.integers(-2, 5),
            "queue": st.text(max_size=4) | st.text("abc.:/<>-_", max_size=4),
            "id": st.uuids() | st.text(max_size=36) | st.uuids().map(str),
        },
    )
)
def test_any_options_are_refused_or_make_a_job_that_is_taken(options: dict[str, Any]) -> None:
    job = SILENT.job(kind="job")(silent)
    try:
        made = job.options(**options).job()
    except ConfigurationError as error:
        readable(error)
        return
    check_new_jobs([made])


SILENT = Scheduler("sqlite:///never-opened.db")


def silent() -> None: ...
