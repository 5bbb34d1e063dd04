"""What must be true of every history, whatever was killed meanwhile.

Each rule is a function over the history and the final store that yields a violation for every job
that breaks it. `check` runs them all, in one pass each: O(n log n) in the number of events.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from fastsched import Scheduler, State, StoreStats
from history.record import Held, History

MAX_CRASHES = 3
"""Crashes charged to a job until it is a dead letter."""
A_MOMENT = 0.05
"""Seconds that a process may take from its last look at its place to the start of a run."""
A_COMMIT = 1.0
"""Seconds that the commit of an end may take."""
CLOCK_LAG = 5.0
"""Seconds by which a process may at most believe that it is earlier than it is."""
_MAYBE_DONE = ("done", "unknown")
_END = float("inf")


class Row(NamedTuple):
    """A job that the store still has."""

    state: State
    crashes: int = 0
    claim_no: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The store after everything was healed and drained."""

    stats: StoreStats
    rows: Mapping[str, Row] = field(default_factory=dict)
    effects: AbstractSet[tuple[str, int]] | None = None
    """Job and claim number of every effect that a handler has committed; None: not recorded."""
    booked: Sequence[tuple[str, int]] = ()
    """The same of every effect that was committed in one transaction with the end of its job."""

    @classmethod
    def of(
        cls,
        scheduler: Scheduler,
        effects: Iterable[tuple[str, int]] | None = None,
        booked: Iterable[tuple[str, int]] = (),
    ) -> Final:
        """Everything that the scheduler's store knows."""
        rows: dict[str, Row] = {}
        while page := scheduler.jobs(after=max(rows, default=None), limit=10_000):
            rows |= {job.id: Row(job.state, job.crashes, job.claim_no) for job in page}
        return cls(
            stats=scheduler.store_stats(),
            rows=rows,
            effects=None if effects is None else frozenset(effects),
            booked=tuple(booked),
        )

    def done(self, job_id: str) -> bool:
        """Whether the job counts as done; of an accepted job, absent means done."""
        return job_id not in self.rows or self.rows[job_id].state is State.DONE


class Violation(NamedTuple):
    """A rule, the job that breaks it (empty: the whole store), and how."""

    rule: str
    id: str
    how: str


_Found = Iterator[tuple[str, str]]
_Rule = Callable[[History, Final], _Found]


def check(history: History, final: Final) -> list[Violation]:
    """Every violation of every rule; empty for a good history."""
    return [
        Violation(rule.__name__, job_id, how)
        for rule in RULES
        for job_id, how in rule(history, final)
    ]


def lost(history: History, final: Final) -> _Found:
    """An accepted job was run to its end, or the store still has it."""
    for job_id in history.accepted:
        runs = history.runs.get(job_id, ())
        if final.done(job_id) and not any(run.outcome in _MAYBE_DONE for run in runs):
            yield job_id, "accepted, gone, and never run to its end"


def unexpected(history: History, final: Final) -> _Found:
    """Only jobs that were offered, and not refused, are run."""
    for job_id, runs in history.runs.items():
        if runs and job_id not in history.offers:
            yield job_id, "started, though nobody enqueued it"
        if runs and job_id in history.refused:
            yield job_id, "started, though its enqueue was refused"


def spared(history: History, final: Final) -> _Found:
    """A job that has crashed three processes is set aside: it does not crash a fourth."""
    for job_id, row in final.rows.items():
        if row.crashes + (row.state is not State.DEAD) > MAX_CRASHES:
            yield job_id, f"{row.state} after {row.crashes} crashes"


def nonsense(history: History, final: Final) -> _Found:
    """A run ends at most once, in the process in which it started, and after that."""
    yield from history.oddities


def fence(history: History, final: Final) -> _Found:
    """The claim number grows with every run of a job.

    A process that was frozen between its last look at its place and the start makes that start
    when it wakes.
    """
    for job_id, runs in history.runs.items():
        for before, run in pairwise(runs):
            late = run.claim_no < before.claim_no and history.frozen_before(run, A_MOMENT)
            if run.claim_no <= before.claim_no and not late:
                yield job_id, f"{run} started after {before}"


def stale(history: History, final: Final) -> _Found:
    """Only the newest claim completes a job, and only once."""
    for job_id, runs in history.runs.items():
        if not any(run.outcome in _MAYBE_DONE for run in runs):
            continue  # see `lost`
        newest = max(runs, key=lambda run: (run.claim_no, run.began))
        if final.done(job_id) and newest.outcome not in _MAYBE_DONE:
            yield job_id, f"done, though {newest}, the newest, did not run to its end"
        completions = history.completions.get(job_id, [])
        if len(completions) > 1:
            yield job_id, f"completed {len(completions)} times"
        for claim_no in completions:
            if claim_no < newest.claim_no:
                yield job_id, f"completed by claim {claim_no}, though {newest} had started"


def rerun(history: History, final: Final) -> _Found:
    """A job runs again only because its run asked for it, by failing, by snoozing or by taking too
    long, or because a fault hit the process in it."""
    for job_id, runs in history.runs.items():
        for before, run in pairwise(runs):
            if run.claim_no < before.claim_no:
                continue  # see `fence`
            asked = before.failed or before.outcome == "snoozed"
            if not asked and not history.cuts(before, run.began):
                yield job_id, f"{run} started, though nothing had happened to {before}"


def revived(history: History, final: Final) -> _Found:
    """What was cancelled before it started never starts."""
    for job_id, at in history.cancelled.items():
        if any(run.began > at for run in history.runs.get(job_id, ())):
            yield job_id, "started after the store had said that it never would"


def early(history: History, final: Final) -> _Found:
    """No job starts before the store's due time, nor before its caller wanted it."""
    for job_id, runs in history.runs.items():
        offer = history.offers.get(job_id)
        for run in runs:
            due = run.due
            if offer is not None and job_id not in history.hurried:
                due = max(due, offer.not_before)
            if run.began < due:
                yield job_id, f"{run} started {due - run.began:.6f} s before it was due"


def attempts(history: History, final: Final) -> _Found:
    """Only a run that failed is charged as an attempt."""
    for job_id, runs in history.runs.items():
        failed = 0
        for run in runs:
            if run.attempt > failed + 1:
                yield job_id, f"{run} counts as attempt {run.attempt} after {failed} failures"
            failed += run.failed


def buried(history: History, final: Final) -> _Found:
    """A dead letter has failed, or has crashed often enough; crashes are not invented."""
    for job_id, row in final.rows.items():
        runs = history.runs.get(job_id, [])
        crashes = sum(run.ended is None and bool(history.cuts(run, _END)) for run in runs)
        crashes += sum(history.died_after(run, A_COMMIT) for run in runs)
        crashes += max(row.claim_no - len(runs), 0)  # recorded, and died before it started
        if row.crashes > crashes:
            yield job_id, f"charged with {row.crashes} crashes, took part in {crashes}"
        failed = any(run.failed for run in runs)
        if row.state is State.DEAD and row.crashes < MAX_CRASHES and not failed:
            yield job_id, f"dead after {row.crashes} crashes and no failure"


def _alone(history: History) -> Counter[str]:
    """How often something was done to a process in which a job, by id, ran alone."""
    runs_of = defaultdict(list)
    for runs in history.runs.values():
        for run in runs:
            runs_of[run.pid].append(run)
    alone: Counter[str] = Counter()
    for pid, faults in history.faults.items():
        began = {(run.id, run.claim_no) for run in runs_of[pid]}
        for fault in faults:
            under_way = [run.id for run in runs_of[pid] if run.under_way(fault.until)]
            under_way += history.beginning(pid, fault.until, began)
            if len(under_way) == 1:
                alone[under_way[0]] += 1
            for run in runs_of[pid]:  # to the store, one whose end is not committed still runs
                if run.ended is not None and run.ended <= fault.until <= run.ended + A_COMMIT:
                    alone[run.id] += 1
    return alone


def bystander(history: History, final: Final) -> _Found:
    """A job is charged only with crashes of processes in which it ran alone.

    Only where the backlogs are recorded, and so every step of a run.
    """
    charged = {job_id: row.crashes for job_id, row in final.rows.items() if row.crashes}
    alone = _alone(history) if charged and history.backlogs else Counter(charged)
    for job_id, crashes in charged.items():
        if crashes > alone[job_id]:
            yield job_id, f"charged with {crashes} crashes, ran alone in {alone[job_id]}"


def late(history: History, final: Final) -> _Found:
    """No run starts after the job's deadline, as far as its process knew the time."""
    for job_id, runs in history.runs.items():
        for run in runs:
            frozen = any(f.at <= run.began <= f.until + 1.0 for f in history.frozen[run.pid])
            if run.deadline is not None and run.began > run.deadline + CLOCK_LAG and not frozen:
                yield job_id, f"{run} started {run.began - run.deadline:.3f} s after its deadline"


def obstinate(history: History, final: Final) -> _Found:
    """What was asked to stop for good is not claimed again."""
    for job_id, claim_no in history.requested.items():
        for run in history.runs.get(job_id, ()):
            if run.claim_no > claim_no:
                yield job_id, f"{run} started after claim {claim_no} was asked to stop for good"


def order(history: History, final: Final) -> _Found:
    """A worker takes the hottest of the jobs that wait in its process and were due when they came;
    suspects, which wait until they can run alone, apart."""
    for steps in history.backlogs.values():
        waiting: dict[tuple[str, int], Held] = {}
        gone: set[tuple[str, int]] = set()
        for step in steps:
            key = step.id, step.claim_no
            if step.event == "held":
                if step.due and not step.suspect and key not in gone:
                    waiting[key] = step
                continue
            gone.add(key)
            waiting.pop(key, None)
            if step.event == "taken" and not step.suspect and waiting:
                hottest = min(waiting.values(), key=lambda held: held.hotness)
                if hottest.hotness < step.hotness:
                    yield step.id, f"taken before {hottest.id}, which was hotter and waited, too"


def effects(history: History, final: Final) -> _Found:
    """An effect comes from a run; a run that ended well, and so a done job, has its effect."""
    if final.effects is None:
        return
    known = {(r.id, r.claim_no): r for runs in history.runs.values() for r in runs}
    for job_id, claim_no in final.effects - known.keys():
        yield job_id, f"an effect of claim {claim_no}, which never started"
    for (job_id, claim_no), run in known.items():
        if run.outcome == "done" and (job_id, claim_no) not in final.effects:
            yield job_id, f"{run} ended without its effect"


def books(history: History, final: Final) -> _Found:
    """An effect that is committed with the end of its job is there once if it is done, or not."""
    claims = defaultdict(list)
    for job_id, claim_no in final.booked:
        claims[job_id].append(claim_no)
    for job_id, booked in claims.items():
        if len(booked) > 1:
            yield job_id, f"its effect was committed by the claims {sorted(booked)}"
        newest = max((run.claim_no for run in history.runs.get(job_id, ())), default=None)
        if booked[-1] != newest:
            yield job_id, f"its effect is of claim {booked[-1]}, the newest run is of {newest}"
        if not final.done(job_id):
            yield job_id, f"its effect is committed, and it is {final.rows[job_id].state}"
    for job_id in history.accepted:
        if history.offers[job_id].books and final.done(job_id) and job_id not in claims:
            yield job_id, "done without the effect that is committed with its end"


def balance(history: History, final: Final) -> _Found:
    """accepted = done + dead + cancelled + expired + live; the history counts the same."""
    stats = final.stats
    ended = stats.done + stats.dead + stats.cancelled + stats.expired
    if stats.accepted != ended + stats.live:
        yield "", f"accepted {stats.accepted}, but ended {ended} and live {stats.live}"
    unknown = history.offers.keys() - history.accepted - history.refused
    least = len(history.accepted)
    if not least <= stats.accepted <= least + len(unknown):
        yield "", f"{least} accepted and {len(unknown)} unknown, counted {stats.accepted}"
    least = sum(final.done(job_id) for job_id in history.accepted)
    most = least + sum(final.done(job_id) for job_id in unknown)
    if not least <= stats.done <= most:
        yield "", f"{least} to {most} jobs are done, counted {stats.done}"
    for state in (State.DEAD, State.CANCELLED, State.EXPIRED):
        counted = getattr(stats, state)
        rows = sum(row.state is state for row in final.rows.values())
        if rows != counted:
            yield "", f"{rows} rows are {state}, counted {counted}"


def stuck(history: History, final: Final) -> _Found:
    """After the drain nothing is claimed, and nothing waits that could run."""
    for job_id, row in final.rows.items():
        if row.state in (State.CLAIMED, State.READY):
            yield job_id, f"still {row.state}"


RULES: tuple[_Rule, ...] = (
    lost, unexpected, nonsense, fence, stale, rerun, revived, obstinate, early, late, order,
    attempts, buried, bystander, effects, books, balance, stuck, spared,
)  # fmt: skip
