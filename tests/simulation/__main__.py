"""Simulate many seeds: ``python -m simulation --seeds 5000``; or look at one: ``--seed 17 -v``."""

from __future__ import annotations

import argparse
import sys
import time

from simulation.plan import plan_of
from simulation.run import Outcome, run
from simulation.shrink import shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5_000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the trace of a good one")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    if asked.seed is not None:
        seeds = range(asked.seed, asked.seed + 1)
    began, virtual, failed = time.perf_counter(), 0.0, 0
    for seed in seeds:
        outcome = run(plan_of(seed))
        virtual += outcome.seconds
        if outcome.violations:
            failed += 1
            print(report(outcome), flush=True)
        elif asked.verbose:
            print(outcome.shown())
    seconds = time.perf_counter() - began
    print(
        f"{len(seeds)} seeds, {failed} failed; {virtual:.0f} virtual seconds in {seconds:.1f}: "
        f"{virtual / seconds:.0f} times as fast as real time"
    )
    return 1 if failed else 0


def report(outcome: Outcome) -> str:
    """A failure for people: what was violated, the events that it takes, and the trace."""
    least = run(shrink(outcome.plan, outcome.rules))
    plan = least.plan
    setting = (
        f"{plan.nodes} nodes with {plan.workers} workers each on a store "
        f"{'like SQLite' if plan.knows_what_ran else f'like PostgreSQL, lease {plan.lease:g} s'}"
    )
    return "\n".join([
        f"seed {plan.seed} fails: {setting}",
        *(f"  {violation}" for violation in outcome.violations),
        f"of {len(outcome.plan.events)} events these {len(plan.events)} are enough:",
        *(f"  {event}" for event in plan.events),
        "with them:",
        *(f"  {violation}" for violation in least.violations),
        least.shown(),
        f"again: python -m simulation --seed {plan.seed}",
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
