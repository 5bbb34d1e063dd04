"""The same commands on PostgreSQL: its tables are not made by looking either."""

from __future__ import annotations

import pytest
from servers.fixtures import pg_server, pg_template, pg_url

__all__ = ["pg_server", "pg_template", "pg_url"]


@pytest.fixture
def store_url(pg_url):
    """The commands' store is a new database."""
    return pg_url


def test_looking_does_not_make_the_tables(run, run_json):
    for command in (["jobs", "list"], ["stats"], ["db", "status"], ["dead", "list"]):
        result = run(*command)
        assert result.exit_code == 4
        assert "fastsched db upgrade" in result.stderr
    (tables,) = [c for c in run_json("doctor")["checks"] if c["name"] == "tables"]
    assert tables["status"] == "warn"
    assert run("db", "status").exit_code == 4


def test_upgrade_makes_them(run_json):
    assert run_json("db", "upgrade")["from_version"] == 0
    status = run_json("db", "status")
    assert status["tables_version"] == status["newest_version"] > 0
    assert "sqlite" not in status


def test_jobs_and_dead_letters(jobs, run, run_json):
    dead, scheduled = jobs.dead("no luck"), jobs.scheduled()
    assert [job["id"] for job in run_json("jobs", "list")["jobs"]] == [dead, scheduled.id]
    assert run_json("dead", "show", dead)["failure"]["message"] == "no luck"
    assert run("jobs", "retry", dead, scheduled.id).exit_code == 0
    assert run_json("stats")["states"]["ready"] == 2


def test_doctor(jobs, run_json):
    jobs.scheduled()
    found = {check["name"]: check["status"] for check in run_json("doctor")["checks"]}
    assert {found[name] for name in ("tables", "store", "nodes", "clock")} == {"ok"}
    assert "disk" not in found


def test_a_server_out_of_reach_is_4_and_keeps_the_password(run):
    result = run("stats", "--store", "postgresql://me:hunter2@127.0.0.1:1/jobs")
    assert result.exit_code == 4
    assert "hunter2" not in result.output
    assert len(result.stderr.splitlines()) == 1
