"""What a storm came to, in figures."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from history import History

from fastsched import StoreStats


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of a storm that the checker found no fault with."""

    seed: int
    seconds: float
    accepted: int
    unknown: int
    """Jobs of which a caller was told that nobody knew, and which it repeated."""
    runs: int
    cut_short: int
    """Runs that a fault ended."""
    again: int
    """Runs that were not the first of their job, nor a retry: each explained by a fault."""
    booked: int
    """Jobs whose effect is committed with their end, once."""
    dead: int
    stale: int
    done: Mapping[str, int]
    """How often each fault happened."""
    recovery: Mapping[str, Sequence[float]]
    """For kills and freezes: seconds until each job that they hit ran elsewhere; sorted."""
    slowest_exit: float
    """Seconds from SIGTERM to the end of a process."""

    def __str__(self) -> str:
        lines = [
            f"{self.accepted:,} jobs, {self.runs:,} runs, {self.seconds:.0f} s, seed {self.seed}",
            "faults: " + ", ".join(f"{n} {what}" for what, n in sorted(self.done.items())),
            f"0 lost, 0 unexplained duplicates; {self.again} runs again, all explained; "
            f"{self.cut_short} cut short; {self.booked:,} effects committed once; "
            f"{self.stale} stale ends refused; {self.unknown} unknown enqueues repeated; "
            f"{self.dead} dead letters",
        ]
        for what, waits in self.recovery.items():
            if waits:
                lines.append(
                    f"recovery after {what}: {len(waits)} jobs, p50 {quantile(waits, 0.5):.2f} s, "
                    f"p99 {quantile(waits, 0.99):.2f} s, most {waits[-1]:.2f} s"
                )
        if self.slowest_exit:
            lines.append(f"slowest exit after SIGTERM: {self.slowest_exit:.2f} s")
        return "\n  ".join(lines)


def report(
    history: History,
    *,
    seconds: float,
    seed: int,
    done: Mapping[str, int],
    stats: StoreStats,
    slowest_exit: float,
) -> Report:
    """The figures of a history."""
    runs = [run for found in history.runs.values() for run in found]
    again = sum(
        not before.failed for found in history.runs.values() for before, _ in pairwise(found)
    )
    return Report(
        seed=seed,
        seconds=seconds,
        accepted=len(history.accepted),
        unknown=len(history.unknown),
        runs=len(runs),
        cut_short=sum(run.ended is None for run in runs),
        again=again,
        booked=sum(history.offers[job_id].books for job_id in history.accepted),
        dead=stats.dead,
        stale=stats.stale,
        done=dict(done),
        recovery={what: sorted(recoveries(history, what)) for what in ("kill", "freeze")},
        slowest_exit=slowest_exit,
    )


def recoveries(history: History, what: str) -> Iterator[float]:
    """For every run under way when such a fault hit: seconds until its job ran in another process.

    Left out are runs that the process ended after all, and those with an outage of the server
    meanwhile.
    """
    outages = [
        fault for found in history.faults.values() for fault in found if fault.what == "server down"
    ]
    faults = {
        pid: sorted(fault.at for fault in found if fault.what == what)
        for pid, found in history.faults.items()
    }
    for found in history.runs.values():
        for run, after in pairwise(found):
            times = faults.get(run.pid, [])
            place = bisect_left(times, run.began)
            hit = times[place] if place < len(times) else None
            if hit is None or after.pid == run.pid or after.began < hit:
                continue
            if any(outage.until > hit and outage.at < after.began for outage in outages):
                continue
            if run.ended is None or run.ended > hit:
                yield after.began - hit


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
