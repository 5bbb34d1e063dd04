"""An exception from outside is raised in the armed stretch, or not at all."""

from __future__ import annotations

import itertools
import queue
import sys
import threading
from collections import Counter

import pytest

from builders import in_thread
from clocks import PATIENCE
from fastsched.errors import JobCancelled, JobTimeout
from fastsched.interrupt import Armed

TRIALS = 100_000


@pytest.fixture
def eager_switching():
    """Threads take turns at almost every bytecode."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


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
    handed_over = queue.SimpleQueue()
    caught = threading.Event()

    def body():
        try:
            endless()
        except JobTimeout:
            caught.set()
        assert not more.wait(0.05)  # a second one would end this
        return "undisturbed"

    more = threading.Event()
    result = armed_thread(handed_over, body)
    armed = handed_over.get(timeout=PATIENCE)
    assert armed.throw(JobTimeout)
    assert caught.wait(PATIENCE)
    assert not armed.throw(JobCancelled)
    assert result.get() == "undisturbed"


def test_nothing_is_thrown_once_disarmed():
    armed = Armed()
    armed.disarm()
    assert not armed.throw(JobTimeout)


@pytest.mark.usefixtures("eager_switching")
def test_no_exception_ever_leaks_out_of_its_stretch():
    """Races of throw and disarm in stretches so short that they meet at every bytecode of both."""
    handed_over: queue.SimpleQueue[Armed | None] = queue.SimpleQueue()
    thrown = Counter()

    def throw_at_all():
        for number, armed in enumerate(iter(handed_over.get, None)):
            for _ in range(number % 7):
                pass
            thrown[armed.throw(JobTimeout)] += 1

    def work():
        raised = leaked = trial = 0
        while trial < TRIALS or min(raised, thrown[True], thrown[False]) < 100:
            trial += 1
            try:
                try:
                    armed = Armed()
                    try:
                        handed_over.put(armed)
                        for _ in range(trial % 50):
                            pass
                    finally:
                        armed.disarm()
                except JobTimeout:
                    raised += 1
                for _ in range(trial % 20):  # the code after it: never interrupted
                    pass
            except JobTimeout:
                leaked += 1
        handed_over.put(None)
        return trial, raised, leaked

    thrower, worker = in_thread(throw_at_all), in_thread(work)
    trials, raised, leaked = worker.get()
    thrower.get()
    assert leaked == 0
    assert thrown.total() == trials
    assert raised <= thrown[True]
