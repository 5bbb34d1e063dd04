"""What a cluster costs when nothing happens, and how quick it is when something does."""

from __future__ import annotations

from statistics import median

import psutil
import psycopg

SECONDS = 3.0


def commits(db: psycopg.Connection) -> int:
    """Transactions in the database so far, our own question among them."""
    db.execute("SELECT pg_stat_clear_snapshot()")
    row = db.execute(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_idle_node_asks_one_question_a_second(make_lab, pg_url, redis_url) -> None:
    lab = make_lab(pg_url, redis=redis_url)
    nodes = [lab.worker() for _ in range(2)]
    lab.jobs.enqueue(*(lab.jobs.work.job(1.0) for _ in range(20)))
    lab.drain()
    with psycopg.connect(pg_url, autocommit=True) as db:
        nodes[0].lives_for(2.5)  # sessions report what they did a second late
        before = commits(db)
        process = psutil.Process(nodes[0].pid)
        cpu = process.cpu_times()
        nodes[0].lives_for(SECONDS)
        after, used = commits(db), process.cpu_times()
    asked = (after - before - 2) / SECONDS / len(nodes)
    print(f"idle: {asked:.2f} transactions/s a node")
    assert asked <= 1.7  # the second that a session reports late, spread over three
    assert used.user + used.system - cpu.user - cpu.system <= 0.06  # 2 %


def test_a_job_starts_elsewhere_within_milliseconds(make_lab, pg_url, redis_url) -> None:
    lab = make_lab(pg_url, redis=redis_url)
    worker = lab.worker()
    lab.scheduler.wait(lab.jobs.enqueue(lab.jobs.work.job(0.0))[0], 10)
    starts, ends = [], []
    for _ in range(40):
        (job_id,) = lab.jobs.enqueue(lab.jobs.work.job(0.0))
        accepted = lab.now()
        lab.scheduler.wait(job_id, 10)
        heard = lab.now()
        (run,) = lab.history().runs[job_id]
        assert run.pid == worker.pid
        starts.append(run.began - accepted)
        ends.append(heard - run.ended)
    print(f"wake-up {median(starts) * 1e3:.1f} ms, end told {median(ends) * 1e3:.1f} ms (medians)")
    assert median(starts) < 0.02
    assert median(ends) < 0.05
    lab.verdict()


def test_a_cancellation_reaches_a_job_elsewhere_within_milliseconds(
    make_lab, pg_url, redis_url
) -> None:
    lab = make_lab(pg_url, redis=redis_url)
    worker = lab.worker()
    took = []
    for _ in range(10):
        (job_id,) = lab.jobs.enqueue(lab.jobs.hold.job(1))
        assert worker.hear("holds") == [job_id]
        cancelled = lab.now()
        lab.scheduler.cancel(job_id)
        _, asked = worker.hear("asked")
        took.append(float(asked) - cancelled)
        lab.scheduler.wait(job_id, 10)
    print(f"cancellation {median(took) * 1e3:.1f} ms (median)")
    assert median(took) < 0.1
    lab.verdict()
