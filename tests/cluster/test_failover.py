"""The server dies for good, and its standby takes over."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from servers.fixtures import started

from cluster.standby import Standby
from fastsched.servers import PrivatePostgres


@pytest.fixture
def pair() -> Iterator[tuple[PrivatePostgres, Standby]]:
    """A server, and the standby that its commits wait for."""
    primary = started(PrivatePostgres(durable=False, settings={"max_connections": 200}))
    standby = Standby(primary)
    try:
        with standby:
            standby.follow()
            yield primary, standby
    finally:
        primary.close()


def test_a_standby_that_takes_over_knows_every_job_and_nobody_runs_one_twice(
    make_lab, pair, dice: random.Random
) -> None:
    primary, standby = pair
    primary.create_database("jobs")
    lab = make_lab(standby.url_of_both("jobs"))
    lab.jobs.gate.shut()
    first, second = lab.worker(workers=4), lab.worker(workers=4)
    long = lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(2)))
    lab.jobs.enqueue(*(lab.jobs.work.job(dice.uniform(1, 20)) for _ in range(300)))
    second.lives_for(dice.uniform(0.05, 0.3))
    primary.kill()
    standby.promote()
    promoted = lab.now()
    after = lab.jobs.enqueue(lab.jobs.work.job(1.0))
    lab.scheduler.wait(after[0], 10)
    assert lab.now() - promoted < 10
    lab.jobs.gate.open()
    lab.drain(40.0)
    runs = lab.verdict().runs
    assert runs.keys() >= {*long, *after}
    assert all(len(found) == 1 for found in runs.values()), "somebody's job ran twice"
    for worker in (first, second):
        worker.tell("stats")
        assert worker.hear("stats")[0] == worker.node, "a living node lost its place"
