"""SIGTERM: a process leaves in time, loses nothing and charges nothing."""

from __future__ import annotations

import random
import signal

import pytest

from durability.lab import Lab
from fastsched import State

GRACE = 0.5


def test_a_stopped_process_gives_back_what_it_has_not_started(lab: Lab) -> None:
    worker = lab.worker(workers=2, stop_grace=GRACE)
    lab.jobs.enqueue(*(lab.jobs.work.job(1.0) for _ in range(200)))
    lab.drain()
    ids = lab.jobs.enqueue(*(lab.jobs.hold.job(1) for _ in range(12)))
    for _ in range(2):
        worker.hear("holds")
    assert lab.scheduler.store_stats().claimed == 12
    assert worker.terminate() < GRACE + 1
    for job_id in ids:
        job = lab.scheduler.find(job_id)
        assert job is not None
        assert (job.state, job.attempt) == (State.READY, 0)
    other = lab.worker(workers=4)
    lab.drain()
    history = lab.verdict()
    assert {history.runs[job_id][-1].pid for job_id in ids} == {other.pid}


@pytest.mark.parametrize("stubborn", ["hold", "spin", "linger"])
def test_a_job_longer_than_the_grace_is_stopped_and_runs_again_elsewhere(
    lab: Lab, stubborn: str
) -> None:
    lab.jobs.gate.shut()
    worker = lab.worker(workers=2, stop_grace=GRACE)
    (job_id,) = lab.jobs.enqueue(getattr(lab.jobs, stubborn).job(1))
    worker.hear({"hold": "holds", "spin": "spins", "linger": "lingers"}[stubborn])
    assert worker.terminate() < GRACE + 1
    job = lab.scheduler.find(job_id)
    assert job is not None
    assert (job.state, job.attempt) == (State.READY, 0)
    other = lab.worker()
    lab.drain()
    history = lab.verdict()
    assert [run.pid for run in history.runs[job_id]] == [worker.pid, other.pid]
    assert [run.attempt for run in history.runs[job_id]] == [1, 1]


def test_jobs_within_the_grace_are_finished(lab: Lab) -> None:
    worker = lab.worker(workers=4, stop_grace=5.0)
    lab.jobs.gate.shut()
    lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(4)))
    for _ in range(4):
        worker.hear("lingers")
    worker.signal(signal.SIGTERM)
    lab.jobs.gate.open()
    assert worker.wait() == 0
    assert lab.scheduler.store_stats().done == 4
    lab.verdict()


@pytest.mark.parametrize(
    "stops", [10, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.long])]
)
def test_processes_stopped_at_random_moments_lose_nothing(
    lab: Lab, dice: random.Random, stops: int
) -> None:
    producer = lab.spawn("producer")
    crowd = [lab.spawn("worker", stop_grace=GRACE) for _ in range(2)]
    slowest = 0.0
    for n in range(stops):
        producer.tell("enqueue", 40)
        leaver = crowd[n % 2].ready()
        leaver.lives_for(dice.uniform(0.0, 0.2))
        crowd[n % 2] = lab.spawn("worker", stop_grace=GRACE)
        slowest = max(slowest, leaver.terminate())
        producer.hear("enqueued")
    assert slowest < GRACE + 1
    lab.drain()
    history = lab.verdict()
    assert lab.scheduler.store_stats().crashed == 0
    assert len(history.accepted) == 40 * stops
