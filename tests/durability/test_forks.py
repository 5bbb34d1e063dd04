"""A process that uses a scheduler forks: parent and child both go on, each for itself."""

from __future__ import annotations

import psutil

from durability.lab import Lab
from fastsched import State


def test_parent_and_child_of_a_fork_both_enqueue_and_nothing_is_lost(lab: Lab) -> None:
    process = lab.spawn("forking_producer")
    assert process.wait() == 0, process.log.read_text()
    assert len(lab.history().accepted) == 8
    assert lab.scheduler.store_stats().accepted == 8
    lab.worker()
    lab.drain()
    lab.verdict()


def test_a_process_can_fork_while_its_threads_write(lab: Lab) -> None:
    process = lab.spawn("forking_under_load")
    assert process.wait() == 0, process.log.read_text()
    history = lab.history()
    assert not history.refused
    lab.worker()
    lab.drain(60)
    lab.verdict()


def test_a_child_that_outlives_its_killed_parent_does_not_hold_its_jobs(lab: Lab) -> None:
    lab.jobs.gate.shut()
    parent = lab.worker()
    (job_id,) = lab.jobs.enqueue(lab.jobs.linger.job(1))
    parent.hear("lingers")
    parent.tell("fork")
    (child,) = parent.hear("child")
    parent.kill()
    other = lab.worker()
    lab.scheduler.wait(job_id, timeout=10)
    history = lab.verdict()
    assert [run.pid for run in history.runs[job_id]] == [parent.pid, other.pid]
    assert psutil.pid_exists(int(child)), "the child has ended: this has tested nothing"


def test_a_child_forked_inside_a_transaction_is_refused_and_its_parent_commits(lab: Lab) -> None:
    worker = lab.worker()
    (job_id,) = lab.jobs.enqueue(lab.jobs.split.job())
    assert worker.hear("split") == ["1"]
    assert "fork outside of ctx.transaction()" in worker.log.read_text()
    assert lab.scheduler.wait(job_id, timeout=10) is State.DONE
    history = lab.verdict()
    assert len(history.refused) == 1
