"""A job that kills its process is set aside; those that ran beside it are not blamed."""

from __future__ import annotations

from durability.lab import Lab
from fastsched import State

DEATHS = 3
"""Crashes charged to a job until it is a dead letter."""


def supervise(lab: Lab, most: int) -> int:
    """Restart a worker until it has finished all there is; how often its process died."""
    for deaths in range(most + 1):
        worker = lab.spawn("finisher", workers=8)
        if worker.wait() == 0:
            return deaths
        lab.note_fault(worker.pid, "poison", worker.began)
    raise AssertionError(f"more than {most} processes died")


def test_poison_is_buried_after_three_crashes_and_its_neighbours_are_done(lab: Lab) -> None:
    work, poison = lab.jobs.work, lab.jobs.poison
    good = [work.job(2.0) for _ in range(200)]
    bad = [poison.job(how) for how in ("exit", "kill", "segfault")]
    mixed = good[:]
    for place, job in zip((20, 90, 160), bad, strict=True):
        mixed.insert(place, job)
    lab.jobs.enqueue(*mixed)
    deaths = supervise(lab, most=(DEATHS + 1) * len(bad))
    assert deaths >= DEATHS * len(bad)
    letters = {job.id: job for job in lab.scheduler.dead_letters()}
    assert letters.keys() == {job.id for job in bad}
    for letter in letters.values():
        assert letter.crashes == DEATHS
        assert letter.reason is not None
        assert letter.reason.startswith("crashed")
    stats = lab.scheduler.store_stats()
    assert (stats.done, stats.dead) == (len(good), len(bad))
    lab.verdict()


def test_a_poison_alone_costs_three_processes(lab: Lab) -> None:
    (job_id,) = lab.jobs.enqueue(lab.jobs.poison.job("exit"))
    assert supervise(lab, most=DEATHS) == DEATHS
    assert lab.scheduler.state(job_id) is State.DEAD
    lab.verdict()


def test_a_requeued_poison_has_all_its_lives_again(lab: Lab) -> None:
    (job_id,) = lab.jobs.enqueue(lab.jobs.poison.job("exit"))
    supervise(lab, most=DEATHS)
    assert lab.scheduler.requeue(job_id) == [job_id]
    assert supervise(lab, most=DEATHS) == DEATHS
    lab.verdict()
