"""``fastsched worker``: real processes and real signals."""

from __future__ import annotations

import json
import os
import signal

import pytest

from cli.processes import enqueue, new_job
from fastsched import Scheduler


@pytest.fixture
def scheduler(store_url):
    made = Scheduler(store_url)
    yield made
    made.stop()


@pytest.fixture
def pipe(tmp_path):
    """A pipe that a job reads from until we have written to it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_it_says_what_it_is(worker, store_url):
    process = worker("--workers", "3", "--queue", "default", "--queue", "mail", "--until-idle")
    assert process.exit_code() == 0
    said = "".join(process.said)
    assert store_url.removeprefix("sqlite:///") in said
    assert "default, mail" in said
    assert "workers  3" in said
    assert "program.bad, program.patient, program.quick, program.until_told" in said
    assert "Ctrl-C" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(worker, scheduler, pipe, number):
    running = enqueue(scheduler, "until_told", str(pipe))
    process = worker()
    process.wait_for_running()
    process.signal(number)
    process.wait_for("draining; jobs running: 1")
    pipe.write_text("go on")
    assert process.exit_code() == 0
    assert running.state() == "done"
    assert scheduler.store_stats().nodes == ()


def test_a_draining_worker_takes_no_more_jobs(worker, scheduler, pipe):
    running = enqueue(scheduler, "until_told", str(pipe))
    process = worker("--workers", "1")
    process.wait_for_running()
    scheduler.enqueue_many(new_job("quick") for _ in range(3000))
    process.signal(signal.SIGTERM)
    process.wait_for("draining")
    pipe.write_text("go on")
    assert process.exit_code() == 0
    look = scheduler.store_stats()
    assert running.state() == "done"
    assert (look.claimed, look.dead, look.done + look.ready) == (0, 0, 3001)
    assert look.ready > 0


def test_a_second_signal_hurries(worker, scheduler):
    running = enqueue(scheduler, "patient")
    process = worker("--grace", "600")
    process.wait_for_running()
    process.signal(signal.SIGTERM)
    process.wait_for("draining")
    process.signal(signal.SIGTERM)
    assert process.exit_code() == 0
    job = running.job()
    assert job is not None
    assert (job.state, job.attempt) == ("ready", 0)


def test_a_signal_that_does_not_wake_the_main_thread_is_heard_all_the_same(worker, scheduler):
    job = enqueue(scheduler, "whisper")
    process = worker()
    process.wait_for("draining")
    assert process.exit_code() == 0
    assert job.state() == "done"


def test_the_grace_ends_by_itself(worker, scheduler):
    running = enqueue(scheduler, "patient")
    process = worker("--grace", "0")
    process.wait_for_running()
    process.signal(signal.SIGTERM)
    assert process.exit_code() == 0
    assert running.state() == "ready"


def test_until_idle_runs_everything_and_stops(worker, scheduler):
    handles = [enqueue(scheduler, "quick") for _ in range(20)]
    assert worker("--until-idle").exit_code() == 0
    assert {handle.state() for handle in handles} == {"done"}


@pytest.mark.parametrize(("args", "code"), [([], 0), (["--strict"], 1)])
def test_failed_runs_count_under_strict_only(worker, scheduler, args, code):
    enqueue(scheduler, "bad")
    process = worker("--until-idle", *args)
    assert process.exit_code() == code
    assert "ValueError: no luck" in "".join(process.said)


def test_it_leaves_other_queues_alone(worker, scheduler):
    job = enqueue(scheduler, "quick")
    process = worker("--queue", "mail")
    process.wait_for("started on")
    process.signal(signal.SIGTERM)
    assert process.exit_code() == 0
    assert job.state() == "ready"


def test_sigusr1_shows_stacks_and_running_jobs(worker, scheduler):
    running = enqueue(scheduler, "patient")
    process = worker()
    process.wait_for_running()
    process.signal(signal.SIGUSR1)
    process.wait_for("runs 1 jobs")
    assert running.id in process.wait_for("program.patient attempt 1")
    stacks = "".join(process.said)
    assert "program.py" in stacks
    assert "in patient" in stacks


def test_json_logs_are_one_object_a_line(worker, scheduler):
    job = enqueue(scheduler, "bad")
    process = worker("--until-idle", "--json-logs")
    assert process.exit_code() == 0
    entries = [json.loads(line) for text in process.said for line in text.splitlines()]
    (died,) = [entry for entry in entries if entry.get("transition") == "dead"]
    assert (died["job_id"], died["kind"], died["level"]) == (job.id, "program.bad", "error")
    assert died["time"].endswith("+00:00")


def test_a_store_that_cannot_be_made_is_4(worker, tmp_path):
    process = worker("--store", f"sqlite:///{tmp_path / 'no' / 'jobs.db'}")
    assert process.exit_code() == 4
    assert "Traceback" not in "".join(process.said)


def test_the_store_option_wins_over_the_program(worker, scheduler, tmp_path):
    job = enqueue(scheduler, "quick")
    process = worker("--until-idle", "--store", f"sqlite:///{tmp_path / 'other.db'}")
    assert process.exit_code() == 0
    assert job.state() == "ready"
    assert (tmp_path / "other.db").exists()
