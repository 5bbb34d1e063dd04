"""PostgreSQL itself fails, while processes work: the histories hold."""

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg
import pytest
from builders import until
from clocks import PATIENCE

from fastsched import Scheduler, State, StoreUnavailable


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_a_server_that_goes_down_under_load_loses_nothing(
    make_lab, breakable_pg, breakable_pg_url, dice: random.Random, how: str
) -> None:
    lab = make_lab(breakable_pg_url)
    lab.jobs.gate.shut()
    first = lab.worker(workers=4)
    long = lab.jobs.enqueue(*(lab.jobs.linger.job(1) for _ in range(2)))
    for _ in long:
        first.hear("lingers")
    second = lab.worker(workers=4)
    lab.jobs.enqueue(*(lab.jobs.work.job(dice.uniform(1, 20)) for _ in range(300)))
    second.lives_for(dice.uniform(0.05, 0.3))
    breakable_pg.restart(how)
    second.lives_for(1.5)  # it has looked after the others, when all locks had been free
    lab.jobs.gate.open()
    lab.drain(40.0)
    runs = lab.verdict().runs  # a second run without a fault of its process is a violation
    assert all(len(found) == 1 for found in runs.values()), "somebody's job ran twice"
    for worker in (first, second):
        worker.tell("stats")
        assert worker.hear("stats")[0] == worker.node, "a living node lost its place"


def test_a_server_that_has_become_read_only_is_said_to_be_unavailable(
    cluster: Callable[..., Scheduler], breakable_pg, breakable_pg_url
) -> None:
    scheduler = cluster(breakable_pg_url)
    job = scheduler.job(kind="job")(lambda: None)

    def set_read_only(on: str) -> None:
        with psycopg.connect(breakable_pg_url, autocommit=True) as db:
            db.execute(f"ALTER SYSTEM SET default_transaction_read_only = {on}")
            db.execute("SELECT pg_reload_conf()")

    with scheduler:
        assert job.enqueue().wait(PATIENCE) is State.DONE
        set_read_only("on")
        try:
            until(lambda: refused(job))
        finally:
            set_read_only("off")
        until(lambda: not refused(job))
        scheduler.wait_until_idle(PATIENCE)
    stats = scheduler.store_stats()
    assert stats.accepted == stats.done == scheduler.stats().completed


def refused(job) -> bool:
    try:
        job.enqueue()
    except StoreUnavailable:
        return True
    return False
