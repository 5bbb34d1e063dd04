"""Simulated threads do what real ones do, also what those do once in a million."""

from __future__ import annotations

import threading
from random import Random

import pytest

from fastsched import backlog
from fastsched.backlog import Backlog
from fastsched.clock import SystemClock
from simulation.locks import EPOCH, Condition, Lock, RLock
from simulation.threads import Process, Stuck, World


@pytest.fixture
def make_world():
    worlds = []

    def make(seed=0, **knobs):
        worlds.append(World(Random(seed), **{"restless": 0.5, **knobs}))
        return worlds[-1]

    yield make
    for world in worlds:
        world.end()


def run_all(world, *functions):
    """Run functions as threads of one process until all have ended."""
    process = Process("p", 1)
    threads = [world.spawn(process, function, f"t{n}") for n, function in enumerate(functions)]
    assert world.run(lambda: all(thread.ended for thread in threads), world.now + 1e6)
    return process


def test_time_jumps_to_the_next_timer(make_world):
    world, woke = make_world(), []

    def sleeper(seconds):
        world.sleep(seconds)
        woke.append((seconds, world.now - EPOCH))

    run_all(world, *[lambda s=s: sleeper(s) for s in (3600.0, 60.0, 86_400.0)])
    assert woke == [(60.0, 60.0), (3600.0, 3600.0), (86_400.0, 86_400.0)]


def test_threads_that_wait_for_each_other_for_ever_are_found(make_world):
    def deadlocks(seed):
        world = make_world(seed)
        one, two = Lock(world), Lock(world)

        def take(first, second):
            with first, second:
                pass

        try:
            run_all(world, lambda: take(one, two), lambda: take(two, one))
        except Stuck as stuck:
            return "p/t0, p/t1" in str(stuck)
        return False

    assert len({deadlocks(seed) for seed in range(30)}) == 2  # some do, some do not


@pytest.mark.parametrize("make_lock", [Lock, RLock, Condition])
def test_a_lock_keeps_others_out_and_without_it_updates_are_lost(make_world, make_lock):
    def counted(seed, locked):
        world = make_world(seed)
        lock, total = make_lock(world), [0]

        def add():
            for _ in range(5):
                if locked:
                    with lock:
                        step()
                else:
                    step()

        def step():
            before = total[0]
            world.point()
            total[0] = before + 1

        run_all(world, add, add, add)
        return total[0]

    assert {counted(seed, locked=True) for seed in range(20)} == {15}
    assert min(counted(seed, locked=False) for seed in range(20)) < 15


def test_a_notification_wakes_one_waiter_and_a_timeout_wakes_the_rest(make_world):
    world, woken = make_world(), []
    condition = Condition(world)

    def wait():
        with condition:
            woken.append(condition.wait(10.0))

    def notify():
        world.sleep(1.0)
        with condition:
            condition.notify()

    run_all(world, wait, wait, wait, notify)
    assert sorted(woken) == [False, False, True]
    assert world.now - EPOCH == pytest.approx(10.0, abs=0.1)


def test_one_that_has_timed_out_may_swallow_a_notification(make_world):
    def woken(seed):
        world, told = make_world(seed), []
        condition = Condition(world)

        def wait(seconds):
            with condition:
                told.append(condition.wait(seconds))

        def notify():
            world.sleep(1.0)
            with condition:
                condition.notify()

        run_all(world, lambda: wait(1.0), lambda: wait(5.0), notify)
        return any(told)

    assert len({woken(seed) for seed in range(100)}) == 2


def test_the_dead_take_no_further_step_and_the_frozen_none_until_they_thaw(make_world):
    world, steps = make_world(), []
    dead, frozen = Process("dead", 1), Process("frozen", 2)

    def tick(process):
        while True:
            world.sleep(1.0)
            steps.append((process, world.now - EPOCH))

    world.spawn(dead, lambda: tick(dead), "t")
    world.spawn(frozen, lambda: tick(frozen), "t")
    world.at(EPOCH + 2.5, lambda: world.kill(dead))
    world.at(EPOCH + 3.5, lambda: world.pause(frozen))
    world.at(EPOCH + 9.5, lambda: world.resume(frozen))
    world.run(lambda: False, EPOCH + 11.0)
    assert [at for process, at in steps if process is dead] == [1.0, 2.0]
    assert [at for process, at in steps if process is frozen] == [1.0, 2.0, 3.0, 9.5, 10.5]


def test_an_exception_that_ends_a_thread_is_told(make_world):
    world = make_world()
    error = ValueError("x")

    def fail():
        raise error

    run_all(world, fail)
    assert world.broken == [("p/t0", error)]


@pytest.mark.parametrize("fine", [False, True])
def test_in_a_fine_world_there_is_a_point_before_every_statement(make_world, fine):
    world = make_world(fine=fine)
    before = {function: function.__code__ for function in (Backlog.take, Backlog.add)}
    seen = []
    world.step = lambda: seen.append(world.current)
    with world.stands_in():
        waiting = Backlog(SystemClock())
        run_all(world, lambda: waiting.add([]), waiting.close)
    assert bool(seen) is fine
    assert before == {function: function.__code__ for function in before}
    assert backlog.threading is threading
