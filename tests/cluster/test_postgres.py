"""Nodes on one PostgreSQL, and what becomes of them when it fails."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from builders import in_threads, until
from clocks import PATIENCE

from fastsched import JobContext, State
from fastsched.stores.postgres import PostgresStore
from fastsched.stores.postgres_link import SQL, begin


def test_ten_processes_that_start_at_once_migrate_once(pg_url, cluster):
    schedulers = [cluster(pg_url) for _ in range(10)]
    in_threads(10, lambda number: schedulers[number].store_stats())
    with psycopg.connect(pg_url) as db:
        assert db.execute("SELECT count(*) FROM fastsched.schema").fetchone() == (1,)


def test_nodes_share_a_backlog_and_run_each_job_once(pg_url, cluster):
    ran: list[int] = []
    nodes = [cluster(pg_url) for _ in range(3)]
    jobs = [node.job(kind="job")(ran.append) for node in nodes]
    nodes[0].enqueue_many(jobs[0].job(number) for number in range(1_000))
    for node in nodes:
        node.start()
    nodes[0].wait_until_idle(30)
    assert sorted(ran) == list(range(1_000))


@pytest.mark.parametrize("wrong_by", [-7200.0, 7200.0])
def test_a_process_that_only_enqueues_tells_due_times_by_the_server(pg_url, monkeypatch, wrong_by):
    right = time.time
    monkeypatch.setattr("fastsched.clock.time.time", lambda: right() + wrong_by)
    store = PostgresStore(pg_url, keep_done=False)
    store.open()
    assert store.clock.now() == pytest.approx(right(), abs=60)
    store.close()


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_a_restart_of_the_server_makes_nobodys_job_run_twice(
    breakable_pg, breakable_pg_url, cluster, how
):
    runs, release = [], threading.Event()
    running = threading.Event()

    def work(ctx: JobContext) -> None:
        runs.append(ctx.id)
        running.set()
        release.wait(PATIENCE)

    nodes = [cluster(breakable_pg_url) for _ in range(2)]
    job, _ = [node.job(kind="job")(work) for node in nodes]
    for node in nodes:
        node.start()
    handle = job.enqueue()
    assert running.wait(PATIENCE)
    breakable_pg.restart(how)
    release.set()
    assert handle.wait(30) is State.DONE
    assert job.enqueue().wait(30) is State.DONE
    assert len(runs) == 2
    assert nodes[0].store_stats().stale == 0


def test_cut_connections_come_back_and_nothing_is_lost(pg_url, cluster):
    scheduler = cluster(pg_url)
    ran: list[int] = []
    job = scheduler.job(kind="job")(ran.append)
    with scheduler, psycopg.connect(pg_url, autocommit=True) as db:
        for number in range(100):
            if number % 10 == 5:
                db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'fastsched'"
                )
            job.enqueue(number)
        scheduler.wait_until_idle(30)
    assert sorted(set(ran)) == list(range(100))
    store = scheduler.store_stats()
    assert (store.accepted, store.done, store.live) == (100, 100, 0)


def test_a_short_lease_is_renewed_several_times_before_it_is_over(pg_url, cluster):
    renewals, left = set(), []
    with cluster(pg_url, lease=1.0), psycopg.connect(pg_url, autocommit=True) as db:

        def renewed(times: int) -> bool:
            row = db.execute(
                "SELECT lease_until, extract(epoch FROM lease_until - clock_timestamp())"
                " FROM fastsched.nodes"
            ).fetchone()
            assert row is not None
            renewals.add(row[0])
            left.append(row[1])
            return len(renewals) > times

        until(lambda: renewed(4))
    assert min(left) > 0.4


def test_a_node_that_others_count_as_dead_takes_a_new_identity(pg_url, cluster):
    scheduler = cluster(pg_url)
    job = scheduler.job(kind="job")(lambda: None)
    with scheduler:
        assert job.enqueue().wait(PATIENCE) is State.DONE
        before = scheduler.stats().node
        with psycopg.connect(pg_url) as db:
            db.execute("DELETE FROM fastsched.nodes")
        until(lambda: scheduler.stats().node not in (before, None))
        assert job.enqueue().wait(PATIENCE) is State.DONE


def test_a_hostile_search_path_and_isolation_level_change_nothing(pg_url, cluster):
    with psycopg.connect(pg_url, autocommit=True) as db:
        name = db.info.dbname
        db.execute("CREATE SCHEMA evil")
        db.execute("CREATE FUNCTION evil.statement_timestamp() RETURNS timestamptz "
                   "LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$")  # fmt: skip
        db.execute(f'ALTER DATABASE "{name}" SET search_path = evil, pg_catalog')
        db.execute(f'ALTER DATABASE "{name}" SET default_transaction_isolation = serializable')
    scheduler = cluster(pg_url)
    job = scheduler.job(kind="job")(lambda: None)
    with scheduler:
        handles = [job.enqueue() for _ in range(20)]
        assert {handle.wait(PATIENCE) for handle in handles} == {State.DONE}


def test_plans_do_not_hang_on_statistics(pg_url, cluster):
    scheduler = cluster(pg_url)
    job = scheduler.job(kind="job")(lambda: None)
    scheduler.store_stats()
    with psycopg.connect(pg_url, autocommit=True) as db:
        db.execute("VACUUM ANALYZE fastsched.jobs")  # of an empty table
        scheduler.enqueue_many(job.job() for _ in range(50_000))
        db.execute(
            "INSERT INTO fastsched.nodes (no, id, host, pid, workers, lease_until, locked) "
            "VALUES (999, gen_random_uuid(), '', 0, 0, 'infinity', false)"
        )
        want = {"node": 999, "kinds": ["job"], "queues": None, "limit": 50,
                "min_priority": -32768, "horizon": 1.0}  # fmt: skip
        begin(db)
        plan = "\n".join(row[0] for row in db.execute(b"EXPLAIN " + SQL["claim"], want))
        rows = db.execute(SQL["claim"], want).fetchall()
        ends = {"ids": ",".join(row[0] for row in rows), "nodes": ",".join(["999"] * 50),
                "claim_nos": ",".join(["1"] * 50)}  # fmt: skip
        ending = "\n".join(row[0] for row in db.execute(b"EXPLAIN " + SQL["complete"], ends))
        db.execute("ROLLBACK")
    assert len(rows) == 50
    for text in (plan, ending):
        assert "Seq Scan on jobs" not in text
        assert "Bitmap" not in text
    assert "Index Scan using jobs_ready" in plan
