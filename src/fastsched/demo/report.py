"""What the demo says at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from fastsched.demo.audit import Facts, audit


class Report:
    """The facts, the checks on them, and whether all of them hold."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.checks = list(audit(facts))

    @property
    def balances(self) -> bool:
        """Whether every file is accounted for exactly once."""
        return all(check.holds for check in self.checks)

    def record(self) -> dict[str, Any]:
        """For programs: these keys are stable."""
        facts, store = self.facts, self.facts.store
        return {
            "balances": self.balances,
            "root": facts.root,
            "files": len(facts.enqueued),
            "done": store.done,
            "dead": store.dead,
            "dead_letters": dict(facts.dead),
            "done_after_retry": facts.retried,
            "changed_meanwhile": sorted(facts.changed),
            "bytes": sum(runs[-1].size for runs in facts.measured.values()),
            "lines": sum(runs[-1].lines or 0 for runs in facts.measured.values()),
            "enqueue_seconds": round(facts.enqueue_seconds, 3),
            "run_seconds": round(facts.run_seconds, 3),
            "kill": {
                "held": len(facts.held),
                "cut_short": len(facts.cut_short),
                "ended_unreported": len(facts.unreported),
                "measured_twice": len(facts.twice),
                "rescued": store.rescued,
                "recovery_seconds": _rounded(facts.recovery_seconds),
            },
            "checks": [
                {"what": check.what, "holds": check.holds, "found": check.found}
                for check in self.checks
            ],
        }

    def say(self) -> None:
        """For people."""
        self._say_work()
        self._say_kill()
        self._say_dead()
        click.echo()
        for check in self.checks:
            click.echo(f"  {'ok  ' if check.holds else 'FAIL'}  {check.what}: {check.found}")
        click.echo()
        if self.balances:
            click.echo(
                f"It balances: {len(self.facts.enqueued):,} files, each accounted for exactly once."
            )
        else:
            click.echo("It does NOT balance: see FAIL above. Please report this.")

    def _say_work(self) -> None:
        facts, done = self.facts, self.facts.store.done
        record = self.record()
        rate = f" ({done / facts.run_seconds:,.0f} jobs/s)" if facts.run_seconds else ""
        click.echo(
            f"\n{done:,} files measured: {record['bytes'] / 1e6:,.1f} MB, "
            f"{record['lines']:,} lines of text, in {facts.run_seconds:.2f} s{rate}"
        )
        if facts.retried:
            click.echo(f"{facts.retried:,} of them only after a retry")
        if facts.changed:
            click.echo(f"{len(facts.changed):,} changed meanwhile and cannot be checked")

    def _say_kill(self) -> None:
        facts = self.facts
        if facts.killed_at is None:
            click.echo("the kill came too late: everything was over; try more files")
            return
        started = len(facts.cut_short) + len(facts.unreported)
        click.echo(f"the killed worker held {len(facts.held):,} jobs, and all of them ran again:")
        click.echo(f"  {len(facts.held) - started:6,} it had not started")
        click.echo(f"  {len(facts.cut_short):6,} were cut short")
        click.echo(f"  {len(facts.unreported):6,} had ended, but the store did not know yet")
        if facts.recovery_seconds is not None:
            click.echo(f"the first started elsewhere {facts.recovery_seconds:.2f} s after the kill")

    def _say_dead(self) -> None:
        reasons = Counter(failure.partition(":")[0] for failure in self.facts.dead.values())
        click.echo(f"{len(self.facts.dead):,} dead letters:")
        for reason, count in reasons.most_common():
            click.echo(f"  {count:6,} {reason}")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
