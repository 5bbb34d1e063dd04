"""The audit finds every way in which the books could be wrong."""

from __future__ import annotations

import copy
import hashlib
import math
import os
from dataclasses import replace

import pytest

from fastsched.demo.audit import Facts, audit
from fastsched.demo.report import Report
from fastsched.demo.runlog import RunRecord
from fastsched.stats import StoreStats

KILLED, SURVIVOR = 1, 2


@pytest.fixture
def facts(tmp_path):
    """Books that balance: one file measured once, one twice because of the kill, one dead."""
    once, twice, dead = (str(tmp_path / name) for name in ("once.py", "twice.py", "dead.py"))
    for path in (once, twice):
        with open(path, "w") as file:
            file.write(f"{path}\n")
    with open(dead, "wb") as file:
        file.write(b"\xff")

    def run(path, pid, claim_no=1):
        with open(path, "rb") as file:
            content = file.read()
        return RunRecord(
            job=path,
            path=path,
            claim_no=claim_no,
            attempt=1,
            pid=pid,
            began=claim_no,
            ended=claim_no + 0.5,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            lines=1,
        )

    cut_short = RunRecord(
        job=once, path=once, claim_no=1, attempt=1, pid=KILLED, began=1.0, ended=None
    )
    failed = RunRecord(
        job=dead, path=dead, claim_no=1, attempt=1, pid=SURVIVOR, began=1.0, ended=1.5, error="no"
    )
    vanished = str(tmp_path / "trouble" / "vanished.py")
    counts = dict.fromkeys(
        ("ready", "scheduled", "claimed", "waiting", "cancelled", "expired", "retried", "crashed",
         "stale"), 0
    )  # fmt: skip
    return Facts(
        root=str(tmp_path),
        enqueued=(once, twice, dead, vanished),
        vanished=vanished,
        again={path: os.stat(path) for path in (once, twice, dead)},
        began=math.inf,  # so no file counts as changed meanwhile
        enqueue_seconds=0.1,
        store=StoreStats(
            at=1.0, nodes=(), accepted=4, done=2, dead=2, dead_letters=2, rescued=2, **counts
        ),
        dead={dead: "UnicodeDecodeError", vanished: "FileNotFoundError"},
        runs=[
            cut_short,
            run(once, SURVIVOR, 2),
            run(twice, KILLED),
            run(twice, SURVIVOR, 2),
            failed,
        ],
        killed_pid=KILLED,
        killed_at=1.2,
        held={once: 1, twice: 1},
    )


def failing(facts):
    return [check.what for check in audit(facts) if not check.holds]


def test_books_that_balance(facts):
    assert failing(facts) == []
    assert Report(facts).record()["kill"] == {
        "held": 2,
        "cut_short": 1,
        "ended_unreported": 1,
        "measured_twice": 1,
        "rescued": 2,
        "recovery_seconds": 0.8,
    }


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


def test_a_job_done_without_a_measure(facts):
    runs = [run for run in facts.runs if "once" not in run.path]
    assert "every file is measured or in a dead letter, none is both" in failing(
        replace(facts, runs=runs)
    )


def test_a_dead_letter_that_was_measured(facts):
    dead = {**facts.dead, facts.enqueued[0]: "?"}
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


TWICE = "a file was measured twice only if the killed worker had not reported it"
TAKEN_BACK = "what the killed worker held, and only that, was taken back"


def test_a_run_repeated_although_it_was_reported(facts):
    held = {job: claim for job, claim in facts.held.items() if "twice" not in job}
    facts = replace(facts, held=held, store=replace(facts.store, rescued=1))
    assert failing(facts) == [TWICE]


def test_a_run_cut_short_without_the_kill(facts):
    assert failing(tampered(facts, 0, pid=SURVIVOR)) == [TAKEN_BACK]


def test_a_job_that_was_not_taken_back(facts):
    assert failing(replace(facts, store=replace(facts.store, rescued=1))) == [TAKEN_BACK]
