"""What arrives on a bus is at worst a reason to look once more."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import orjson
import pytest
import redis
from builders import until
from clocks import PATIENCE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastsched import Job, Scheduler, State
from fastsched.bus import CANCEL, Hint, WakeUp
from fastsched.ids import new_id
from fastsched.job import MAX_PRIORITY, MIN_PRIORITY
from fastsched.pipe_bus import PipeBus
from fastsched.redis_bus import _packed, _unpacked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
WAKES = JSON | st.lists(st.integers(-40_000, 40_000) | st.floats(), min_size=2, max_size=2)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "from": st.text(max_size=3) | JSON,
        "wake": WAKES,
        "ended": JSON | st.lists(st.text(max_size=3), max_size=3),
        "cancel": JSON,
        "version": JSON,
    },
)


def text_of(message: Any) -> bytes:
    try:
        return orjson.dumps(message)
    except TypeError:
        return b"?"


@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=80) | (MESSAGES | JSON).map(text_of) | JSON)
@example(data=b'{"from":"x","wake":[0,1e999],"ended":null,"cancel":true}')
@example(data=b"[" * 60_000)
@example(data=b'{"from":"x","from":1,"wake":null,"ended":[],"cancel":1}')
@example(data=b"x" * 70_000)
def test_a_message_is_a_hint_or_it_is_nothing(data: Any) -> None:
    try:
        hint = _unpacked(data, "own")
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    assert type(hint.cancel) is bool
    assert hint.ended is None or all(type(job_id) is str for job_id in hint.ended)
    if hint.wake_up is not None:
        assert MIN_PRIORITY <= hint.wake_up.priority <= MAX_PRIORITY
        assert hint.wake_up.due_at == hint.wake_up.due_at
        assert type(hint.wake_up.due_at) is float


@settings(max_examples=100, deadline=None)
@given(
    hint=st.builds(
        Hint,
        st.none()
        | st.builds(
            WakeUp,
            st.integers(MIN_PRIORITY, MAX_PRIORITY),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        st.none() | st.frozensets(st.uuids().map(str), max_size=5),
        st.booleans(),
    )
)
def test_a_hint_arrives_as_it_was_sent_but_to_its_sender(hint: Hint) -> None:
    assert _unpacked(_packed(hint, "one"), "other") == hint
    assert _unpacked(_packed(hint, "one"), "one") == Hint()


# Redis -------------------------------------------------------------------------------------------


@pytest.fixture
def node(pg_url: str, redis_url: str, make_scheduler: Callable[..., Scheduler]) -> Scheduler:
    """A scheduler with a Redis, started."""
    scheduler = make_scheduler(pg_url, redis=redis_url, workers=2)
    scheduler.start()
    return scheduler


def strange_messages() -> list[bytes]:
    dice = random.Random(7)
    junk = [dice.randbytes(dice.randrange(200)) for _ in range(3_000)]
    whole = orjson.dumps({"from": "x", "wake": [5, 1.0], "ended": [new_id()], "cancel": True})
    cut = [whole[:length] for length in range(len(whole))]
    big = [b"x" * (1 << 20), b"[" * (1 << 20), orjson.dumps({"from": "x" * (1 << 20)})]
    far = [
        orjson.dumps({"from": "x", "wake": [priority, due], "ended": None, "cancel": False})
        for priority in (MIN_PRIORITY, MAX_PRIORITY)
        for due in (-1e308, 0, 1e308)
    ]
    return [*junk, *cut, *big, *far]


def test_a_flood_of_anything_delays_no_job_and_fills_no_log(
    node: Scheduler, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastsched.bus")
    job = node.job(kind="job")(lambda: None)
    with redis.Redis.from_url(redis_url) as client:
        messages = strange_messages()
        for number, message in enumerate(messages):
            client.publish("fastsched:hints", message)
            if number % 500 == 0:
                assert job.enqueue().wait(PATIENCE) is State.DONE
        later = job.options(delay=0.3).enqueue()
        for _ in range(2_000):  # of well-formed ones, by a stranger
            client.publish(
                "fastsched:hints",
                b'{"from":"x","wake":[32767,0],"ended":["a"],"cancel":true}',
            )
        assert later.wait(PATIENCE) is State.DONE
    stats = node.store_stats()
    assert (stats.done, stats.stale) == (stats.accepted, 0)
    lines = [r for r in caplog.records if r.name == "fastsched.bus"]
    assert len(lines) == 1, [r.getMessage() for r in lines]


WRONG = [None, 5, -1.5, "x", True, [], {}, [1], {"a": 1}]
STRANGE: list[dict[str, Any]] = [
    {"more": 1},
    {"failure": {"type": 1, "message": 2, "traceback": 3}},
    {"failure": {"type": "x"}},
    {"state": "ready"},
    {"id": new_id()},
    {"payload": 5},
    {"payload": None},
]


def is_whole(job: Job | None, job_id: str) -> bool:
    """Whether it is that ended job, and all its fields are of their types."""
    assert job is not None
    fields = get_type_hints(Job).items()
    return (
        job.id == job_id
        and job.state.ended
        and all(isinstance(getattr(job, name), kind) for name, kind in fields)
    )


def test_no_snapshot_of_another_form_is_believed(
    node: Scheduler, redis_url: str, make_scheduler: Callable[..., Scheduler]
) -> None:
    handle = node.job(kind="job")(lambda: None).options(delay=3600).enqueue()
    handle.cancel()
    truth = node.find(handle.id)
    assert truth is not None
    name = f"fastsched:job:{handle.id}"
    with redis.Redis.from_url(redis_url) as client:
        snapshot = orjson.loads(client.get(name))  # type: ignore[arg-type]
        for field in snapshot.keys() - {"payload"}:
            for wrong in WRONG:
                client.set(name, orjson.dumps({**snapshot, field: wrong}))
                assert is_whole(node.find(handle.id), handle.id), (field, wrong)
        for wrong in STRANGE:
            client.set(name, orjson.dumps({**snapshot, **wrong}))
            assert node.find(handle.id) == truth, wrong
        for lie in (b"", b"\xff", b"[" * 100_000, b"null", b"x" * (1 << 20)):
            client.set(name, lie)
            assert node.find(handle.id) == truth


@pytest.mark.parametrize("host", ["a" * 300, "a." * 200 + "b", "nowhere.invalid", "[fe80::1%25no]"])
def test_a_redis_that_can_be_nowhere_costs_latency_only(
    pg_url: str, make_scheduler: Callable[..., Scheduler], host: str
) -> None:
    scheduler = make_scheduler(pg_url, redis=f"redis://{host}:6379")
    job = scheduler.job(kind="job")(lambda: None)
    with scheduler:
        handle = job.enqueue()
        assert handle.wait(PATIENCE) is State.DONE
        cancelled = job.options(delay=3600).enqueue()
        cancelled.cancel()
        assert cancelled.job().state is State.CANCELLED
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith("fastsched-pub")}


# Pipes -------------------------------------------------------------------------------------------


def test_bytes_in_a_pipe_are_at_worst_a_hint(tmp_path: Path) -> None:
    heard: list[Hint] = []
    bus, other = PipeBus(tmp_path), PipeBus(tmp_path)
    bus.subscribe(heard.append)
    (pipe,) = tmp_path.glob("*.pipe")
    dice = random.Random(7)
    with open(pipe, "wb", buffering=0) as flood:
        for data in (b"\0", b"\0" * 5_000, b"\xff", b"\x80", bytes(range(256)), *junk(dice)):
            flood.write(data)
            before = len(heard)
            other.publish(CANCEL)
            until(lambda before=before: any(hint.cancel for hint in heard[before:]))
    assert all(hint.ended in (None, frozenset()) for hint in heard)
    bus.close()
    assert not list(tmp_path.iterdir())


def junk(dice: random.Random) -> list[bytes]:
    return [dice.randbytes(60_000) for _ in range(20)]


def test_what_is_no_pipe_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("unchanged")
    (tmp_path / "a.pipe").write_text("unchanged")
    (tmp_path / "b.pipe").symlink_to(precious)
    (tmp_path / "c.pipe").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d.pipe").mkdir()
    os.mkfifo(tmp_path / "e.pipe", 0o600)  # of a dead process
    bus = PipeBus(tmp_path)
    heard: list[Hint] = []
    listening = PipeBus(tmp_path)
    listening.subscribe(heard.append)
    bus.publish(CANCEL)
    until(lambda: bool(heard))
    listening.close()
    assert precious.read_text() == (tmp_path / "a.pipe").read_text() == "unchanged"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pipe", "b.pipe", "c.pipe", "d.pipe",
                                                          "precious"]  # fmt: skip
