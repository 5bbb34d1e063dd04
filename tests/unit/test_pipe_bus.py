"""Hints between the processes of one machine, through named pipes."""

from __future__ import annotations

import contextlib
import os
import queue

import pytest
from builders import until
from clocks import PATIENCE

from fastsched.bus import CANCEL, WORK, Hint, WakeUp
from fastsched.pipe_bus import PipeBus

ENDED = Hint(ended=frozenset({"a"}))


@pytest.fixture
def bus(tmp_path):
    """Makes buses on one folder; they are closed after the test."""
    made = []

    def make():
        made.append(PipeBus(tmp_path / "jobs.db.d"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def pipes(tmp_path):
    return lambda: sorted(path.name for path in (tmp_path / "jobs.db.d").glob("*.pipe*"))


def listening(bus):
    heard = queue.SimpleQueue()
    bus.subscribe(heard.put)
    return heard


@pytest.mark.parametrize("hint", [WORK, CANCEL, ENDED, WORK | CANCEL | ENDED], ids=str)
def test_the_others_hear_a_hint_without_its_details(bus, hint):
    sender, one, other = bus(), bus(), bus()
    heard = [listening(one), listening(other)]
    own = listening(sender)
    sender.publish(hint)
    for each in heard:
        got = each.get(timeout=PATIENCE)
        assert (got.wake_up is None) == (hint.wake_up is None)
        assert got.cancel == hint.cancel
        assert got.ended == (None if hint.ended else frozenset())  # some: not said which
    assert own.empty()


def test_a_wake_up_from_a_pipe_says_nothing_of_priority_or_time(bus):
    heard = listening(bus())
    bus().publish(Hint(wake_up=WakeUp(priority=-5, due_at=1e12)))
    assert heard.get(timeout=PATIENCE).wake_up == WakeUp()


def test_hints_that_gather_are_heard_as_one(bus):
    receiver, sender = bus(), bus()
    heard = queue.SimpleQueue()
    may_go_on = queue.SimpleQueue()

    def receive(hint):
        heard.put(hint)
        may_go_on.get(timeout=PATIENCE)

    receiver.subscribe(receive)
    sender.publish(WORK)
    assert heard.get(timeout=PATIENCE).wake_up is not None
    for hint in (WORK, CANCEL, ENDED):
        sender.publish(hint)
    may_go_on.put(None)
    gathered = heard.get(timeout=PATIENCE)
    assert gathered.wake_up is not None
    assert gathered.cancel
    assert gathered.ended is None
    may_go_on.put(None)
    assert heard.empty()


def test_publishing_where_nobody_ever_listened_is_no_error(bus):
    bus().publish(WORK)


def test_publishing_never_blocks_on_a_full_pipe(bus, pipes, tmp_path):
    receiver, sender = bus(), bus()
    may_go_on = queue.SimpleQueue()
    receiver.subscribe(lambda hint: may_go_on.get(timeout=PATIENCE))
    pipe = os.open(tmp_path / "jobs.db.d" / pipes()[0], os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"\1" * 4096):
            pass
    for _ in range(10):
        sender.publish(WORK)
    os.close(pipe)
    for _ in range(1_000):
        may_go_on.put(None)


def test_a_pipe_that_nobody_reads_is_removed(bus, pipes, tmp_path):
    receiver, sender = bus(), bus()
    heard = listening(receiver)
    dead = tmp_path / "jobs.db.d" / "dead.pipe"
    os.mkfifo(dead)
    sender.publish(WORK)
    assert heard.get(timeout=PATIENCE)
    assert not dead.exists()
    assert len(pipes()) == 1


def test_a_pipe_that_cannot_be_opened_just_now_is_kept(bus, pipes, monkeypatch):
    receiver, sender = bus(), bus()
    heard = listening(receiver)

    def no_more_files(*args, **kwargs):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_more_files)
        sender.publish(WORK)
    assert len(pipes()) == 1
    sender.publish(WORK)
    assert heard.get(timeout=PATIENCE)


def test_a_receiver_that_fails_hears_the_next_hint(bus, caplog):
    receiver, sender = bus(), bus()
    heard = queue.SimpleQueue()

    def receive(hint):
        heard.put(hint)
        raise RuntimeError("broken receiver")

    receiver.subscribe(receive)
    for _ in range(2):
        sender.publish(WORK)
        assert heard.get(timeout=PATIENCE)
    until(lambda: caplog.text.count("RuntimeError: broken receiver") == 2)


def test_closing_removes_the_pipe_and_may_be_done_twice(bus, pipes):
    receiver, sender = bus(), bus()
    heard = listening(receiver)
    assert len(pipes()) == 1
    receiver.close()
    receiver.close()
    assert pipes() == []
    sender.publish(WORK)
    assert heard.empty()


def test_closing_lets_go_of_files_and_threads(bus):
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(5):
        each = bus()
        each.subscribe(lambda hint: None)
        each.publish(WORK)
        each.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_hints_join():
    one, other = WakeUp(priority=3, due_at=20.0), WakeUp(priority=5, due_at=30.0)
    assert (Hint(one) | Hint(other)).wake_up == WakeUp(priority=5, due_at=20.0)
    assert (Hint(one) | CANCEL) == Hint(one, cancel=True)
    assert (ENDED | Hint(ended=frozenset({"b"}))).ended == {"a", "b"}
    assert (ENDED | Hint(ended=None)).ended is None
    assert not Hint()
    assert not (Hint() | Hint())
    assert all((WORK, CANCEL, ENDED, Hint(ended=None)))
