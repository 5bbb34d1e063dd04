"""Behind PgBouncer in transaction mode: it says so, and jobs run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from builders import until
from clocks import PATIENCE

from fastsched import JobContext, State

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@pytest.fixture
def pooled(pg_server, pg_url: str) -> Iterator[str]:
    """The URL of the test's database through a PgBouncer of the test."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    name = pg_url.partition("@/")[2].partition("?")[0]
    folder = Path(tempfile.mkdtemp())
    users, settings = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text('"postgres" ""\n')
    settings.write_text(
        f"[databases]\n{name} = host={pg_server.folder} dbname={name}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = 4\n"
    )
    user = "nobody" if os.geteuid() == 0 else None  # it refuses to run as root
    for path in (users, settings, folder):
        path.chmod(0o755)
    process = subprocess.Popen([PROGRAM, "-q", settings], user=user, stderr=subprocess.PIPE)
    url = f"postgresql://postgres@127.0.0.1:{port}/{name}"
    try:
        until(lambda: process.poll() is not None or answers(url), "pgbouncer's start")
        assert process.poll() is None, process.stderr.read()
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()
        shutil.rmtree(folder)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_jobs_run_behind_a_pooler_that_start_up_warns_of(pooled, pg_url, cluster, caplog) -> None:
    nodes = [cluster(pooled) for _ in range(2)]

    def effect(ctx: JobContext) -> None:
        with ctx.transaction() as db:
            db.execute("SELECT 1")

    jobs = [
        (node.job(kind="job")(lambda number: None), node.job(kind="effect")(effect))
        for node in nodes
    ]
    for node in nodes:
        node.start()
    assert "connection pooler" in caplog.text
    job, effects = jobs[0]
    handles = nodes[0].enqueue_many(job.job(number) for number in range(300))
    handles += [effects.enqueue() for _ in range(20)]
    nodes[0].wait_until_idle(PATIENCE)
    assert {handle.state() for handle in handles} == {State.DONE}
    stats = nodes[0].store_stats()
    assert (stats.accepted, stats.done, stats.stale) == (320, 320, 0)
    assert all(info.alive for info in stats.nodes)
    with psycopg.connect(pg_url) as db:  # nothing of ours stays in a session that others use next
        held = db.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    assert held == (0,)
    with psycopg.connect(pooled) as db:
        assert db.execute("SHOW search_path").fetchone() == ('"$user", public',)


def test_a_crash_behind_a_pooler_is_found_by_its_lease_and_charged(pooled, pg_url, cluster) -> None:
    node = cluster(pooled, lease=1.0)
    node.job(kind="job")(lambda: None)
    other = cluster(pg_url)
    handle = other.job(kind="job")(lambda: None).enqueue()
    with psycopg.connect(pg_url) as db:
        db.execute(
            "INSERT INTO fastsched.nodes (no, id, host, pid, workers, lease_until, locked,"
            " alone, alone_claim)"
            " VALUES (999, gen_random_uuid(), '', 0, 0, clock_timestamp(), false, %s, 1)",
            (handle.id,),
        )
        db.execute(
            "UPDATE fastsched.jobs SET state = 'claimed', node = 999, claim_no = 1, attempt = 1,"
            " suspect = true"
        )
    with node:
        assert handle.wait(PATIENCE) is State.DONE
    assert other.store_stats().crashed == 1
