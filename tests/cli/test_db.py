"""``fastsched db``, and what happens when there is no store."""

from __future__ import annotations

import sqlite3

import pytest

SOME_ID = "01a20cc4-49a8-73ee-8d9e-84cc04a7208f"


@pytest.mark.parametrize(
    "command",
    [
        ["jobs", "list"],
        ["jobs", "show", SOME_ID],
        ["jobs", "cancel", SOME_ID],
        ["jobs", "retry", SOME_ID],
        ["dead", "list"],
        ["dead", "requeue", "--all", "--yes"],
        ["stats"],
        ["db", "status"],
    ],
    ids=" ".join,
)
def test_looking_at_a_store_that_is_not_there_does_not_make_it(run, tmp_path, command):
    result = run(*command)
    assert result.exit_code == 4
    assert "no store" in result.stderr
    assert "fastsched db upgrade" in result.stderr
    assert not list(tmp_path.iterdir())


def test_upgrade_makes_the_store_and_then_has_nothing_to_do(run_json, run, store_url):
    first = run_json("db", "upgrade")
    assert first["from_version"] == 0
    assert first["to_version"] >= 1
    again = run_json("db", "upgrade")
    assert again["from_version"] == again["to_version"] == first["to_version"]
    assert "up to date" in run("db", "upgrade").stdout


def test_status(jobs, run_json, run, tmp_path):
    jobs.ready()
    status = run_json("db", "status", "--check")
    assert status["tables_version"] == status["newest_version"]
    assert status["sqlite"]["path"] == str(tmp_path / "jobs.db")
    assert status["sqlite"]["journal_mode"] == "wal"
    assert status["sqlite"]["integrity"] == "ok"
    assert run_json("db", "status")["sqlite"]["integrity"] is None
    assert "the newest" in run("db", "status").stdout


def test_status_of_a_damaged_file_fails(jobs, run, tmp_path):
    jobs.ready()
    jobs.scheduler.stop()
    file = tmp_path / "jobs.db"
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * 512)
    result = run("db", "status", "--check")
    assert result.exit_code in (1, 4)


def test_a_store_from_the_future_is_refused(jobs, run, tmp_path):
    jobs.ready()
    jobs.scheduler.stop()
    with sqlite3.connect(tmp_path / "jobs.db") as db:
        db.execute("INSERT INTO fastsched_schema (version) VALUES (99)")
    db.close()
    result = run("stats")
    assert result.exit_code == 3
    assert "upgrade fastsched" in result.stderr
    assert "newer than this fastsched knows" in run("db", "status").stdout


def test_a_file_that_is_no_database_is_a_short_error(run, tmp_path):
    (tmp_path / "jobs.db").write_text("this is a letter to my grandmother, " * 100)
    result = run("stats")
    assert result.exit_code == 4
    assert "not a database" in result.stderr
    assert len(result.stderr.splitlines()) == 1
