"""``fastsched doctor``."""

from __future__ import annotations

import pytest

from fastsched import heap


@pytest.fixture
def checks(run_json):
    return lambda: {check["name"]: check for check in run_json("doctor")["checks"]}


def test_a_store_that_is_well(jobs, checks, run):
    jobs.scheduled()
    found = checks()
    assert found["store"]["status"] == "ok"
    assert "takes a commit in" in found["store"]["text"]
    assert {"python", "heap", "sqlite", "orjson", "psycopg", "redis", "disk", "clock"} <= set(found)
    assert found["heap"]["text"] == f"{heap.IMPLEMENTATION}: {heap.REASON}"
    assert found["tables"]["text"].startswith("version ")
    assert run("doctor").exit_code == 0


def test_it_leaves_the_store_as_it_was(jobs, checks):
    jobs.scheduled()
    before = jobs.scheduler.store_stats()
    checks()
    after = jobs.scheduler.store_stats()
    assert (before.accepted, before.live, before.nodes) == (after.accepted, after.live, after.nodes)


def test_without_a_store_it_warns_and_makes_none(run_json, run, tmp_path):
    (check,) = [c for c in run_json("doctor")["checks"] if c["name"] == "tables"]
    assert check["status"] == "warn"
    assert "fastsched db upgrade" in check["fix"]
    assert run("doctor").exit_code == 0
    assert not list(tmp_path.iterdir())


def test_dead_letters_and_waiting_jobs_are_warnings_with_a_fix(jobs, checks):
    jobs.dead()
    jobs.ready()
    found = checks()
    assert (found["dead letters"]["status"], found["dead letters"]["text"]) == ("warn", "1")
    assert "fastsched dead" in found["dead letters"]["fix"]
    assert found["nodes"]["status"] == "warn"
    assert "1 jobs wait" in found["nodes"]["fix"]


def test_a_living_node_is_counted(jobs, checks):
    with jobs.scheduler:
        assert checks()["nodes"]["text"] == "1 alive, 0 dead"


def test_a_store_out_of_reach_fails_with_4(run, tmp_path):
    result = run("doctor", "--store", f"sqlite:///{tmp_path / 'jobs.db'}")
    assert result.exit_code == 0
    (tmp_path / "jobs.db").mkdir()
    result = run("doctor")
    assert result.exit_code == 4
    assert "fail" in result.stdout


def test_every_line_starts_with_its_status(jobs, run):
    jobs.ready()
    lines = run("doctor").stdout.splitlines()
    assert {line[:4].strip() for line in lines} <= {"ok", "warn", "fail", ""}
