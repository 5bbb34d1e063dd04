"""The audit finds every way in which the books could be wrong."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from dataclasses import replace

import pytest

from fastsched.demo.audit import audit
from fastsched.demo.facts import Facts, Loss, Restart
from fastsched.demo.report import Report
from fastsched.demo.runlog import RunRecord
from fastsched.stats import StoreStats

LOST, SURVIVOR, ANEW = "node 1", "node 2", "node 3"


def measured(path, node, claim_no=1, began=None, job=None):
    """A run that came to its end half a second after it began."""
    with open(path, "rb") as file:
        content = file.read()
    began = claim_no if began is None else began
    return RunRecord(
        job=job or path,
        path=path,
        claim_no=claim_no,
        attempt=1,
        node=node,
        began=began,
        ended=began + 0.5,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        lines=1,
    )


@pytest.fixture
def facts(tmp_path):
    """Books that balance: one file measured once, one twice because of the kill, one dead."""
    once, twice, dead = (str(tmp_path / name) for name in ("once.py", "twice.py", "dead.py"))
    for path in (once, twice):
        with open(path, "w") as file:
            file.write(f"{path}\n")
    with open(dead, "wb") as file:
        file.write(b"\xff")
    cut_short = RunRecord(
        job=once, path=once, claim_no=1, attempt=1, node=LOST, began=1.0, ended=None
    )
    failed = RunRecord(
        job=dead, path=dead, claim_no=1, attempt=1, node=SURVIVOR, began=1.0, ended=1.5, error="no"
    )
    vanished = str(tmp_path / "trouble" / "vanished.py")
    counts = dict.fromkeys(
        ("ready", "scheduled", "claimed", "waiting", "cancelled", "expired", "retried", "crashed",
         "stale"), 0
    )  # fmt: skip
    return Facts(
        root=str(tmp_path),
        stage="SQLite",
        passes=1,
        jobs={path: path for path in (once, twice, dead, vanished)},
        vanished=vanished,
        again={path: os.stat(path) for path in (once, twice, dead)},
        began=math.inf,  # so no file counts as changed meanwhile
        enqueued_per_second=40.0,
        store=StoreStats(
            at=1.0, nodes=(), accepted=4, done=2, dead=2, dead_letters=2, rescued=2, **counts
        ),
        dead={dead: "UnicodeDecodeError", vanished: "FileNotFoundError"},
        runs=[
            cut_short,
            measured(once, SURVIVOR, 2),
            measured(twice, LOST),
            measured(twice, SURVIVOR, 2),
            failed,
        ],
        losses=[Loss(what="kill", node=LOST, at=1.2, held={once: 1, twice: 1}, within=1.0)],
        restarts=[],
    )


@pytest.fixture
def cluster(facts):
    """The same, but the worker was frozen and woke, and a server was restarted."""
    (loss,) = facts.losses
    late = replace(facts.runs[0], ended=6.0, error="too late")
    woken = replace(facts.runs[4], node=ANEW, claim_no=2, began=7.0, ended=7.5)
    return replace(
        facts,
        losses=[replace(loss, what="freeze", woke_at=5.5, woke_as=ANEW)],
        restarts=[Restart(what="PostgreSQL", at=7.0, up_at=7.3, watched_until=9.0)],
        runs=[late, *facts.runs[1:], woken],
        store=replace(facts.store, stale=2),
    )


def failing(facts):
    return [check.what for check in audit(facts) if not check.holds]


def test_books_that_balance(facts):
    assert failing(facts) == []
    record = Report(facts).record()
    assert record["kill"] == {
        "held": 2,
        "not_started": 0,
        "cut_short": 1,
        "ended_unreported": 1,
        "ended_late": 0,
        "recovery_seconds": 0.8,
    }
    assert (record["measured_twice"], record["rescued"], record["freeze"]) == (1, 2, None)


def test_books_of_a_cluster_that_balance(cluster):
    assert failing(cluster) == []
    record = Report(cluster).record()
    assert record["kill"] is None
    assert record["freeze"]["ended_late"] == 1
    assert record["refused_ends"] == 2
    assert record["restarts"] == [
        {"what": "PostgreSQL", "away_seconds": 0.3, "longest_pause_seconds": 1.5}
    ]


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        ({"accepted": 5}, "one job for every file"),
        ({"done": 1}, "done or a dead letter"),
        ({"ready": 1}, "done or a dead letter"),
    ],
)
def test_a_store_that_counts_wrong(facts, counts, what):
    (first, *_) = failing(replace(facts, store=replace(facts.store, **counts)))
    assert what in first


def test_a_file_without_a_job(facts, tmp_path):
    new = tmp_path / "new.py"
    new.write_text("\n")
    found = failing(replace(facts, again={**facts.again, str(new): new.stat()}))
    assert "one job for every file that a second walk finds" in found


def test_a_file_left_out_of_a_pass(facts):
    """Two jobs are wanted for each file but the planted one."""
    jobs = {**facts.jobs, **{f"{i} again": i for i in list(facts.jobs)[:3]}}
    runs = [measured(facts.jobs[j], SURVIVOR, job=f"{j} again") for j in list(facts.jobs)[:2]]
    store = replace(facts.store, accepted=7, done=4, dead=3)
    dead = {**facts.dead, f"{list(facts.jobs)[2]} again": "UnicodeDecodeError"}
    twice = replace(facts, passes=2, jobs=jobs, runs=[*facts.runs, *runs], store=store, dead=dead)
    assert failing(twice) == []
    last = jobs.popitem()
    one_less = replace(store, accepted=6, dead=2)
    (what,) = failing(replace(twice, jobs=jobs, dead=facts.dead, store=one_less))
    assert "2 passes" in what, last


def test_a_job_done_without_a_measure(facts):
    runs = [run for run in facts.runs if "once" not in run.path]
    assert "every file is measured or in a dead letter, none is both" in failing(
        replace(facts, runs=runs)
    )


def test_a_dead_letter_that_was_measured(facts):
    dead = {**facts.dead, next(iter(facts.jobs)): "?"}
    found = failing(replace(facts, dead=dead))
    assert "every file is measured or in a dead letter, none is both" in found
    assert "dead letters fail here too" in found


def test_files_that_changed_meanwhile_are_named_and_not_checked(facts, tmp_path):
    live = replace(tampered(facts, 1, size=1, sha256="0"), began=0.0)
    assert failing(live) == []
    assert str(tmp_path / "once.py") in Report(live).record()["changed_meanwhile"]


def tampered(facts, position, **fields):
    runs = copy.deepcopy(list(facts.runs))
    for name, value in fields.items():
        setattr(runs[position], name, value)
    return replace(facts, runs=runs)


def test_a_wrong_size(facts):
    assert failing(tampered(facts, 1, size=1)) == [
        "measured bytes are those of the files, each counted once"
    ]


def test_a_wrong_hash(facts):
    assert failing(tampered(facts, 1, sha256="0")) == ["hashes of a sample agree"]


TWICE = "a job measured its file twice only if a lost worker had not reported it"
TAKEN_BACK = "what the lost workers held, and only that, was taken back"
IN_TIME = "others took over after the kill within 1 s"
REFUSED = "whatever the frozen worker still reported was refused, and it went on anew"
WENT_ON = "work went on after the restart of PostgreSQL"


def test_a_run_repeated_although_it_was_reported(facts):
    (loss,) = facts.losses
    held = {job: claim for job, claim in loss.held.items() if "twice" not in job}
    store = replace(facts.store, rescued=1)
    assert failing(replace(facts, losses=[replace(loss, held=held)], store=store)) == [TWICE]


def test_a_run_repeated_by_the_restart_of_a_server(cluster):
    """A restart takes no job from a node that lives: nothing but a loss explains a second run."""
    again = measured(cluster.runs[1].path, SURVIVOR, claim_no=3, began=8.0)
    assert failing(replace(cluster, runs=[*cluster.runs, again])) == [TWICE]


def test_a_run_cut_short_without_a_loss(facts):
    assert failing(tampered(facts, 0, claim_no=0)) == [TAKEN_BACK]


@pytest.mark.parametrize("rescued", [1, 3])
def test_jobs_not_taken_back_and_jobs_taken_from_the_living(facts, rescued):
    assert failing(replace(facts, store=replace(facts.store, rescued=rescued))) == [TAKEN_BACK]


def test_jobs_taken_back_too_late(facts):
    (loss,) = facts.losses
    assert failing(replace(facts, losses=[replace(loss, at=0.9)])) == [IN_TIME]


def test_late_ends_that_were_not_refused(cluster):
    assert failing(replace(cluster, store=replace(cluster.store, stale=1))) == [REFUSED]


def test_a_frozen_worker_that_does_not_come_back(cluster):
    assert failing(replace(cluster, runs=cluster.runs[:-1])) == [REFUSED, WENT_ON]


def test_a_restart_after_which_nothing_is_done(cluster):
    (restart,) = cluster.restarts
    later = replace(restart, at=8.0, up_at=8.3)
    assert failing(replace(cluster, restarts=[later])) == [WENT_ON]
