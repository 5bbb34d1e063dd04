"""``fastsched dead``."""

from __future__ import annotations

import pytest


@pytest.fixture
def two_dead(jobs):
    return [jobs.dead("one"), jobs.dead("two")]


def test_list_holds_dead_letters_only_with_their_failures(jobs, two_dead, run):
    jobs.scheduled()
    lines = run("dead", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == two_dead
    assert "ValueError: one" in lines[1]


def test_show_refuses_a_job_that_is_not_dead(jobs, run):
    job = jobs.scheduled()
    result = run("dead", "show", job.id)
    assert result.exit_code == 1
    assert "it is scheduled" in result.stderr


def test_show(jobs, two_dead, run_json):
    assert run_json("dead", "show", two_dead[0])["failure"]["message"] == "one"


def test_requeue_by_id_leaves_the_others(jobs, two_dead, run):
    assert run("dead", "requeue", two_dead[0]).exit_code == 0
    assert [jobs.state(i) for i in two_dead] == ["ready", "dead"]


def test_requeue_of_a_job_that_is_not_dead_fails(jobs, two_dead, run):
    scheduled = jobs.scheduled()
    result = run("dead", "requeue", scheduled.id, two_dead[0])
    assert result.exit_code == 1
    assert "no dead letter" in result.stdout
    assert jobs.state(two_dead[0]) == "ready"


def test_all_asks_first(jobs, two_dead, run):
    result = run("dead", "requeue", "--all", input="n\n")
    assert result.exit_code == 1
    assert "Requeue 2 dead letters?" in result.stderr
    assert [jobs.state(i) for i in two_dead] == ["dead", "dead"]
    assert run("dead", "requeue", "--all", input="y\n").exit_code == 0
    assert [jobs.state(i) for i in two_dead] == ["ready", "ready"]


def test_all_of_a_kind_leaves_other_kinds(jobs, two_dead, run_json):
    assert run_json("dead", "discard", "--all", "--kind", "good", "--yes") == {"discarded": 0}
    assert run_json("dead", "discard", "--all", "--kind", "bad", "--yes") == {"discarded": 2}
    assert jobs.scheduler.dead_letters() == []


def test_discard_by_id(jobs, two_dead, run):
    result = run("dead", "discard", two_dead[1])
    assert result.stdout == f"{two_dead[1]}  discarded\n"
    assert [job.id for job in jobs.scheduler.dead_letters()] == two_dead[:1]


@pytest.mark.parametrize("args", [[], ["--kind", "bad"]])
def test_neither_ids_nor_all_is_a_usage_error(jobs, two_dead, run, args):
    result = run("dead", "discard", *args)
    assert result.exit_code == 2
    assert len(jobs.scheduler.dead_letters()) == 2


def test_ids_and_all_together_are_a_usage_error(jobs, two_dead, run):
    assert run("dead", "discard", two_dead[0], "--all", "--yes").exit_code == 2
    assert run("dead", "discard", two_dead[0], "--kind", "bad").exit_code == 2
    assert len(jobs.scheduler.dead_letters()) == 2
