"""What the demo says at the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from fastsched.demo.audit import audit
from fastsched.demo.facts import Facts, Loss


class Report:
    """The facts, the checks on them, and whether all of them hold."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.checks = list(audit(facts))

    @property
    def balances(self) -> bool:
        """Whether every file is accounted for exactly once a pass."""
        return all(check.holds for check in self.checks)

    def record(self) -> dict[str, Any]:
        """For programs: these keys are stable."""
        facts, store = self.facts, self.facts.store
        return {
            "balances": self.balances,
            "stage": facts.stage,
            "root": facts.root,
            "files": len(facts.paths),
            "passes": facts.passes,
            "jobs": len(facts.jobs),
            "done": store.done,
            "dead": store.dead,
            "dead_letters": {facts.jobs.get(i, i): failure for i, failure in facts.dead.items()},
            "done_after_retry": facts.retried,
            "changed_meanwhile": sorted(facts.changed),
            "bytes": sum(runs[-1].size for runs in facts.measured.values()),
            "lines": sum(runs[-1].lines or 0 for runs in facts.measured.values()),
            "enqueued_per_second": round(facts.enqueued_per_second),
            "run_seconds": round(facts.run_seconds, 3),
            "measured_twice": sum(1 for _ in facts.repeated),
            "rescued": store.rescued,
            "refused_ends": store.stale,
            "kill": None,
            "freeze": None,
            **{loss.what: self._loss(loss) for loss in facts.losses},
            "restarts": [
                {
                    "what": restart.what,
                    "away_seconds": round(restart.up_at - restart.at, 3),
                    "longest_pause_seconds": round(restart.pause_seconds(facts.runs), 3),
                }
                for restart in facts.restarts
            ],
            "checks": [
                {"what": check.what, "holds": check.holds, "found": check.found}
                for check in self.checks
            ],
        }

    def _loss(self, loss: Loss) -> dict[str, Any]:
        """What a lost worker left, by how far it had come."""
        runs = self.facts.lost_runs(loss)
        ended = [run.ended for run in runs if run.ended is not None]
        late = sum(loss.woke_at is not None and end > loss.woke_at for end in ended)
        seconds = loss.recovery_seconds(self.facts.runs)
        return {
            "held": len(loss.held),
            "not_started": len(loss.held) - len(runs),
            "cut_short": len(runs) - len(ended),
            "ended_unreported": len(ended) - late,
            "ended_late": late,
            "recovery_seconds": None if seconds is None else round(seconds, 3),
        }

    def say(self) -> None:
        """For people."""
        self._say_work()
        for loss in self.facts.losses:
            self._say_loss(loss)
        if not self.facts.losses:
            click.echo("the kill came too late: everything was over; try more files")
        self._say_restarts()
        self._say_dead()
        click.echo()
        for check in self.checks:
            click.echo(f"  {'ok  ' if check.holds else 'FAIL'}  {check.what}: {check.found}")
        click.echo()
        if self.balances:
            passes = f" in each of {self.facts.passes} passes" if self.facts.passes > 1 else ""
            click.echo(
                f"It balances: {len(self.facts.paths):,} files, each accounted for exactly once"
                f"{passes}."
            )
        else:
            click.echo("It does NOT balance: see FAIL above. Please report this.")

    def _say_work(self) -> None:
        facts, done = self.facts, self.facts.store.done
        record = self.record()
        rate = f" ({done / facts.run_seconds:,.0f} jobs/s)" if facts.run_seconds else ""
        passes = f" in {facts.passes} passes" if facts.passes > 1 else ""
        click.echo(
            f"\n{done:,} files measured{passes}: {record['bytes'] / 1e6:,.1f} MB, "
            f"{record['lines']:,} lines of text, in {facts.run_seconds:.2f} s{rate}"
        )
        if facts.retried:
            click.echo(f"{facts.retried:,} of them only after a retry")
        if facts.changed:
            click.echo(f"{len(facts.changed):,} changed meanwhile and cannot be checked")

    def _say_loss(self, loss: Loss) -> None:
        left = self._loss(loss)
        name = "frozen" if loss.woke_at is not None else "killed"
        click.echo(f"the {name} worker held {left['held']:,} jobs, and all of them ran again:")
        click.echo(f"  {left['not_started']:6,} it had not started")
        click.echo(f"  {left['cut_short']:6,} were cut short")
        click.echo(f"  {left['ended_unreported']:6,} had ended, but the store did not know yet")
        if left["ended_late"]:
            click.echo(f"  {left['ended_late']:6,} ended when it woke: too late, and refused")
        seconds = left["recovery_seconds"]
        if seconds is not None:
            click.echo(f"the first started elsewhere {seconds:.2f} s after the {loss.what}")

    def _say_restarts(self) -> None:
        for restart in self.facts.restarts:
            click.echo(
                f"{restart.what} was away for {restart.up_at - restart.at:.2f} s; "
                f"the longest pause in the work was {restart.pause_seconds(self.facts.runs):.2f} s"
            )

    def _say_dead(self) -> None:
        reasons = Counter(failure.partition(":")[0] for failure in self.facts.dead.values())
        click.echo(f"{len(self.facts.dead):,} dead letters:")
        for reason, count in reasons.most_common():
            click.echo(f"  {count:6,} {reason}")
