"""What is known when it is over, and what follows from it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from fastsched.demo.runlog import RunRecord
from fastsched.stats import StoreStats


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A worker that was killed, or stood still until others had taken its jobs.

    Times are on the monotonic clock, as in the log of runs.
    """

    what: str
    """`kill` or `freeze`."""
    node: str
    at: float
    held: Mapping[str, int]
    """Jobs claimed by it at that moment, and the numbers of the claims."""
    within: float
    """Seconds after which others must have begun with them."""
    woke_at: float | None = None
    """None for a killed one."""
    woke_as: str | None = None
    """Its new identity."""

    def lost(self, run: RunRecord) -> bool:
        """Whether the store had not been told what a run came to."""
        return self.held.get(run.job) == run.claim_no

    def recovery_seconds(self, runs: Sequence[RunRecord]) -> float | None:
        """From the loss until one of the jobs was started by another worker."""
        starts = [r.began for r in runs if r.claim_no > self.held.get(r.job, r.claim_no)]
        return min(starts) - self.at if starts else None


@dataclass(frozen=True, kw_only=True)
class Restart:
    """A server that was stopped and started again; times as above."""

    what: str
    at: float
    up_at: float
    """It took connections again."""
    watched_until: float

    def pause_seconds(self, runs: Sequence[RunRecord]) -> float:
        """The longest time, while it was watched, in which no run ended in any worker."""
        ends = sorted(run.ended for run in runs if run.ended is not None)
        marks = [self.at, *(e for e in ends if self.at < e < self.watched_until)]
        return max(later - sooner for sooner, later in pairwise([*marks, self.watched_until]))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known when it is over."""

    root: str
    stage: str
    """The servers, for people."""
    passes: int
    """How often every file of the folder was to be measured."""
    jobs: Mapping[str, str]
    """The path in each job, by id."""
    vanished: str
    """Deleted on purpose after its job was enqueued."""
    again: Mapping[str, os.stat_result | None]
    """The second walk; None for a link to nothing."""
    began: float
    """Store time."""
    enqueued_per_second: float
    store: StoreStats
    dead: Mapping[str, str]
    """Id and failure of every dead letter."""
    runs: Sequence[RunRecord]
    losses: Sequence[Loss]
    restarts: Sequence[Restart]

    @cached_property
    def measured(self) -> dict[str, list[RunRecord]]:
        """The runs that came to the end of their file, by job, in the order of their claims."""
        found = defaultdict(list)
        for run in sorted(self.runs, key=lambda run: run.claim_no):
            if run.measured:
                found[run.job].append(run)
        return dict(found)

    @property
    def paths(self) -> set[str]:
        """The files for which there are jobs."""
        return set(self.jobs.values())

    @property
    def cut_short(self) -> list[RunRecord]:
        """Runs that began and did not come to an end."""
        return [run for run in self.runs if run.ended is None]

    def lost_runs(self, loss: Loss) -> list[RunRecord]:
        """Runs of a lost worker of whose end the store did not know."""
        return [run for run in self.runs if loss.lost(run)]

    @property
    def repeated(self) -> Iterator[RunRecord]:
        """Runs that measured a file for a job that another run measured too, after them."""
        return (run for runs in self.measured.values() for run in runs[:-1])

    @property
    def run_seconds(self) -> float:
        """From the first start to the last end of a run that measured a file of the folder."""
        runs = [run for run in self.runs if run.measured and not self.planted(run.path)]
        if not runs:
            return 0.0
        return max(run.ended or run.began for run in runs) - min(run.began for run in runs)

    @property
    def retried(self) -> int:
        """Jobs that failed at first and then were done."""
        return sum(runs[0].attempt > 1 for runs in self.measured.values())

    @cached_property
    def changed(self) -> set[str]:
        """Files that came, went or changed while the demo ran: nobody can check those."""
        known = self.paths
        came = {p for p in self.again if p not in known and self._is_new(p)}
        gone = {p for p in known if p not in self.again and not os.path.lexists(p)}
        touched = {p for p in known if p in self.again and self._is_new(p)}
        return {path for path in came | gone | touched if not self.planted(path)}

    def planted(self, path: str) -> bool:
        """Whether it is one of the files made to fail: they have one job each."""
        return Path(path).parent == Path(self.vanished).parent

    def _is_new(self, path: str) -> bool:
        status = self.again[path]
        return status is not None and status.st_ctime >= self.began
