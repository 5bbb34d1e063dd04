"""Options are checked at the door; every error says what was given and what is wanted."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsched import ConfigurationError
from fastsched.options import checked, named_all

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def test_options_become_the_fields_of_a_job():
    assert checked(
        {
            "delay": timedelta(minutes=1),
            "queue": "mail",
            "priority": -5,
            "timeout": 2,
            "deadline": 10,
            "max_attempts": 3,
        }
    ) == {
        "delay": 60.0,
        "queue": "mail",
        "priority": -5,
        "timeout": 2.0,
        "deadline": 10.0,
        "max_attempts": 3,
    }


def test_what_is_none_is_left_out():
    assert checked({"delay": None, "at": None, "priority": None, "queue": None}) == {}


def test_a_point_in_time_becomes_store_time():
    assert checked({"at": NOON}) == {"at": NOON.timestamp()}
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    assert checked({"at": east}) == {"at": NOON.timestamp()}


def test_a_deadline_is_seconds_after_due_or_a_point_in_time():
    assert checked({"deadline": 5}) == {"deadline": 5.0}
    assert checked({"deadline": NOON}) == {"deadline_at": NOON.timestamp()}


@pytest.mark.parametrize("name", ["at", "deadline"])
def test_a_time_without_a_zone_is_refused(name):
    with pytest.raises(ConfigurationError, match=rf"{name}=2030-06-01T12:00:00 has no time zone"):
        checked({name: NOON.replace(tzinfo=None)})


@pytest.mark.parametrize("given", [datetime(year, 12, 31, tzinfo=UTC) for year in (1, 1969, 9999)])
def test_a_time_far_from_now_is_refused(given):
    with pytest.raises(ConfigurationError, match="from 1970 to 9000"):
        checked({"at": given})


@pytest.mark.parametrize("given", [12.5, "2030-06-01", date(2030, 6, 1), timedelta(1)])
def test_at_takes_a_datetime_only(given):
    with pytest.raises(ConfigurationError, match="wanted an aware datetime"):
        checked({"at": given})


@pytest.mark.parametrize("name", ["delay", "timeout", "deadline"])
@pytest.mark.parametrize(
    "given",
    [-1, -0.001, timedelta(seconds=-1), math.nan, math.inf, -math.inf, 10**13, 10**400],
    ids=lambda given: str(given)[:12],
)
def test_seconds_that_are_negative_or_endless_are_refused(name, given):
    with pytest.raises(ConfigurationError, match=f"{name}="):
        checked({name: given})


@pytest.mark.parametrize("name", ["delay", "timeout", "deadline"])
@pytest.mark.parametrize("given", [True, "5", Decimal(5), [5], date(2030, 1, 1)])
def test_seconds_are_a_number_or_a_timedelta(name, given):
    with pytest.raises(ConfigurationError, match=f"{name}=.*wanted seconds or a timedelta"):
        checked({name: given})


def test_a_timeout_of_nothing_is_refused():
    assert checked({"delay": 0, "deadline": 0}) == {"delay": 0.0, "deadline": 0.0}
    with pytest.raises(ConfigurationError, match=r"from 0\.001 up"):
        checked({"timeout": 0})


def test_delay_and_at_together_are_refused():
    with pytest.raises(ConfigurationError, match="give one"):
        checked({"delay": 1, "at": NOON})


@pytest.mark.parametrize("priority", [-32768, -1, 0, 32767])
def test_priorities_go_from_end_to_end_of_16_bits(priority):
    assert checked({"priority": priority}) == {"priority": priority}


@pytest.mark.parametrize("priority", [-32769, 32768, True, 1.0, "1", math.nan])
def test_other_priorities_are_refused(priority):
    with pytest.raises(ConfigurationError, match=r"priority=.*higher first"):
        checked({"priority": priority})


@pytest.mark.parametrize("max_attempts", [0, -1, 1_000_001, True, 2.0, "2"])
def test_the_attempts_are_a_count_of_at_least_one(max_attempts):
    with pytest.raises(ConfigurationError, match=r"max_attempts=.*wanted an int from 1"):
        checked({"max_attempts": max_attempts})


@pytest.mark.parametrize("queue", ["", "a b", "a\nb", "ä", "x" * 201, "a;", "\0", 5, b"a", ["a"]])
def test_a_queue_has_a_plain_name(queue):
    with pytest.raises(ConfigurationError, match=r"queue=.*wanted 1 to 200 letters"):
        checked({"queue": queue})


def test_names_may_be_those_of_modules_and_functions():
    for name in ("default", "a.b:c", "Class.<locals>.method", "up/down-2", "x" * 200):
        assert checked({"queue": name}) == {"queue": name}


def test_a_list_of_names_is_no_string():
    assert named_all("queues", ["a", "b"]) == ("a", "b")
    with pytest.raises(ConfigurationError, match=r"wanted a list, for example \['mail'\]"):
        named_all("queues", "mail")


@settings(max_examples=100, deadline=None)
@given(st.floats() | st.integers() | st.timedeltas() | st.datetimes() | st.text(max_size=5))
def test_any_value_is_taken_as_finite_seconds_or_refused(value):
    try:
        fields = checked({"delay": value})
    except ConfigurationError:
        return
    assert type(fields["delay"]) is float
    assert 0 <= fields["delay"] < 1e12
