"""Does it balance? The store's word, the runs' own log and a second walk must agree."""

from __future__ import annotations

import hashlib
import os
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastsched.demo.jobs import measure_file
from fastsched.demo.runlog import RunRecord
from fastsched.stats import StoreStats

_SAMPLE = 100
"""Files whose hash is computed again."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known when it is over."""

    root: str
    enqueued: Sequence[str]
    """The path in each job."""
    vanished: str
    """Deleted on purpose after its job was enqueued."""
    again: Mapping[str, os.stat_result | None]
    """The second walk; None for a link to nothing."""
    began: float
    """Store time."""
    enqueue_seconds: float
    store: StoreStats
    dead: Mapping[str, str]
    """Path and failure of every dead letter."""
    runs: Sequence[RunRecord]
    killed_pid: int | None
    """None if everything was over before a worker could be killed."""
    killed_at: float | None
    """On the monotonic clock."""
    held: Mapping[str, int]
    """Jobs claimed by the killed worker at that moment, and the numbers of the claims."""

    @cached_property
    def measured(self) -> dict[str, list[RunRecord]]:
        """The runs that came to the end of their file, by path."""
        found = defaultdict(list)
        for run in self.runs:
            if run.measured:
                found[run.path].append(run)
        return dict(found)

    @property
    def cut_short(self) -> list[RunRecord]:
        """Runs that the kill ended half-way."""
        return [run for run in self.runs if run.ended is None]

    @property
    def unreported(self) -> list[RunRecord]:
        """Runs of the killed worker that had ended, which it had not yet told the store."""
        return [
            run
            for run in self.runs
            if run.ended is not None and self.held.get(run.job) == run.claim_no
        ]

    @property
    def twice(self) -> list[str]:
        """Files measured more than once."""
        return [path for path, runs in self.measured.items() if len(runs) > 1]

    @property
    def recovery_seconds(self) -> float | None:
        """From the kill until a job that the killed worker held was started by the other."""
        if self.killed_at is None:
            return None
        starts = [
            run.began
            for run in self.runs
            if run.job in self.held and run.claim_no > self.held[run.job]
        ]
        return min(starts) - self.killed_at if starts else None

    @property
    def run_seconds(self) -> float:
        """From the first start to the last end of a run that measured a file of the folder."""
        runs = [run for run in self.runs if run.measured and not self._planted(run.path)]
        if not runs:
            return 0.0
        return max(run.ended or run.began for run in runs) - min(run.began for run in runs)

    @property
    def retried(self) -> int:
        """Jobs that failed at first and then were done."""
        return sum(runs[0].attempt > 1 for runs in self.measured.values())

    @property
    def changed(self) -> set[str]:
        """Files that came, went or changed while the demo ran: nobody can check those."""
        came = {p for p in self.again if p not in set(self.enqueued) and self._is_new(p)}
        gone = {p for p in self.enqueued if p not in self.again and not os.path.lexists(p)}
        touched = {p for p in self.enqueued if p in self.again and self._is_new(p)}
        return {path for path in came | gone | touched if not self._planted(path)}

    def _planted(self, path: str) -> bool:
        return Path(path).parent == Path(self.vanished).parent

    def _is_new(self, path: str) -> bool:
        status = self.again[path]
        return status is not None and status.st_ctime >= self.began


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, and what was found."""

    what: str
    holds: bool
    found: str


def audit(facts: Facts) -> Iterator[Check]:
    """Every check; the demo has failed if one does not hold."""
    store = facts.store
    enqueued, changed = set(facts.enqueued), facts.changed
    walked = set(facts.again) | {facts.vanished}
    yield Check(
        "one job for every file that a second walk finds",
        store.accepted == len(facts.enqueued) == len(enqueued)
        and walked - changed == enqueued - changed,
        f"{len(walked):,} files, {store.accepted:,} jobs",
    )
    yield Check(
        "every job is done or a dead letter",
        store.done + store.dead == store.accepted and not store.live,
        f"{store.done:,} + {store.dead:,} of {store.accepted:,}, {store.live} left",
    )
    yield Check(
        "every file is measured or in a dead letter, none is both",
        set(facts.measured) | set(facts.dead) == enqueued
        and not set(facts.measured) & set(facts.dead),
        f"{len(facts.measured):,} measured, {len(facts.dead):,} dead",
    )
    yield _check_sizes(facts, changed)
    yield _check_hashes(facts, changed)
    yield Check(
        "dead letters fail here too",
        all(_fails(path) for path in facts.dead),
        f"{len(facts.dead):,} tried",
    )
    unreported = {run.path for run in facts.unreported}
    yield Check(
        "a file was measured twice only if the killed worker had not reported it",
        all(path in unreported and len(facts.measured[path]) == 2 for path in facts.twice),
        f"{len(facts.twice):,} files",
    )
    yield Check(
        "what the killed worker held, and only that, was taken back",
        store.rescued == len(facts.held)
        and all(run.pid == facts.killed_pid for run in facts.cut_short),
        f"{store.rescued:,} of {len(facts.held):,} jobs",
    )


def _check_sizes(facts: Facts, changed: set[str]) -> Check:
    """Bytes counted once a file, against what the file system says."""
    counted = expected = 0
    for path, runs in facts.measured.items():
        status = facts.again.get(path)
        if path not in changed and status is not None:
            counted += runs[-1].size
            expected += status.st_size
    text = f"{counted:,} bytes" if counted == expected else f"{counted:,}, not {expected:,}"
    return Check(
        "measured bytes are those of the files, each counted once", counted == expected, text
    )


def _check_hashes(facts: Facts, changed: set[str]) -> Check:
    """Hash some files again, by other means, and compare with every run of them."""
    candidates = sorted(set(facts.measured) - changed)
    sample = random.sample(candidates, min(_SAMPLE, len(candidates)))
    wrong = [
        path
        for path in {*sample, *facts.twice} - changed
        if any(run.sha256 != _sha256(path) for run in facts.measured[path])
    ]
    text = f"{len(sample):,} files" if not wrong else f"{len(wrong):,} differ: {wrong[0]}"
    return Check("hashes of a sample agree", not wrong, text)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fails(path: str) -> bool:
    try:
        measure_file(Path(path))
    except Exception:
        return True
    return False
