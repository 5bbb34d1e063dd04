"""Whatever a handler returns or raises is an end of its job; the worker goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from clocks import PATIENCE

from fastsched import Cancel, Retry, Scheduler, Snooze, State
from fastsched.retry import fixed
from input import odd


class LyingMeta(type):
    """A class that will not say its name, nor who belongs to it."""

    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__name__", "__module__"):
            raise RuntimeError("no name")
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("who knows")

    def __subclasscheck__(cls, other: type) -> bool:
        raise RuntimeError("who knows")


class Nameless(Exception, metaclass=LyingMeta):
    pass


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("shown")

    __repr__ = __str__


class Recursive(Exception):
    def __str__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Later(Snooze):
    """A user's own kind of outcome."""


def in_a_circle() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


RETURNED: list[Callable[[], Any]] = [
    odd.Hostile, odd.Proxy, lambda: odd.Hostile, lambda: Nameless, lambda: odd.LyingText("x"),
    lambda: (n for n in range(3)), lambda: "x" * 10_000_000, lambda: float("nan"), object,
    lambda: Snooze, lambda: NotImplemented, lambda: State.DEAD, lambda: [Snooze(1)],
]  # fmt: skip
RAISED: list[Callable[[], BaseException]] = [
    Nameless, Unspeakable, Recursive, in_a_circle, lambda: ValueError(odd.Hostile()),
    lambda: ValueError("\0\ud800\x1b[2J\u202e\n"), lambda: ValueError("x" * 10_000_000),
    lambda: ExceptionGroup("group", [Unspeakable(), in_a_circle()]), lambda: SystemExit(3),
    lambda: GeneratorExit(), lambda: KeyboardInterrupt(), lambda: StopIteration(5),
    lambda: RecursionError("deep"), lambda: MemoryError(),
    lambda: UnicodeDecodeError("a", b"", 0, 1, "x"), lambda: type("E" * 10_000, (Exception,), {})(),
    lambda: type("\x1b[2J\n", (Exception,), {})(),
]  # fmt: skip


@pytest.fixture
def scheduler(make: Callable[..., Scheduler]) -> Scheduler:
    return make(workers=1)


def test_what_is_returned_is_dropped_and_not_even_looked_at(scheduler: Scheduler) -> None:
    job = scheduler.job(kind="job", max_attempts=1)(lambda number: RETURNED[number]())
    handles = scheduler.enqueue_many(job.job(number) for number in range(len(RETURNED)))
    with scheduler:
        assert {handle.wait(PATIENCE) for handle in handles} == {State.DONE}


def test_whatever_is_raised_becomes_a_failure_in_words(scheduler: Scheduler) -> None:
    def work(number: int) -> None:
        raise RAISED[number]()

    job = scheduler.job(kind="job", max_attempts=1)(work)
    handles = scheduler.enqueue_many(job.job(number) for number in range(len(RAISED)))
    with scheduler:
        assert {handle.wait(PATIENCE) for handle in handles} == {State.DEAD}
    for handle in handles:
        found = handle.job()
        for text in (found.failure.type, found.failure.message, found.failure.traceback):
            assert len(text) < 17_000
            assert "\0" not in text
            text.encode()


ENDLESS = "\0\ud800" * 50_000
OUTCOMES: list[tuple[Any, State]] = [
    (Snooze(float("nan")), State.SCHEDULED),
    (Snooze(float("inf")), State.SCHEDULED),
    (Snooze(10**400), State.SCHEDULED),
    (Snooze(9e9, ENDLESS), State.SCHEDULED),
    (Snooze(3600, odd.LyingText("\0")), State.SCHEDULED),
    (Later(3600), State.SCHEDULED),
    (Retry(float("nan")), State.SCHEDULED),
    (Retry(10**400, ENDLESS), State.SCHEDULED),
    (Cancel(ENDLESS), State.CANCELLED),
    (Cancel(odd.LyingText("\0")), State.CANCELLED),
]


def test_an_outcome_of_odd_numbers_or_words_is_one_that_the_store_takes(
    scheduler: Scheduler,
) -> None:
    job = scheduler.job(kind="job")(lambda number: OUTCOMES[number][0])
    handles = scheduler.enqueue_many(job.job(number) for number in range(len(OUTCOMES)))
    with scheduler:
        scheduler.wait_until_idle(PATIENCE)
    assert [handle.state() for handle in handles] == [state for _, state in OUTCOMES]
    for handle in handles:
        reason = handle.job().reason
        assert reason is None or (len(reason) < 2_100 and "\0" not in reason)


@pytest.mark.parametrize("classes", ["retry_on", "give_up_on"])
def test_a_class_that_cannot_say_who_belongs_to_it_ends_the_job_and_not_the_worker(
    scheduler: Scheduler, classes: str
) -> None:
    def work() -> None:
        raise ValueError("no luck")

    decide = LyingMeta("Decide", (Exception,), {})
    job = scheduler.job(kind="job", max_attempts=5, **{classes: (decide,)})(work)
    with scheduler:
        assert job.enqueue().wait(PATIENCE) is State.DEAD
        assert job.enqueue().wait(PATIENCE) is State.DEAD


@pytest.mark.parametrize(
    "answer", [float("nan"), float("inf"), -5, 10**400, "5", b"5", [5], True, odd.LyingFloat("nan"),
               object(), odd.Hostile()], ids=lambda answer: type(answer).__name__,
)  # fmt: skip
def test_whatever_a_backoff_answers_the_job_is_tried_again_or_dead(
    scheduler: Scheduler, answer: Any
) -> None:
    def work() -> None:
        raise ValueError("no luck")

    job = scheduler.job(kind="job", max_attempts=2, backoff=lambda attempt, error: answer)(work)
    good = scheduler.job(kind="good", backoff=fixed(0))(lambda: None)
    handle = job.enqueue()
    with scheduler:
        good.enqueue().wait(PATIENCE)
        scheduler.wait_until_idle(PATIENCE)
    assert handle.state() in (State.SCHEDULED, State.DEAD)
