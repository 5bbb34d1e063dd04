"""An exception from outside is raised in the armed stretch, or not at all."""

from __future__ import annotations

import itertools
import queue
import random
import sys
import threading

import pytest
from builders import in_thread
from clocks import PATIENCE

from fastsched import interrupt
from fastsched.errors import JobCancelled, JobTimeout
from fastsched.interrupt import Armed

TRIALS = 20_000


def endless():
    for _ in itertools.count():
        pass


def armed_thread(handed_over, body):
    """Run `body` as an armed stretch in a thread of its own."""

    def stretch():
        armed = Armed()
        try:
            handed_over.put(armed)
            return body()
        finally:
            armed.disarm()

    return in_thread(stretch)


def test_a_throw_is_raised_in_the_armed_thread():
    handed_over = queue.SimpleQueue()
    result = armed_thread(handed_over, endless)
    assert handed_over.get(timeout=PATIENCE).throw(JobTimeout)
    with pytest.raises(JobTimeout):
        result.get()


def test_only_the_first_throw_counts():
    handed_over, caught, go_on = queue.SimpleQueue(), threading.Event(), threading.Event()

    def body():
        try:
            endless()
        except JobTimeout:
            caught.set()
        return go_on.wait(PATIENCE)

    result = armed_thread(handed_over, body)
    armed = handed_over.get(timeout=PATIENCE)
    assert armed.throw(JobTimeout)
    assert caught.wait(PATIENCE)
    assert not armed.throw(JobCancelled)
    go_on.set()
    assert result.get()


def test_nothing_is_thrown_once_disarmed():
    armed = Armed()
    armed.disarm()
    assert not armed.throw(JobTimeout)


# A throw and a disarm that meet ------------------------------------------------------------------


class Token(list):
    """The token, with something that happens before or after it is popped."""

    before = after = staticmethod(lambda: None)

    def pop(self):
        self.before()
        token = super().pop()
        self.after()
        return token


class Meeting:
    """An armed stretch in one thread, and a throw in another that is held up on its way."""

    def __init__(self):
        self.armed = queue.SimpleQueue()
        self.thrown = False
        self.end_stretch = threading.Event()
        self.disarmed = threading.Event()

    def stretch_and_after(self):
        """What became of the exception."""
        raised = False
        try:
            try:
                armed = Armed()
                try:
                    armed._token = Token(armed._token)
                    self.armed.put(armed)
                    while not self.end_stretch.is_set():
                        pass
                finally:
                    armed.disarm()
            except JobTimeout:
                raised = True
            self.disarmed.set()
            while not self.thrown:
                pass
            for _ in range(1_000):  # what is still pending is raised here
                pass
        except JobTimeout:
            return "leaked"
        return "raised" if raised else "undisturbed"

    def hold_up(self):
        """Hold the throw up until the disarm is over, or long enough to see it wait."""
        self.end_stretch.set()
        self.disarmed.wait(0.02)


@pytest.mark.parametrize("held_up", ["before it", "with the token", "with the exception sent"])
def test_a_disarm_in_the_middle_of_a_throw_leaks_nothing(monkeypatch, held_up):
    send = interrupt._set_async_exc

    def send_and_hold_up(*args):
        send(*args)
        meeting.hold_up()

    for _ in range(20):
        meeting = Meeting()
        worker = in_thread(meeting.stretch_and_after)
        armed = meeting.armed.get(timeout=PATIENCE)
        match held_up:
            case "before it":
                meeting.hold_up()
            case "with the token":
                armed._token.after = meeting.hold_up
            case _:
                monkeypatch.setattr(interrupt, "_set_async_exc", send_and_hold_up)
        thrown = armed.throw(JobTimeout)
        meeting.thrown = True
        assert thrown == (held_up != "before it")
        assert worker.get() in ({"raised", "undisturbed"} if thrown else {"undisturbed"})


def test_a_throw_in_the_middle_of_a_disarm_leaks_nothing():
    for _ in range(20):
        meeting = Meeting()
        worker = in_thread(meeting.stretch_and_after)
        armed = meeting.armed.get(timeout=PATIENCE)
        disarming, thrown = threading.Event(), queue.SimpleQueue()

        def meet(disarming=disarming, thrown=thrown):
            disarming.set()
            thrown.get(timeout=PATIENCE)

        armed._token.before = meet
        meeting.end_stretch.set()
        assert disarming.wait(PATIENCE)
        armed._token.before = Token.before
        assert armed.throw(JobTimeout)
        thrown.put(None)
        meeting.thrown = True
        assert worker.get() == "raised"


@pytest.fixture
def eager_switching():
    """Threads take turns at almost every bytecode."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_switching")
def test_random_meetings_leak_nothing():
    handed_over: queue.SimpleQueue[Armed | None] = queue.SimpleQueue()
    thrown = [0]

    def throw_at_all():
        for armed in iter(handed_over.get, None):
            for _ in range(random.randrange(40)):
                pass
            thrown[0] += armed.throw(JobTimeout)

    def work():
        raised = leaked = 0
        for _ in range(TRIALS):
            long, after = random.randrange(30), random.randrange(100)
            try:
                try:
                    armed = Armed()
                    try:
                        handed_over.put(armed)
                        for _ in range(long):
                            pass
                    finally:
                        armed.disarm()
                except JobTimeout:
                    raised += 1
                for _ in range(after):  # the code after it: never interrupted
                    pass
            except JobTimeout:
                leaked += 1
        handed_over.put(None)
        return raised, leaked

    thrower, worker = in_thread(throw_at_all), in_thread(work)
    raised, leaked = worker.get()
    thrower.get()
    assert leaked == 0
    assert raised <= thrown[0]
