"""Several processes on one file: what one enqueues another runs, promptly, at no cost when idle."""

from __future__ import annotations

from statistics import median

import psutil

from durability.lab import Lab
from fastsched import Cancelled, State


def test_waiting_for_a_job_that_runs_in_another_process_returns_promptly(lab: Lab) -> None:
    worker = lab.worker()
    waits = []
    for _ in range(20):
        (job_id,) = lab.jobs.enqueue(lab.jobs.work.job(0.0))
        assert lab.scheduler.wait(job_id, timeout=10) is State.DONE
        returned = lab.now()
        (run,) = lab.history().runs[job_id]
        assert run.pid == worker.pid
        assert run.ended is not None
        waits.append(returned - run.ended)
    assert median(waits) < 0.1
    assert max(waits) < 1.0
    lab.verdict()


def test_a_cancellation_reaches_the_job_that_runs_in_another_process(lab: Lab) -> None:
    worker = lab.worker()
    waits = []
    for _ in range(5):
        (job_id,) = lab.jobs.enqueue(lab.jobs.hold.job(1))
        assert worker.hear("holds") == [job_id]
        cancelled = lab.now()
        assert lab.scheduler.cancel(job_id) is Cancelled.REQUESTED
        told_id, told_at = worker.hear("asked")
        assert told_id == job_id
        waits.append(float(told_at) - cancelled)
        assert lab.scheduler.wait(job_id, timeout=10) is State.CANCELLED
    assert median(waits) < 0.1
    assert max(waits) < 1.0
    lab.verdict()


def test_a_job_cancelled_before_any_process_took_it_never_runs(lab: Lab) -> None:
    first, second = lab.jobs.enqueue(*(lab.jobs.work.job(0.0) for _ in range(2)))
    assert lab.scheduler.cancel(first) is Cancelled.CANCELLED
    lab.jobs.journal.note("cancelled", id=first)
    lab.worker()
    lab.drain()
    history = lab.verdict()
    assert history.runs.keys() == {second}


def test_an_idle_worker_costs_nothing(lab: Lab) -> None:
    worker = lab.worker(workers=8)
    lab.jobs.enqueue(*(lab.jobs.work.job(1.0) for _ in range(50)))
    lab.drain()
    process = psutil.Process(worker.pid)
    before = process.cpu_times()
    worker.lives_for(2.0)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    assert used <= 0.02  # 1 % of two seconds: two ticks of the kernel's accounting


def test_a_delayed_job_starts_when_it_is_due(lab: Lab) -> None:
    lab.worker()
    late = []
    for _ in range(20):
        options = lab.jobs.work.options(delay=0.05)
        (job_id,) = lab.jobs.enqueue(options.job(0.0))
        lab.scheduler.wait(job_id, timeout=10)
        (run,) = lab.history().runs[job_id]
        late.append(run.began - run.due)
    assert min(late) >= 0.0
    assert median(late) <= 0.010
    lab.verdict()


def test_many_processes_share_a_pile(lab: Lab) -> None:
    crowd = [lab.worker(workers=2) for _ in range(3)]
    ids = lab.jobs.enqueue(*(lab.jobs.work.job(5.0) for _ in range(300)))
    lab.drain()
    history = lab.verdict()
    shares = {worker.pid: 0 for worker in crowd}
    for job_id in ids:
        (run,) = history.runs[job_id]
        shares[run.pid] += 1
    assert min(shares.values()) > 0
