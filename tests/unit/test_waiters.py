"""Threads that wait for the end of jobs are woken by news, or look for themselves."""

from __future__ import annotations

import threading

import pytest
from builders import in_thread, in_threads, until
from clocks import PATIENCE

from fastsched.waiters import RECHECK, Waiters


@pytest.fixture
def waiters(clock):
    return Waiters(clock)


def test_what_has_happened_needs_no_waiting(waiters):
    assert waiters.until(lambda: True, None)
    assert waiters.until(lambda: True, 0)


def test_what_has_not_happened_in_time_is_false(waiters, clock):
    assert not waiters.until(lambda: False, 0)
    waiting = in_thread(waiters.until, lambda: False, 0.5)
    assert clock.until_waiting(1) == [0.5]
    clock.advance(0.5)
    assert waiting.get() is False


@pytest.mark.parametrize("news", [None, frozenset({"a", "b"})])
def test_news_of_a_job_wakes_who_waits_for_it(waiters, clock, news):
    happened = threading.Event()
    waiting = in_thread(waiters.until, happened.is_set, None, "a")
    clock.until_waiting(1)
    happened.set()
    waiters.tell(news)
    assert waiting.get() is True


def test_news_of_any_job_wakes_who_waits_for_all(waiters, clock):
    happened = threading.Event()
    waiting = in_thread(waiters.until, happened.is_set, None)
    clock.until_waiting(1)
    happened.set()
    waiters.tell(frozenset({"x"}))
    assert waiting.get() is True


def test_news_of_other_jobs_asks_nothing_of_the_store(waiters, clock):
    looks = []
    happened = threading.Event()

    def look():
        looks.append(1)
        return happened.is_set()

    waiting = in_thread(waiters.until, look, None, "a")
    clock.until_waiting(1)
    for _ in range(10):
        waiters.tell(frozenset({"b", "c"}))
    assert len(looks) == 1
    happened.set()
    waiters.tell(frozenset({"a"}))
    assert waiting.get()
    assert len(looks) == 2


def test_lost_news_cost_a_second(waiters, clock):
    happened = threading.Event()
    waiting = in_thread(waiters.until, happened.is_set, None, "a")
    assert clock.until_waiting(1) == [RECHECK]
    happened.set()
    clock.advance(RECHECK)
    assert waiting.get() is True


def test_news_that_come_while_a_thread_looks_are_not_missed(waiters):
    looking, told = threading.Event(), threading.Event()
    looks = []

    def look():
        looks.append(1)
        if len(looks) == 1:
            looking.set()
            assert told.wait(PATIENCE)
            return False
        return True

    waiting = in_thread(waiters.until, look, None, "a")
    assert looking.wait(PATIENCE)
    waiters.tell(frozenset({"a"}))
    told.set()
    assert waiting.get() is True  # at once: the clock stands still


def test_what_a_look_raises_reaches_who_waits_and_nobody_else(waiters, clock):
    with pytest.raises(ZeroDivisionError):
        waiters.until(lambda: 1 / 0, None, "a")
    happened = threading.Event()
    waiting = in_thread(waiters.until, happened.is_set, None, "a")
    clock.until_waiting(1)
    happened.set()
    waiters.tell(frozenset({"a"}))
    assert waiting.get()


def test_many_threads_are_all_woken(waiters):
    ended = set()

    def work(number):
        if number >= 8:
            for n in range(number - 8, 400, 2):
                ended.add(str(n))
                waiters.tell(frozenset({str(n)}))
            return True
        return all(
            waiters.until(lambda n=n: str(n) in ended, PATIENCE, str(n)) for n in range(0, 400, 5)
        )

    assert in_threads(10, work) == [True] * 10
    until(lambda: not waiters._waiting, "forgetting who waited")
