"""A process that others count as dead changes nothing any more, and comes back as a new node."""

from __future__ import annotations

from durability.lab import Lab, Process


def evict(lab: Lab, frozen: Process) -> None:
    """Take its place away while it cannot notice, and let the others have its jobs."""
    since = lab.now()
    frozen.freeze()
    (lab.beside_store / f"{frozen.node}.alive").unlink()
    lab.note_fault(frozen.pid, "evict", since)


def test_the_late_ends_of_an_evicted_process_are_refused(lab: Lab) -> None:
    work, linger = lab.jobs.work, lab.jobs.linger
    evicted = lab.worker(workers=4)
    lab.jobs.enqueue(*(work.job(1.0) for _ in range(200)))  # so that it prefetches
    lab.drain()
    lab.jobs.gate.shut()
    ids = lab.jobs.enqueue(*(linger.job(1) for _ in range(12)))
    for _ in range(4):
        evicted.hear("lingers")
    other = lab.worker(workers=4)
    evict(lab, evicted)
    lab.drain()  # elsewhere, in their second claim
    other.terminate()
    lab.jobs.gate.open()
    evicted.thaw()
    more = lab.jobs.enqueue(*(work.job(1.0) for _ in range(20)))
    lab.drain()  # by the evicted process, under a new name
    evicted.tell("stats")
    new_node, stale, completed = evicted.hear("stats")
    assert new_node != evicted.node
    assert int(completed) == 200 + 20
    assert int(stale) >= 4
    stats = lab.scheduler.store_stats()
    assert stats.stale == int(stale)
    assert stats.done == 200 + 12 + 20

    history = lab.verdict()
    for job_id in ids:
        assert history.runs[job_id][-1].pid == other.pid
    assert {run.pid for job_id in more for run in history.runs[job_id]} == {evicted.pid}


def test_a_late_end_does_not_touch_the_run_that_replaced_it(lab: Lab) -> None:
    lab.jobs.gate.shut()
    evicted = lab.worker(workers=4)
    ids = lab.jobs.enqueue(*(lab.jobs.linger.job(2) for _ in range(4)))
    for _ in ids:
        evicted.hear("lingers")
    other = lab.worker(workers=4)
    evict(lab, evicted)
    for _ in ids:
        other.hear("lingers")
    other.freeze()

    lab.jobs.gate.open()
    evicted.thaw()
    (after,) = lab.jobs.enqueue(lab.jobs.work.job(0.0))
    lab.scheduler.wait(after, timeout=30)  # it runs in the evicted process, under a new name
    stats = lab.scheduler.store_stats()
    assert (stats.claimed, stats.stale) == (4, 4)

    other.thaw()
    lab.drain()
    history = lab.verdict()
    for job_id in ids:
        assert [run.pid for run in history.runs[job_id]] == [evicted.pid, other.pid]
