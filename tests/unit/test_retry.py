"""Backoffs are pure functions of the attempt, within bounds for any attempt."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched import ConfigurationError
from fastsched.retry import MAX_DELAY, clamp, exponential, fixed, linear

ATTEMPTS = st.integers(1, 10**6)
SECONDS = st.floats(0, 1e300) | st.integers(0, 10**320)
JITTERS = st.floats(0, 1)


@settings(max_examples=100, deadline=None)
@given(ATTEMPTS, SECONDS, SECONDS)
def test_no_delay_is_negative_or_above_the_limits(attempt, seconds, cap):
    assert fixed(seconds)(attempt, None) == min(seconds, MAX_DELAY)
    assert 0 <= linear(seconds, cap=cap)(attempt, None) <= min(cap, MAX_DELAY)
    assert 0 <= exponential(seconds, cap=cap)(attempt, None) <= min(cap, MAX_DELAY)


@settings(max_examples=100, deadline=None)
@given(ATTEMPTS, ATTEMPTS, st.floats(0, 1e6), st.floats(1, 1e6))
def test_without_jitter_a_later_attempt_never_waits_less(one, other, base, factor):
    earlier, later = sorted((one, other))
    for backoff in (linear(base), exponential(base, factor=factor, jitter=0)):
        assert backoff(earlier, None) <= backoff(later, None)


@settings(max_examples=100, deadline=None)
@given(ATTEMPTS, JITTERS)
def test_jitter_takes_away_no_more_than_its_share(attempt, jitter):
    full = exponential(jitter=0)(attempt, None)
    delay = exponential(jitter=jitter)(attempt, None)
    assert full * (1 - jitter) * (1 - 1e-12) <= delay <= full


def test_jitter_spreads():
    backoff = exponential(100, jitter=0.5)
    assert len({backoff(1, None) for _ in range(20)}) > 15
    assert {exponential(100, jitter=0)(1, None) for _ in range(20)} == {100}


def test_the_exponential_backoff_doubles_up_to_an_hour():
    backoff = exponential(jitter=0)
    assert [backoff(attempt, None) for attempt in (1, 2, 3, 12, 13, 10**6)] == [
        1, 2, 4, 2048, 3600, 3600,
    ]  # fmt: skip


def test_the_linear_backoff_grows_by_its_step_up_to_its_cap():
    backoff = linear(10, cap=25)
    assert [backoff(attempt, None) for attempt in (1, 2, 3, 4)] == [10, 20, 25, 25]


def test_a_base_of_zero_never_waits():
    assert exponential(0)(1, None) == exponential(0)(10**6, None) == 0


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, -math.inf, "5", None, timedelta(1)])
def test_senseless_seconds_are_refused(seconds):
    for make in (fixed, linear, exponential):
        with pytest.raises(ConfigurationError, match="wanted a number of seconds"):
            make(seconds)
    with pytest.raises(ConfigurationError, match="cap="):
        linear(1, cap=seconds)
    with pytest.raises(ConfigurationError, match="cap="):
        exponential(1, cap=seconds)


@pytest.mark.parametrize("factor", [0.99, 0, -1, math.nan, math.inf])
def test_a_factor_that_shrinks_is_refused(factor):
    with pytest.raises(ConfigurationError, match="at least 1"):
        exponential(factor=factor)


@pytest.mark.parametrize("jitter", [-0.1, 1.1, math.nan])
def test_a_jitter_outside_of_0_to_1_is_refused(jitter):
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        exponential(jitter=jitter)


@settings(max_examples=100, deadline=None)
@given(st.floats() | st.integers())
def test_a_clamped_delay_is_one_that_the_store_can_take(seconds):
    delay = clamp(seconds)
    assert type(delay) is float
    assert 0 <= delay <= MAX_DELAY
    if 0 <= seconds <= MAX_DELAY:
        assert delay == seconds
