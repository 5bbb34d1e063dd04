"""The smallest part of a plan that still fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simulation.plan import Event, Plan
from simulation.run import run

TRIES = 300


def shrink(plan: Plan, rules: set[str], tries: int = TRIES) -> Plan:
    """Leave out events, many at a time and then one by one, as long as one of the rules breaks."""

    def fails(events: tuple[Event, ...]) -> bool:
        nonlocal tries
        tries -= 1
        return bool(run(replace(plan, events=events)).rules & rules)

    events = plan.events
    size = max(len(events) // 2, 1)
    while tries > 0:
        smaller = events
        for start in range(0, len(events), size):
            left_out = [id(event) for event in events[start : start + size]]
            rest = tuple(event for event in smaller if id(event) not in left_out)
            if len(rest) < len(smaller) and tries > 0 and fails(rest):
                smaller = rest
        if smaller == events and size == 1:
            break
        events = smaller
        size = max(min(size, len(events)) // 2, 1)
    return replace(plan, events=_fewer_jobs(events, fails))


def _fewer_jobs(
    events: tuple[Event, ...], fails: Callable[[tuple[Event, ...]], bool]
) -> tuple[Event, ...]:
    """Of the jobs that are enqueued together, only those that it takes."""
    for place, event in enumerate(events):
        for job in event.facts.get("jobs", ()):
            jobs = list(events[place].facts["jobs"])
            if len(jobs) > 1:
                jobs.remove(job)
                less = event._replace(facts={"jobs": tuple(jobs)})
                smaller = (*events[:place], less, *events[place + 1 :])
                if fails(smaller):
                    events = smaller
    return events
