"""Processes are killed at random moments; nothing is lost, and nothing runs twice unexplained."""

from __future__ import annotations

import random

import pytest
from history import History

from durability.lab import Lab


def kill_loop(
    lab: Lab,
    dice: random.Random,
    *,
    jobs: int,
    kills: int,
    workers: int,
    producers_too: bool = False,
    look_each_time: bool = False,
) -> None:
    """Produce and kill side by side, then heal, drain and check."""
    crowd = [lab.worker() for _ in range(workers)]
    producer = lab.spawn("producer")
    for n in range(kills):
        producer.tell("enqueue", -(-jobs // kills))
        kill_producer = producers_too and n % 4 == 3
        if kill_producer:
            producer.lives_for(dice.uniform(0.0, 0.05))
            producer.kill()
            producer = lab.spawn("producer")
        victim = dice.randrange(workers)
        crowd[victim].lives_for(dice.uniform(0.05, 0.25))
        crowd[victim].kill()
        crowd[victim] = lab.spawn("worker")
        if not kill_producer:
            producer.hear("enqueued")
        if look_each_time:
            lab.integrity()
    producer.close_input()
    assert producer.wait() == 0
    lab.drain()
    history = lab.verdict()
    assert not history.refused
    assert len(history.accepted) >= jobs * (0.7 if producers_too else 1)
    assert cut_short(history) > 0, "no kill hit a running job: this has tested nothing"
    for process in crowd:
        process.ready().terminate()
    assert lab.scheduler.store_stats().nodes == ()
    assert list(lab.beside_store.glob("*.alive")) == []


def cut_short(history: History) -> int:
    """Runs that a kill has ended."""
    return sum(run.ended is None for runs in history.runs.values() for run in runs)


def test_a_thousand_jobs_survive_thirty_kills_of_workers(lab: Lab, dice: random.Random) -> None:
    kill_loop(lab, dice, jobs=1_000, kills=30, workers=3)


def test_what_a_killed_producer_was_told_is_accepted_is_run(lab: Lab, dice: random.Random) -> None:
    lab.worker(workers=16)
    for _ in range(12):
        producer = lab.spawn("producer")
        producer.hear("open")
        producer.tell("enqueue", 1_000_000)
        producer.lives_for(dice.uniform(0.05, 0.15))
        producer.kill()
    lab.drain()
    history = lab.verdict()
    assert len(history.accepted) > 100


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("producers_too", [False, True], ids=["workers", "workers-and-producers"])
def test_ten_thousand_jobs_survive_two_hundred_kills(
    lab: Lab, dice: random.Random, producers_too: bool
) -> None:
    kill_loop(
        lab,
        dice,
        jobs=10_000,
        kills=200,
        workers=4,
        producers_too=producers_too,
        look_each_time=True,
    )
