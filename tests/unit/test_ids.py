"""Ids are UUIDs of version 7: sorted by creation, never the same twice."""

from __future__ import annotations

import os
import uuid

import pytest
from builders import in_threads

from fastsched import ConfigurationError, ids
from fastsched.ids import check_id, new_id


def test_an_id_is_a_uuid_of_version_7_in_its_usual_form():
    for _ in range(1_000):
        given = new_id()
        parsed = uuid.UUID(given)
        assert str(parsed) == given
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_ids_tell_when_they_were_made(monkeypatch):
    monkeypatch.setattr(ids, "epoch_ns", lambda: 1_700_000_000_123_456_789)
    assert uuid.UUID(new_id()).int >> 80 == 1_700_000_000_123


def test_ids_made_later_sort_later(monkeypatch):
    now = 1_700_000_000_000_000_000
    made = []
    for step in (0, 250, 250, 1_000, 999_999, 1_000_000, 10**9, 10**15):
        now += step
        monkeypatch.setattr(ids, "epoch_ns", lambda: now)  # noqa: B023 - called at once
        made.append(new_id())
    assert made == sorted(made)


def test_threads_never_make_the_same_id():
    made = in_threads(8, lambda _: [new_id() for _ in range(3_000)])
    assert len({each for part in made for each in part}) == 24_000


def test_ids_differ_even_at_the_same_nanosecond(monkeypatch):
    monkeypatch.setattr(ids, "epoch_ns", lambda: 1_700_000_000_000_000_000)
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_a_fork_makes_ids_of_its_own(monkeypatch):
    monkeypatch.setattr(ids, "epoch_ns", lambda: 1_700_000_000_000_000_000)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id().encode())
        os._exit(0)
    mine = new_id()
    os.waitpid(child, 0)
    other = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    assert uuid.UUID(other).version == 7
    assert other[:13] == mine[:13]  # the same moment
    assert other != mine


def test_a_given_id_is_brought_into_its_usual_form():
    given = uuid.uuid4()
    for form in (given, str(given), str(given).upper(), given.hex, given.urn, f"{{{given}}}"):
        assert check_id(form) == str(given)


@pytest.mark.parametrize("given", ["", "1", "not-a-uuid", "g" * 32, None, 5, b"x" * 16, [1]])
def test_what_is_no_uuid_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"is not a UUID; give a uuid\.UUID"):
        check_id(given)
