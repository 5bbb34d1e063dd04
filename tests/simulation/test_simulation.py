"""Whatever the seed: no job is lost, none runs twice without a reason, and everything ends."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.__main__ import report
from simulation.defects import DEFECTS, put_in
from simulation.plan import Event, Work, plan_of
from simulation.run import run
from simulation.shrink import shrink

SEEDS = 500
AT_ONCE = 50


@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_every_promise_holds_under_faults(first):
    for seed in range(first, first + AT_ONCE):
        outcome = run(plan_of(seed))
        assert not outcome.violations, report(outcome)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", DEFECTS)
def test_a_seeded_defect_is_found(what):
    defect = DEFECTS[what]
    with put_in(what) as rules:
        seeds = (defect.found_by, *range(SEEDS))
        assert any(run(plan_of(seed)).rules & rules for seed in seeds)


# Reproducing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 7, 30, 168])
def test_a_seed_gives_the_same_trace_again(seed):
    first, second = run(plan_of(seed)), run(plan_of(seed))
    assert first.trace == second.trace
    assert first.steps == second.steps
    assert len(first.trace) > 50


def test_a_seed_gives_the_same_trace_in_another_process():
    first, second = (_told_by_a_process(hash_seed) for hash_seed in ("1", "2"))
    assert first == second
    assert "everything is drained" in first


def _told_by_a_process(hash_seed: str) -> str:
    """The trace of a seed, without the last line, which tells how long it took."""
    shown = subprocess.run(
        [sys.executable, "-m", "simulation", "--seed", "30", "-v"],
        cwd=Path(__file__).parents[1],
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return shown.rstrip().rpartition("\n")[0]


def test_other_seeds_give_other_traces():
    assert run(plan_of(1)).trace != run(plan_of(2)).trace


# Shrinking ---------------------------------------------------------------------------------------


def test_a_failure_is_shrunk_to_what_it_takes():
    quick = Work(("take", 0.01))
    events = [Event(float(n), "enqueue", 0, {"jobs": (quick, quick)}) for n in range(1, 9)]
    events += [Event(4.5, "pause", 0, {"lasts": 0.1}), Event(5.9, "outage", None, {"lasts": 0.5})]
    plan = replace(plan_of(0), events=tuple(sorted(events, key=lambda event: event.at)))
    with put_in("a refused enqueue is told as accepted") as rules:
        least = shrink(plan, rules)
        told = report(run(plan))
    assert [event.what for event in least.events] == ["outage", "enqueue"]
    assert least.events[1].facts["jobs"] == (quick,)
    assert "of 10 events these 2 are enough" in told
    assert "--seed 0" in told
    assert "enqueue_ok" in told
