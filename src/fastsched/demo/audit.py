"""Does it balance? The store's word, the runs' own log and a second walk must agree."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastsched.demo.facts import Facts
from fastsched.demo.jobs import measure_file

_SAMPLE = 100
"""Files whose hash is computed again."""
_LONGEST_PAUSE = 10.0
"""Seconds for which the restart of a server may stop the work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, and what was found."""

    what: str
    holds: bool
    found: str


def audit(facts: Facts) -> Iterator[Check]:
    """Every check; the demo has failed if one does not hold."""
    yield _check_jobs(facts)
    store = facts.store
    yield Check(
        "every job is done or a dead letter",
        store.done + store.dead == store.accepted and not store.live,
        f"{store.done:,} + {store.dead:,} of {store.accepted:,}, {store.live} left",
    )
    yield Check(
        "every file is measured or in a dead letter, none is both",
        set(facts.measured) | set(facts.dead) == set(facts.jobs)
        and not set(facts.measured) & set(facts.dead),
        f"{len(facts.measured):,} measured, {len(facts.dead):,} dead",
    )
    yield _check_sizes(facts)
    yield _check_hashes(facts)
    failed = {facts.jobs[job] for job in facts.dead if job in facts.jobs}
    yield Check(
        "dead letters fail here too",
        all(map(_fails, failed)),
        f"{len(failed):,} files tried",
    )
    yield from _check_losses(facts)
    yield from _check_restarts(facts)


def _check_jobs(facts: Facts) -> Check:
    """Each file is in as many jobs as there were passes; the planted ones are in one."""
    enqueued, changed = Counter(facts.jobs.values()), facts.changed
    walked = set(facts.again) | {facts.vanished}
    expected = {p: 1 if facts.planted(p) else facts.passes for p in walked | set(enqueued)}
    wrong = [p for p, n in expected.items() if enqueued[p] != n and p not in changed]
    unwalked = set(enqueued) - walked - changed
    jobs = "one job" if facts.passes == 1 else f"a job a pass, {facts.passes} passes,"
    return Check(
        f"{jobs} for every file that a second walk finds",
        facts.store.accepted == len(facts.jobs) and not wrong and not unwalked,
        f"{len(walked):,} files, {facts.store.accepted:,} jobs",
    )


def _check_sizes(facts: Facts) -> Check:
    """Bytes counted once a job, against what the file system says."""
    counted = expected = 0
    for job, runs in facts.measured.items():
        path = facts.jobs.get(job, "")
        status = facts.again.get(path)
        if path not in facts.changed and status is not None:
            counted += runs[-1].size
            expected += status.st_size
    text = f"{counted:,} bytes" if counted == expected else f"{counted:,}, not {expected:,}"
    return Check(
        "measured bytes are those of the files, each counted once", counted == expected, text
    )


def _check_hashes(facts: Facts) -> Check:
    """Hash some files again, by other means, and compare with every run of them."""
    runs = [r for r in facts.runs if r.measured and r.path not in facts.changed]
    candidates = sorted({run.path for run in runs})
    sample = set(random.sample(candidates, min(_SAMPLE, len(candidates))))
    sample |= {run.path for run in facts.repeated} - facts.changed
    truth = {path: _sha256(path) for path in sample}
    wrong = [r.path for r in runs if r.path in truth and r.sha256 != truth[r.path]]
    text = f"{len(sample):,} files" if not wrong else f"{len(wrong):,} differ: {wrong[0]}"
    return Check("hashes of a sample agree", not wrong, text)


def _check_losses(facts: Facts) -> Iterator[Check]:
    """What ran twice, and what was taken back, is what the lost workers had not reported."""
    repeated = list(facts.repeated)
    yield Check(
        "a job measured its file twice only if a lost worker had not reported it",
        all(any(loss.lost(run) for loss in facts.losses) for run in repeated),
        f"{len(repeated):,} jobs",
    )
    held = sum(len(loss.held) for loss in facts.losses)
    yield Check(
        "what the lost workers held, and only that, was taken back",
        facts.store.rescued == held
        and all(any(loss.lost(run) for loss in facts.losses) for run in facts.cut_short),
        f"{facts.store.rescued:,} of {held:,} jobs",
    )
    for loss in facts.losses:
        seconds = loss.recovery_seconds(facts.runs)
        found = "nobody took them" if seconds is None else f"after {seconds:.2f} s"
        yield Check(
            f"others took over after the {loss.what} within {loss.within:g} s",
            not loss.held or (seconds is not None and seconds <= loss.within),
            found,
        )
        if loss.woke_at is not None:
            late, refused = len(facts.lost_runs(loss)), facts.store.stale
            yield Check(
                "whatever the frozen worker still reported was refused, and it went on anew",
                refused >= late and any(run.node == loss.woke_as for run in facts.runs),
                f"{late:,} runs, {refused:,} ends refused",
            )


def _check_restarts(facts: Facts) -> Iterator[Check]:
    for restart in facts.restarts:
        pause = restart.pause_seconds(facts.runs)
        yield Check(
            f"work went on after the restart of {restart.what}",
            pause < min(_LONGEST_PAUSE, restart.watched_until - restart.up_at),
            f"longest pause {pause:.2f} s",
        )


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fails(path: str) -> bool:
    try:
        measure_file(Path(path))
    except Exception:
        return True
    return False
