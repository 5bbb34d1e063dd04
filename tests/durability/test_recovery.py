"""Jobs of a killed process run elsewhere within about a second."""

from __future__ import annotations

import random
from statistics import median

import pytest

from durability.lab import Lab, Process

WORKERS = 4
HELD = 12
"""Jobs that a process holds when it is killed: four run, the others are prefetched."""


def first_starts(lab: Lab, ids: list[str], since: float) -> list[float]:
    """Seconds from `since` until each job started again."""
    runs = lab.history().runs
    return [min(run.began for run in runs[id] if run.began > since) - since for id in ids]


def fill(lab: Lab, worker: Process) -> list[str]:
    """Have the worker claim `HELD` jobs, of which the first ones run until it is killed."""
    work, linger = lab.jobs.work, lab.jobs.linger
    lab.jobs.enqueue(*(work.job(1.0) for _ in range(200)))  # so that it prefetches
    lab.drain()
    ids = lab.jobs.enqueue(*(linger.job(1) for _ in range(HELD)))
    for _ in range(WORKERS):
        worker.hear("lingers")
    assert lab.scheduler.store_stats().claimed == HELD
    return ids


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.long])])
def test_jobs_of_a_killed_process_run_elsewhere_within_about_a_second(
    lab: Lab, dice: random.Random, kills: int
) -> None:
    waits = []
    lab.jobs.gate.shut()
    busy = lab.worker(workers=WORKERS)
    for _ in range(kills):
        ids = fill(lab, busy)
        idle = lab.worker(workers=WORKERS)
        idle.lives_for(dice.random())  # it looks after the others once a second
        killed = lab.now()
        busy.kill()
        lab.drain()
        waits += first_starts(lab, ids, killed)
        busy = idle
    lab.verdict()
    waits.sort()
    assert median(waits) < 1.0
    assert waits[int(len(waits) * 0.99)] < 3.0


def test_a_restarted_process_runs_the_jobs_of_its_killed_predecessor_at_once(lab: Lab) -> None:
    lab.jobs.gate.shut()
    first = lab.worker(workers=WORKERS)
    ids = fill(lab, first)
    first.kill()
    second = lab.worker(workers=WORKERS)
    lab.drain()
    waits = first_starts(lab, ids, second.began)
    lab.verdict()
    assert min(waits) < 1.5  # starting Python is part of it
    assert max(waits) < 3.0


def test_a_frozen_process_keeps_its_jobs(lab: Lab) -> None:
    lab.jobs.gate.shut()
    frozen = lab.worker()
    ids = lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(WORKERS)))
    for _ in ids:
        frozen.hear("lingers")
    other = lab.worker()
    frozen.freeze()
    other.lives_for(1.5)  # more than a look at the others
    lab.jobs.gate.open()
    frozen.thaw()
    lab.drain()
    history = lab.verdict()
    assert [[run.pid for run in history.runs[id]] for id in ids] == [[frozen.pid]] * len(ids)
