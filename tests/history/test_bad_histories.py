"""More histories that no run may leave behind, each flagged by the rule that is meant for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastsched import State
from history.test_checker import A, B, Tale

C = 300
"""A third process."""


def a_job_that_failed_is_gone(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1, "failed")
    tale.count(done=1)


def a_run_ended_that_had_never_started(tale: Tale) -> None:
    tale.accept()
    tale.end(A, 1, "failed")
    tale.keep(State.SCHEDULED)


def a_process_started_a_job_that_another_had_been_given_since(tale: Tale) -> None:
    tale.accept()
    tale.start(B, 2)
    tale.kill(B)
    tale.start(A, 1)
    tale.kill(A)
    tale.start(C, 3)
    tale.end(C, 3)
    tale.count(done=1)


def a_fault_was_over_before_the_run_that_it_should_explain(tale: Tale) -> None:
    tale.accept()
    tale.note("fault", A, what="freeze", until=2.5)
    tale.start(A, 1)
    tale.start(B, 2)
    tale.end(B, 2)
    tale.count(done=1)


def a_node_whose_clock_is_an_hour_fast_started_a_job(tale: Tale) -> None:
    tale.accept(not_before=3600.0)
    tale.start(B, 1, due=3600.0)
    tale.end(B, 1)
    tale.count(done=1)


def a_stop_was_charged_as_an_attempt(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("fault", A, what="terminate", until=5.0)
    tale.end(A, 1, "stopped")
    tale.start(B, 2, attempt=2)
    tale.end(B, 2)
    tale.count(done=1)


def the_neighbour_of_a_poison_was_charged(tale: Tale) -> None:
    tale.accept()
    tale.accept("k")
    for claim_no, pid in enumerate((A, B), 1):
        tale.start(pid, claim_no)
        tale.kill(pid)
    tale.start(C, 1, id="k")
    tale.end(C, 1, "failed", id="k")
    tale.keep(State.SCHEDULED, crashes=2)
    tale.keep(State.SCHEDULED, crashes=1, id="k")


def a_dead_letter_is_gone(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1, "failed")
    tale.keep(State.DEAD)
    tale.count(accepted=1, dead=1)


def one_job_too_many_was_accepted(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1)
    tale.count(done=2, accepted=1)


def a_job_stayed_claimed_by_a_process_that_lives(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.keep(State.CLAIMED)


def a_job_whose_lease_was_over_was_not_taken_back(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("fault", A, what="freeze", until=60.0)
    tale.end(A, 1, "stopped")
    tale.keep(State.CLAIMED)


BAD = {
    a_job_that_failed_is_gone: "lost",
    a_run_ended_that_had_never_started: "nonsense",
    a_process_started_a_job_that_another_had_been_given_since: "fence",
    a_fault_was_over_before_the_run_that_it_should_explain: "rerun",
    a_node_whose_clock_is_an_hour_fast_started_a_job: "early",
    a_stop_was_charged_as_an_attempt: "attempts",
    the_neighbour_of_a_poison_was_charged: "buried",
    a_dead_letter_is_gone: "balance",
    one_job_too_many_was_accepted: "balance",
    a_job_stayed_claimed_by_a_process_that_lives: "stuck",
    a_job_whose_lease_was_over_was_not_taken_back: "stuck",
}


@pytest.mark.parametrize("tell", BAD, ids=lambda tell: tell.__name__)
def test_a_bad_history_is_flagged_by_its_rule(tell: Callable[[Tale], None]) -> None:
    tale = Tale()
    tell(tale)
    assert tale.broken_rules() == {BAD[tell]}
