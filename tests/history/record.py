"""The journals of all processes as one history."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Offer:
    """A job that was offered to the store."""

    at: float
    not_before: float
    books: bool = False
    """Whether its effect is committed together with its end."""
    given: bool = False
    """Whether its caller chose the id."""


@dataclass(slots=True)
class Run:
    """One run of a job, as its handler saw it."""

    id: str
    claim_no: int
    attempt: int
    pid: int
    due: float
    began: float
    ended: float | None = None
    outcome: str | None = None
    deadline: float | None = None
    timed_out: bool = False
    """Whether its node gave it up because it took too long."""
    undone: bool = False
    """Whether the commit that was to follow its end has failed, as far as its process knows."""

    @property
    def failed(self) -> bool:
        """Whether it may be charged as an attempt."""
        return self.outcome in ("failed", "unknown") or self.undone or self.timed_out

    def under_way(self, at: float) -> bool:
        return self.began <= at and (self.ended is None or self.ended > at)

    def __str__(self) -> str:
        return f"claim {self.claim_no} of process {self.pid}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to a process between `at` and `until`."""

    pid: int
    what: str
    at: float
    until: float


class Held(NamedTuple):
    """A claimed job in the backlog of a process: put in, taken to be run, or taken out."""

    event: str
    at: float
    id: str
    claim_no: int
    hotness: tuple[float, float] = (0.0, 0.0)
    """A lower priority is more, and a later due time. (Of jobs that are alike in both, the backlog
    knows only which came first to it.)"""
    due: bool = True
    """Whether it was due, by the clock of its process, when it came."""
    suspect: bool = False


@dataclass(slots=True)
class History:
    """What all processes have seen."""

    offers: dict[str, Offer] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    """Jobs of which their callers were told that nobody knew whether they were accepted."""
    cancelled: dict[str, float] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    """Runs of each job in order of their beginning."""
    completions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Claim numbers whose completion was reported as committed."""
    hurried: set[str] = field(default_factory=set)
    """Jobs that were made due before their time."""
    faults: dict[int, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    frozen: dict[int, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    """When a process stood still, by process, whether that had consequences or not."""
    requested: dict[str, int] = field(default_factory=dict)
    """Claim numbers under which jobs were asked to stop for good."""
    backlogs: dict[int, list[Held]] = field(default_factory=lambda: defaultdict(list))
    """What went into and out of the backlogs, by process."""
    oddities: list[tuple[str, str]] = field(default_factory=list)
    """Job and what makes no sense about its events."""

    @classmethod
    def read(cls, folder: Path) -> History:
        """The history in the journals of a folder."""
        return cls.of(event for file in sorted(folder.glob("*.jsonl")) for event in _events(file))

    @classmethod
    def of(cls, events: Iterable[dict[str, Any]]) -> History:
        """The history of some events; those at the same time stay in the order given."""
        history = cls()
        for event in sorted(events, key=lambda event: event["at"]):
            history._add(**event)
        return history

    def _add(self, event: str, at: float, pid: int, id: str = "", **facts: Any) -> None:
        match event:
            case "enqueue":
                self.offers.setdefault(id, Offer(at, **{"not_before": at, **facts}))
            case "enqueue_ok":
                self.accepted.add(id)
            case "enqueue_failed":
                self.refused.add(id)
            case "enqueue_unknown":
                self.unknown.add(id)
            case "cancelled":
                self.cancelled.setdefault(id, at)
            case "start":
                self.runs[id].append(Run(id=id, pid=pid, began=at, **facts))
            case "end":
                self._end(id, pid, at, **facts)
            case "undone":
                for run in self.runs.get(id, ()):
                    run.undone |= run.claim_no == facts["claim_no"]
            case "completed":
                self.completions[id].append(facts["claim_no"])
            case "hurried":
                self.hurried.add(id)
            case "committing":
                for run in self.runs.get(id, ()):
                    if run.claim_no == facts["claim_no"] and run.pid == pid:
                        run.outcome = "unknown"
            case "frozen":
                self.frozen[pid].append(Fault(pid, "frozen", at, facts["until"]))
            case "requested":
                self.requested.setdefault(id, facts["claim_no"])
            case "requeued":
                self.requested.pop(id, None)
            case "held" | "taken" | "dropped":
                self.backlogs[pid].append(Held(event, at, id, **facts))
            case "timed_out":
                for run in self.runs.get(id, ()):
                    run.timed_out |= run.claim_no == facts["claim_no"]
            case "fault":
                self.faults[pid].append(Fault(pid, facts["what"], at, facts.get("until", at)))
            case _:
                raise ValueError(f"no such event: {event!r}")

    def _end(self, id: str, pid: int, at: float, claim_no: int, outcome: str) -> None:
        for run in self.runs.get(id, ()):
            if run.claim_no == claim_no and run.pid == pid and run.ended is None:
                run.ended, run.outcome = at, outcome
                return
        self.oddities.append((id, f"claim {claim_no} ended in process {pid} without a start"))

    def beginning(self, pid: int, at: float, began: Set[tuple[str, int]]) -> list[str]:
        """Jobs that a worker of the process had taken then, and whose runs never began: their
        starts may have been written, which comes before they run."""
        taken: dict[tuple[str, int], None] = {}
        for step in self.backlogs.get(pid, ()):
            key = step.id, step.claim_no
            if step.at > at:
                break
            if step.event == "taken" and key not in began:
                taken[key] = None
            elif step.event == "dropped":
                taken.pop(key, None)
        return [job_id for job_id, _ in taken]

    def cuts(self, run: Run, before: float) -> list[Fault]:
        """The faults of the run's process that overlap the run and began `before` then."""
        return [f for f in self.faults.get(run.pid, ()) if run.began <= f.until and f.at <= before]

    def frozen_before(self, run: Run, moment: float) -> bool:
        """Whether a fault of its process ended no more than a moment before it began."""
        return any(f.at <= run.began <= f.until + moment for f in self.faults.get(run.pid, ()))

    def died_after(self, run: Run, seconds: float) -> bool:
        """Whether its process was killed so soon after it that its end may not be committed."""
        return run.ended is not None and any(
            f.what in ("kill", "crash") and run.ended <= f.at <= run.ended + seconds
            for f in self.faults.get(run.pid, ())
        )


def _events(file: Path) -> Iterator[dict[str, Any]]:
    """The events of one journal; a line that a kill has torn can only be the last."""
    text = file.read_text()
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield json.loads(line)
