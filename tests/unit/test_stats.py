"""Rates over the last seconds, and the numbers of a whole store."""

from __future__ import annotations

import pytest

from fastsched import State, StoreStats
from fastsched.stats import Meter
from fastsched.stores.base import Counts


@pytest.fixture
def meter(clock):
    return Meter(clock)


def test_nothing_happened_yet(meter):
    assert meter.rate() == 0


def test_the_first_second_counts_as_a_whole_one(meter, clock):
    meter.count(5)
    assert meter.rate() == 5
    clock.advance(0.5)
    meter.count(5)
    assert meter.rate() == 10


def test_the_rate_is_over_the_time_since_the_beginning_while_that_is_short(meter, clock):
    for _ in range(4):
        meter.count(10)
        clock.advance(1)
    assert meter.rate() == 10


def test_the_rate_is_over_ten_seconds_and_forgets_what_is_older(meter, clock):
    for n in range(120):
        meter.count(n < 60)
        if 40 < n < 60:
            assert meter.rate() == pytest.approx(4, rel=0.04)
        clock.advance(0.25)
    assert meter.rate() == 0
    for _ in range(30):
        meter.count(7)
        clock.advance(1)
        assert meter.rate() <= 7
    assert meter.rate() == 7
    clock.advance(5)
    assert 2 < meter.rate() < 4
    clock.advance(10)
    assert meter.rate() == 0


def test_a_pause_is_part_of_the_rate(meter, clock):
    clock.advance(100)
    meter.count(45)
    assert meter.rate() == 5  # over nine seconds and the one that begins


def test_looking_changes_nothing(meter):
    meter.count(3)
    assert [meter.rate() for _ in range(5)] == [3] * 5


def test_the_numbers_of_a_store_come_from_its_counts():
    counts = Counts(
        states={State.READY: 3, State.CLAIMED: 2, State.SCHEDULED: 1, State.DEAD: 4},
        totals={"accepted": 20, "done": 8, "dead": 5, "cancelled": 1, "retry": 9},
    )
    stats = StoreStats.of(counts, (), 100.0)
    assert stats.live == 6
    assert stats.accepted == stats.done + stats.dead + stats.cancelled + stats.expired + stats.live
    assert (stats.retried, stats.dead_letters, stats.waiting, stats.stale) == (9, 4, 0, 0)


def test_two_looks_at_a_store_give_a_rate():
    def at(seconds, accepted, done):
        totals = {"accepted": accepted, "done": done}
        return StoreStats.of(Counts(states={}, totals=totals), (), seconds)

    earlier, later = at(100.0, 50, 40), at(104.0, 70, 80)
    assert later.accepted_per_second(earlier) == 5
    assert later.done_per_second(earlier) == 10
    assert later.done_per_second(later) == 0
