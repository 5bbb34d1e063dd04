"""Worker processes are killed, frozen and poisoned on one PostgreSQL; the histories hold."""

from __future__ import annotations

import os
import random
from statistics import median

import pytest
from durability.test_kills import cut_short

from cluster.lab import ClusterLab, freeze
from fastsched import State
from fastsched.stores import postgres_nodes


def kill_loop(lab: ClusterLab, dice: random.Random, *, jobs: int, kills: int) -> None:
    """Produce and kill side by side, then heal, drain and check."""
    crowd = [lab.worker() for _ in range(3)]
    producer = lab.spawn("producer")
    for n in range(kills):
        producer.tell("enqueue", -(-jobs // kills))
        lab.jobs.enqueue(*(lab.jobs.book.job(dice.uniform(0, 20)) for _ in range(3)))
        victim = n % len(crowd)
        crowd[victim].lives_for(dice.uniform(0.05, 0.2))
        crowd[victim].kill()
        crowd[victim] = lab.spawn("worker")
        producer.hear("enqueued")
    producer.close_input()
    assert producer.wait() == 0
    lab.drain(60.0)
    history = lab.verdict()
    assert not history.refused
    assert len(history.accepted) >= jobs + 3 * kills
    assert len(lab.booked()) == 3 * kills
    assert cut_short(history) > 0, "no kill hit a running job: this has tested nothing"


@pytest.mark.timeout(120)
def test_six_hundred_jobs_survive_twenty_kills(make_lab, pg_url, dice: random.Random) -> None:
    kill_loop(make_lab(pg_url), dice, jobs=600, kills=20)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_jobs_survive_two_hundred_kills(make_lab, pg_url, dice) -> None:
    kill_loop(make_lab(pg_url), dice, jobs=10_000, kills=200)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.long])])
def test_jobs_of_a_killed_process_run_elsewhere_within_about_a_second(
    make_lab, pg_url, monkeypatch, dice: random.Random, kills: int
) -> None:
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)  # it would wait out a restart
    lab = make_lab(pg_url)
    waits = []
    lab.jobs.gate.shut()
    for _ in range(kills):
        busy = lab.worker(workers=4)
        ids = lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(4)))
        for _ in ids:
            busy.hear("lingers")
        lab.scheduler.start()
        busy.lives_for(dice.random())  # the other one looks around once a second
        killed = lab.now()
        busy.kill()
        lab.drain()
        runs = lab.history().runs
        waits += [runs[job_id][-1].began - killed for job_id in ids]
        assert {runs[job_id][-1].pid for job_id in ids} == {os.getpid()}
        lab.scheduler.stop()
    lab.verdict()
    print(f"recovery: median {median(waits):.2f} s, most {max(waits):.2f} s")
    assert median(waits) < 1.2
    assert max(waits) < 2.5


def test_a_process_frozen_for_longer_than_its_lease_changes_nothing_afterwards(
    make_lab, pg_url
) -> None:
    lab = make_lab(pg_url, lease=1.5)
    lab.jobs.gate.shut()
    zombie = lab.worker(workers=2)
    ids = lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(2)))
    for _ in ids:
        zombie.hear("lingers")
    other = lab.worker(workers=2)
    before = lab.now()
    freeze(zombie)
    for job_id in ids:
        assert lab.scheduler.wait(job_id, 20) is State.DONE
    zombie.thaw()
    lab.jobs.gate.open()
    lab.note_fault(zombie.pid, "frozen", before)
    node, stale = zombie.node, "0"
    while node in (zombie.node, "None") or stale != "2":  # its late ends are refused, and counted
        zombie.tell("stats")
        node, stale, _ = zombie.hear("stats")
    other.tell("stats")
    assert other.hear("stats")[0] == other.node  # its lease was renewed all the time
    runs = lab.verdict().runs
    assert {run.pid for job_id in ids for run in runs[job_id][1:]} == {other.pid}
    assert lab.scheduler.store_stats().stale == 2
