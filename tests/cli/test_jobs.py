"""``fastsched jobs``."""

from __future__ import annotations

import uuid

import pytest


def test_list_shows_jobs_oldest_first(jobs, run):
    first, second = jobs.ready(), jobs.scheduled()
    lines = run("jobs", "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["id", "kind", "queue", "state"]
    assert [line.split()[0] for line in lines[1:]] == [first.id, second.id]
    assert [line.split()[3] for line in lines[1:]] == ["ready", "scheduled"]


def test_list_filters(jobs, run_json):
    ready, scheduled, dead = jobs.ready(), jobs.scheduled(), jobs.dead()

    def ids(*args):
        return [job["id"] for job in run_json("jobs", "list", *args)["jobs"]]

    assert ids("--state", "dead") == [dead]
    assert ids("--kind", "good", "--state", "scheduled") == [scheduled.id]
    assert ids("--queue", "other") == []
    assert ready.id not in ids("--after", scheduled.id)


def test_list_goes_on_after_the_last_id(jobs, run_json):
    ids = [jobs.scheduled().id for _ in range(5)]
    first = run_json("jobs", "list", "--limit", "3")
    rest = run_json("jobs", "list", "--limit", "3", "--after", first["next_after"])
    assert [job["id"] for job in first["jobs"] + rest["jobs"]] == ids
    assert rest["next_after"] is None


def test_an_empty_list_is_no_error(jobs, run):
    jobs.scheduler.store_stats()
    result = run("jobs", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no jobs" in result.stderr


def test_times_in_json_are_utc(jobs, run_json):
    jobs.scheduled()
    (job,) = run_json("jobs", "list")["jobs"]
    assert job["due_at"].endswith("+00:00")
    assert job["due_at"] > job["created_at"]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("command", ["list", "show"])
def test_arguments_are_shown_only_when_asked_for(jobs, run, command, as_json):
    job = jobs.bad.options(delay=60).enqueue("a secret")
    args = ["jobs", command, *([job.id] if command == "show" else [])]
    args += ["--json"] if as_json else []
    assert "a secret" not in run(*args).output
    assert "a secret" in run(*args, "--show-args").output


def test_show_tells_why_a_job_died(jobs, run, run_json):
    dead = jobs.dead("out of luck")
    text = run("jobs", "show", dead).stdout
    assert "failed 1 of 1 attempts" in text
    assert "ValueError: out of luck" in text
    assert "Traceback" in text
    failure = run_json("jobs", "show", dead)["failure"]
    assert (failure["type"], failure["message"]) == ("ValueError", "out of luck")


def test_show_of_an_unknown_job_says_so(jobs, run):
    jobs.ready()
    result = run("jobs", "show", str(uuid.uuid4()))
    assert result.exit_code == 1
    assert "not in the store" in result.stderr


def test_text_from_a_job_cannot_move_the_cursor(jobs, run):
    dead = jobs.dead("\x1b[2J\x07\r\u202etxt")
    for command in (["jobs", "list"], ["jobs", "show", dead], ["dead", "list"]):
        output = run(*command).output
        assert "txt" in output
        assert not set(output) & {"\x1b", "\x07", "\r", "\u202e"}


def test_an_id_that_is_none_is_a_usage_error(jobs, run):
    jobs.ready()
    result = run("jobs", "show", "42")
    assert result.exit_code == 2
    assert "fastsched jobs list" in result.stderr


def test_cancel(jobs, run):
    job = jobs.scheduled()
    result = run("jobs", "cancel", job.id)
    assert result.exit_code == 0
    assert result.stdout == f"{job.id}  cancelled\n"
    assert job.state() == "cancelled"


def test_cancel_says_which_jobs_it_came_too_late_for(jobs, run_json):
    dead, alive = jobs.dead(), jobs.scheduled()
    results = run_json("jobs", "cancel", dead, alive.id)["results"]
    assert [(r["id"], r["ok"]) for r in results] == [(dead, False), (alive.id, True)]
    assert "dead letter" in results[0]["result"]


def test_retry_requeues_the_dead_and_hastens_the_scheduled(jobs, run):
    dead, scheduled = jobs.dead(), jobs.scheduled()
    result = run("jobs", "retry", dead, scheduled.id)
    assert result.exit_code == 0
    assert jobs.state(dead) == jobs.state(scheduled.id) == "ready"


def test_retry_of_anything_else_says_why_not(jobs, run):
    ready, gone = jobs.ready(), str(uuid.uuid4())
    result = run("jobs", "retry", ready.id, gone)
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert "waits for a worker" in first
    assert "not in the store" in second
