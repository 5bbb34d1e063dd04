"""Jobs that kill their process, and jobs of kinds that a rescuer does not know."""

from __future__ import annotations

import psycopg
import pytest
from builders import until

from cluster.lab import ClusterLab
from fastsched import State
from fastsched.stores import postgres_nodes

DEATHS = 3
"""Crashes charged to a job until it is a dead letter."""


@pytest.mark.timeout(120)
def test_a_poison_is_buried_after_three_crashes_and_its_neighbours_are_done(
    make_lab, cluster, pg_url, monkeypatch
) -> None:
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)  # the rescuer judges at once
    lab: ClusterLab = make_lab(pg_url)
    rescuer = cluster(pg_url)
    rescuer.job(kind="other")(lambda: None)
    rescuer.start()
    good = lab.jobs.enqueue(*(lab.jobs.work.job(2.0) for _ in range(60)))
    (bad,) = lab.jobs.enqueue(lab.jobs.poison.job("kill"))
    deaths = 0
    while lab.scheduler.state(bad) is not State.DEAD:
        assert deaths <= DEATHS
        worker = lab.spawn("worker", workers=8)
        worker.wait()
        lab.note_fault(worker.pid, "poison", worker.began)
        deaths += 1
        until(lambda: lab.scheduler.state(bad) is not State.CLAIMED, "the rescue")
    lab.worker()
    lab.drain()
    letter = lab.scheduler.find(bad)
    assert letter is not None
    assert letter.crashes == DEATHS
    assert (letter.reason or "").startswith("crashed")
    assert deaths <= DEATHS + 1
    stats = lab.scheduler.store_stats()
    assert (stats.done, stats.dead, stats.crashed) == (len(good), 1, DEATHS)
    lab.verdict()


def test_a_node_rescues_jobs_of_kinds_that_it_does_not_know(cluster, pg_url, monkeypatch) -> None:
    monkeypatch.setattr(postgres_nodes, "RELOCK_GRACE", 0.0)
    ignorant, expert = cluster(pg_url), cluster(pg_url)
    ignorant.job(kind="other")(lambda: None)
    job = expert.job(kind="job")(lambda: None)
    handle = job.enqueue()
    with psycopg.connect(pg_url) as db:  # held by a node whose process is gone
        db.execute(
            "INSERT INTO fastsched.nodes (no, id, host, pid, workers, lease_until, locked) VALUES"
            " (999, gen_random_uuid(), '', 0, 0, clock_timestamp() + interval '1 hour', true)"
        )
        db.execute(
            "UPDATE fastsched.jobs SET state = 'claimed', node = 999, claim_no = 1, attempt = 1"
        )
    with ignorant:
        until(lambda: handle.state() is State.READY, "the rescue")
        assert (handle.job().attempt, handle.job().crashes) == (0, 0)
        with expert:
            assert handle.wait(10) is State.DONE
