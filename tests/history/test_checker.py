"""The checker itself: good histories pass, and every kind of bad one is flagged by its rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fastsched import State, StoreStats
from history import Final, History, Journal, Row, check
from history.checker import RULES

EMPTY = StoreStats(
    at=0.0, nodes=(), ready=0, scheduled=0, claimed=0, waiting=0, dead_letters=0, accepted=0,
    done=0, dead=0, cancelled=0, expired=0, retried=0, rescued=0, crashed=0, stale=0,
)  # fmt: skip
A, B = 100, 200
"""Two processes."""


class Tale:
    """A history in the making; every event is a second after the one before."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.effects: set[tuple[str, int]] = set()
        self.booked: list[tuple[str, int]] = []
        self.rows: dict[str, Row] = {}
        self.counts: dict[str, int] = {}

    def note(self, event: str, pid: int, **facts: Any) -> None:
        self.events.append({"event": event, "pid": pid, "at": float(len(self.events)), **facts})

    def accept(self, id: str = "j", **facts: float) -> None:
        self.note("enqueue", 1, id=id, **facts)
        self.note("enqueue_ok", 1, id=id)
        self.count(accepted=1)

    def start(
        self,
        pid: int,
        claim_no: int,
        *,
        attempt: int = 1,
        due: float = 0.0,
        id: str = "j",
        **facts: float,
    ) -> None:
        self.note("start", pid, id=id, claim_no=claim_no, attempt=attempt, due=due, **facts)

    def wait(self, id: str, hotness: tuple[float, float], **facts: bool) -> None:
        self.note("held", A, id=id, claim_no=1, hotness=hotness, **facts)

    def take(
        self, id: str, hotness: tuple[float, float], *, pid: int = A, claim_no: int = 1
    ) -> None:
        self.note("taken", pid, id=id, claim_no=claim_no, hotness=hotness, suspect=False)

    def end(self, pid: int, claim_no: int, outcome: str = "done", *, id: str = "j") -> None:
        if outcome == "done":
            self.effects.add((id, claim_no))
        self.note("end", pid, id=id, claim_no=claim_no, outcome=outcome)

    def kill(self, pid: int) -> None:
        self.note("fault", pid, what="kill")

    def keep(self, state: State, crashes: int = 0, claim_no: int = 0, id: str = "j") -> None:
        """The store has a row of it at the end."""
        self.rows[id] = Row(state, crashes, claim_no)
        self.count(**{state.value: 1})

    def count(self, **counts: int) -> None:
        for name, by in counts.items():
            self.counts[name] = self.counts.get(name, 0) + by

    def broken_rules(self) -> set[str]:
        final = Final(
            stats=replace(EMPTY, **self.counts),
            rows=self.rows,
            effects=self.effects,
            booked=self.booked,
        )
        return {violation.rule for violation in check(History.of(self.events), final)}


GOOD: list[Callable[[Tale], None]] = []
BAD: list[tuple[str, Callable[[Tale], None]]] = []


def good(tell: Callable[[Tale], None]) -> Callable[[Tale], None]:
    GOOD.append(tell)
    return tell


def breaks(rule: str) -> Callable[[Callable[[Tale], None]], Callable[[Tale], None]]:
    def add(tell: Callable[[Tale], None]) -> Callable[[Tale], None]:
        BAD.append((rule, tell))
        return tell

    return add


# Good ones ---------------------------------------------------------------------------------------


@good
def nothing_happened(tale: Tale) -> None:
    pass


@good
def a_job_ran(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1)
    tale.note("completed", A, id="j", claim_no=1)
    tale.count(done=1)


@good
def a_killed_process_ran_again_elsewhere(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(A)
    tale.start(B, 2)
    tale.end(B, 2)
    tale.count(done=1)


@good
def an_effect_was_committed_with_the_end(tale: Tale) -> None:
    tale.accept(books=True)
    tale.start(A, 1)
    tale.end(A, 1)
    tale.kill(A)  # before the commit
    tale.start(B, 2)
    tale.end(B, 2)
    tale.booked = [("j", 2)]
    tale.count(done=1)


@good
def a_process_frozen_just_before_a_start_makes_it_when_it_wakes(tale: Tale) -> None:
    tale.accept()
    tale.note("start", B, id="j", claim_no=2, attempt=1, due=0.0)
    tale.end(B, 2)
    tale.note("fault", A, what="freeze", at=0.5, until=float(len(tale.events)))
    tale.events.append({"event": "start", "pid": A, "at": len(tale.events) - 0.99, "id": "j",
                        "claim_no": 1, "attempt": 1, "due": 0.0})  # fmt: skip
    tale.end(A, 1)
    tale.count(done=1)


@good
def the_commit_of_an_end_failed_and_was_charged(tale: Tale) -> None:
    tale.accept(books=True)
    tale.start(A, 1)
    tale.end(A, 1)
    tale.note("undone", A, id="j", claim_no=1)
    tale.note("fault", A, what="cut")
    tale.start(A, 2, attempt=2)
    tale.end(A, 2)
    tale.booked = [("j", 2)]
    tale.count(done=1)


@good
def a_kill_between_the_record_of_a_start_and_the_start_was_charged(tale: Tale) -> None:
    tale.accept()
    tale.keep(State.SCHEDULED, crashes=1, claim_no=1)


@good
def a_kill_between_the_end_and_its_commit_was_charged(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1)
    tale.kill(A)
    tale.keep(State.SCHEDULED, crashes=1, claim_no=1)


@good
def a_kill_between_the_end_and_its_commit(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1)
    tale.kill(A)
    tale.start(B, 3)
    tale.end(B, 3)
    tale.note("completed", B, id="j", claim_no=3)
    tale.count(done=1)


@good
def an_evicted_process_ended_late(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("fault", A, what="evict")
    tale.start(B, 2)
    tale.end(A, 1)
    tale.end(B, 2)
    tale.count(done=1, stale=1)


@good
def a_failed_run_was_retried(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1, "failed")
    tale.start(A, 2, attempt=2)
    tale.end(A, 2)
    tale.count(done=1)


@good
def a_stopped_run_was_repeated_uncharged(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("fault", A, what="terminate", until=5.0)
    tale.end(A, 1, "stopped")
    tale.start(B, 2)
    tale.end(B, 2)
    tale.count(done=1)


@good
def a_killed_producer_left_a_job_that_ran_and_one_that_was_never_stored(tale: Tale) -> None:
    tale.note("enqueue", 1, id="ran")
    tale.note("enqueue", 1, id="never")
    tale.count(accepted=1, done=1)
    tale.start(A, 1, id="ran")
    tale.end(A, 1, id="ran")


@good
def a_job_was_refused(tale: Tale) -> None:
    tale.note("enqueue", 1, id="j")
    tale.note("enqueue_failed", 1, id="j")


@good
def a_job_was_cancelled_before_it_started(tale: Tale) -> None:
    tale.accept()
    tale.note("cancelled", 1, id="j")
    tale.keep(State.CANCELLED)


@good
def a_job_crashed_three_processes(tale: Tale) -> None:
    tale.accept()
    for claim_no, pid in enumerate((A, B, 300), 1):
        tale.start(pid, claim_no)
        tale.kill(pid)
    tale.keep(State.DEAD, crashes=3)


@good
def a_job_is_due_later(tale: Tale) -> None:
    tale.accept(not_before=1e9)
    tale.keep(State.SCHEDULED)


@good
def a_run_failed_in_the_commit_that_took_place(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("committing", A, id="j", claim_no=1)
    tale.note("completed", A, id="j", claim_no=1)
    tale.end(A, 1, "unknown")
    tale.count(done=1)


@good
def a_process_died_when_its_commit_had_taken_place(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("committing", A, id="j", claim_no=1)
    tale.kill(A)
    tale.count(done=1)


@good
def a_run_was_given_up_and_ended_late(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("timed_out", A, id="j", claim_no=1)
    tale.start(A, 2, attempt=2)
    tale.end(A, 1)
    tale.end(A, 2)
    tale.count(done=1)


@good
def a_run_snoozed(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1, "snoozed")
    tale.start(A, 2)
    tale.end(A, 2)
    tale.count(done=1)


@good
def a_job_was_hurried(tale: Tale) -> None:
    tale.accept(not_before=1e9)
    tale.note("hurried", 1, id="j")
    tale.start(A, 1)
    tale.end(A, 1)
    tale.count(done=1)


@good
def a_dead_letter_that_was_to_stop_was_requeued(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("requested", 1, id="j", claim_no=1)
    tale.end(A, 1, "failed")
    tale.note("requeued", 1, id="j")
    tale.start(A, 2)
    tale.end(A, 2)
    tale.count(done=1)


@good
def a_process_froze_between_the_look_at_the_deadline_and_the_start(tale: Tale) -> None:
    tale.accept()
    tale.note("frozen", A, until=20.0)
    for _ in range(10):
        tale.note("enqueue", 1, id="other")
    tale.start(A, 1, deadline=3.0)
    tale.end(A, 1)
    tale.count(done=1)


@good
def workers_took_the_hottest_of_what_waited(tale: Tale) -> None:
    tale.wait("cold", (0.0, 0.0))
    tale.wait("hot", (-5.0, 0.0))
    tale.wait("hotter, but not due", (-9.0, 1e9), due=False)
    tale.wait("hotter, but suspect", (-9.0, 0.0), suspect=True)
    tale.wait("hotter, but taken out", (-9.0, 0.0))
    tale.note("dropped", A, id="hotter, but taken out", claim_no=1)
    tale.take("hot", (-5.0, 0.0))
    tale.take("cold", (0.0, 0.0))


@good
def a_process_died_between_the_note_of_a_suspects_start_and_its_start(tale: Tale) -> None:
    tale.accept()
    for claim_no, pid in enumerate((A, B), 1):
        tale.start(pid, claim_no)
        tale.kill(pid)
    tale.take("j", (0.0, 0.0), pid=300, claim_no=3)
    tale.kill(300)
    tale.keep(State.DEAD, crashes=3, claim_no=3)


# Bad ones ----------------------------------------------------------------------------------------


@breaks("lost")
def an_accepted_job_is_gone(tale: Tale) -> None:
    tale.accept()
    tale.count(done=1)


@breaks("lost")
def a_job_was_deleted_before_it_ran_to_its_end(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(A)
    tale.count(done=1)


@breaks("unexpected")
def a_job_from_nowhere_ran(tale: Tale) -> None:
    tale.start(A, 1)
    tale.end(A, 1)


@breaks("unexpected")
def a_refused_job_ran(tale: Tale) -> None:
    tale.note("enqueue", 1, id="j")
    tale.note("enqueue_failed", 1, id="j")
    tale.start(A, 1)
    tale.end(A, 1)


@breaks("nonsense")
def a_run_ended_twice(tale: Tale) -> None:
    a_job_ran(tale)
    tale.end(A, 1)


@breaks("nonsense")
def a_run_ended_in_another_process(tale: Tale) -> None:
    a_job_ran(tale)
    tale.end(B, 1)


@breaks("fence")
def one_claim_started_twice(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(A)
    tale.start(B, 1)
    tale.end(B, 1)
    tale.count(done=1)


@breaks("fence")
def a_claim_number_went_back(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 2)
    tale.kill(A)
    tale.start(B, 1)
    tale.kill(B)
    tale.keep(State.SCHEDULED)


@breaks("stale")
def an_old_claim_completed_the_job(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("fault", A, what="evict")
    tale.start(B, 2)
    tale.end(A, 1)
    tale.note("completed", A, id="j", claim_no=1)
    tale.end(B, 2)
    tale.count(done=1)


@breaks("stale")
def a_job_is_done_while_its_newest_run_was_killed(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("fault", A, what="evict")
    tale.start(B, 2)
    tale.kill(B)
    tale.end(A, 1)
    tale.count(done=1)


@breaks("stale")
def a_job_was_completed_twice(tale: Tale) -> None:
    a_job_ran(tale)
    tale.note("completed", A, id="j", claim_no=1)


@breaks("rerun")
def a_job_ran_again_for_no_reason(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1)
    tale.start(B, 2)
    tale.end(B, 2)
    tale.count(done=1)


@breaks("rerun")
def a_job_was_taken_from_a_living_process(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(B)  # some other process
    tale.start(300, 2)
    tale.end(300, 2)
    tale.count(done=1)


@breaks("rerun")
def the_kill_came_only_after_the_second_start(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.start(B, 2)
    tale.kill(A)
    tale.end(B, 2)
    tale.count(done=1)


@breaks("rerun")
def the_kill_came_before_the_first_start(tale: Tale) -> None:
    tale.accept()
    tale.kill(A)
    tale.start(A, 1)
    tale.end(A, 1)
    tale.start(B, 2)
    tale.end(B, 2)
    tale.count(done=1)


@breaks("revived")
def a_cancelled_job_ran(tale: Tale) -> None:
    tale.accept()
    tale.note("cancelled", 1, id="j")
    tale.start(A, 1)
    tale.end(A, 1)
    tale.count(done=1)


@breaks("early")
def a_job_started_before_it_was_due(tale: Tale) -> None:
    tale.accept(not_before=2.001)
    tale.start(A, 1)
    tale.end(A, 1)
    tale.count(done=1)


@breaks("early")
def a_retry_started_before_it_was_due(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1, "failed")
    tale.start(A, 2, attempt=2, due=4.5)
    tale.end(A, 2)
    tale.count(done=1)


@breaks("attempts")
def a_kill_was_charged_as_an_attempt(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(A)
    tale.start(B, 2, attempt=2)
    tale.end(B, 2)
    tale.count(done=1)


@breaks("buried")
def a_bystander_was_charged(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1, "failed")
    tale.keep(State.SCHEDULED, crashes=1)


@breaks("bystander")
def a_bystander_was_charged_with_a_crash_of_its_process(tale: Tale) -> None:
    tale.accept()
    tale.accept("poison")
    tale.take("j", (0.0, 0.0))
    tale.start(A, 1)
    tale.start(A, 1, id="poison")
    tale.kill(A)
    tale.keep(State.SCHEDULED, crashes=1)
    tale.keep(State.SCHEDULED, id="poison")


@breaks("obstinate")
def a_job_that_was_to_stop_for_good_was_claimed_again(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.note("requested", 1, id="j", claim_no=1)
    tale.end(A, 1, "failed")
    tale.start(A, 2, attempt=2)
    tale.end(A, 2)
    tale.count(done=1)


@breaks("late")
def a_run_started_long_after_the_deadline(tale: Tale) -> None:
    tale.accept()
    for _ in range(10):
        tale.note("enqueue", 1, id="other")
    tale.start(A, 1, deadline=3.0)
    tale.end(A, 1)
    tale.count(done=1)


@breaks("order")
def a_worker_took_a_colder_job(tale: Tale) -> None:
    tale.wait("cold", (0.0, 0.0))
    tale.wait("hot", (-5.0, 0.0))
    tale.take("cold", (0.0, 0.0))


@breaks("order")
def a_worker_took_a_job_that_was_due_later(tale: Tale) -> None:
    tale.wait("first", (0.0, -2.0))
    tale.wait("second", (0.0, -1.0))
    tale.take("second", (0.0, -1.0))


@breaks("buried")
def a_job_is_dead_for_no_reason(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(A)
    tale.keep(State.DEAD, crashes=1)


@breaks("spared")
def a_poison_was_run_a_fourth_time(tale: Tale) -> None:
    tale.accept()
    for claim_no, pid in enumerate((A, B, 300, 400), 1):
        tale.start(pid, claim_no)
        tale.kill(pid)
    tale.keep(State.DEAD, crashes=4)


@breaks("spared")
def a_poison_waits_for_its_fourth_run(tale: Tale) -> None:
    tale.accept()
    for claim_no, pid in enumerate((A, B, 300), 1):
        tale.start(pid, claim_no)
        tale.kill(pid)
    tale.keep(State.SCHEDULED, crashes=3)


@breaks("effects")
def an_effect_without_a_run(tale: Tale) -> None:
    a_job_ran(tale)
    tale.effects.add(("j", 7))


@breaks("effects")
def a_run_without_its_effect(tale: Tale) -> None:
    a_job_ran(tale)
    tale.effects.clear()


@breaks("balance")
def the_totals_do_not_add_up(tale: Tale) -> None:
    a_job_ran(tale)
    tale.count(done=1)


@breaks("balance")
def a_job_was_never_counted(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.end(A, 1)
    tale.count(accepted=-1)


@breaks("balance")
def a_completion_was_counted_twice(tale: Tale) -> None:
    a_job_ran(tale)
    tale.accept(id="k")
    tale.keep(State.CANCELLED, id="k")
    tale.count(done=1, cancelled=-1)


@breaks("books")
def an_effect_was_committed_twice(tale: Tale) -> None:
    an_effect_was_committed_with_the_end(tale)
    tale.booked = [("j", 1), ("j", 2)]


@breaks("books")
def an_old_claim_committed_its_effect(tale: Tale) -> None:
    an_effect_was_committed_with_the_end(tale)
    tale.booked = [("j", 1)]


@breaks("books")
def the_end_was_committed_without_its_effect(tale: Tale) -> None:
    an_effect_was_committed_with_the_end(tale)
    tale.booked = []


@breaks("books")
def the_effect_was_committed_without_the_end(tale: Tale) -> None:
    tale.accept(books=True)
    tale.start(A, 1)
    tale.end(A, 1)
    tale.booked = [("j", 1)]
    tale.keep(State.SCHEDULED)


@breaks("stuck")
def a_job_stayed_claimed(tale: Tale) -> None:
    tale.accept()
    tale.start(A, 1)
    tale.kill(A)
    tale.keep(State.CLAIMED)


@breaks("stuck")
def a_job_was_left_ready(tale: Tale) -> None:
    tale.accept()
    tale.keep(State.READY)


# The tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tell", GOOD, ids=lambda tell: tell.__name__)
def test_a_good_history_passes(tell: Callable[[Tale], None]) -> None:
    tale = Tale()
    tell(tale)
    assert tale.broken_rules() == set()


@pytest.mark.parametrize(("rule", "tell"), BAD, ids=[tell.__name__ for _, tell in BAD])
def test_a_bad_history_is_flagged_by_its_rule(rule: str, tell: Callable[[Tale], None]) -> None:
    tale = Tale()
    tell(tale)
    assert tale.broken_rules() == {rule}


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _ in BAD}


def test_a_violation_names_the_job_and_says_what_happened() -> None:
    tale = Tale()
    a_job_ran_again_for_no_reason(tale)
    history = History.of(tale.events)
    (violation,) = (v for v in check(history, Final(stats=EMPTY)) if v.rule == "rerun")
    assert violation.id == "j"
    assert violation.how == (
        "claim 2 of process 200 started, though nothing had happened to claim 1 of process 100"
    )


def test_journals_of_several_processes_are_one_history(tmp_path: Any) -> None:
    producer, worker = Journal(tmp_path, "producer"), Journal(tmp_path, "worker")
    producer.note("enqueue", id="j", not_before=1.0)
    producer.note("enqueue_ok", id="j")
    worker.note("start", id="j", claim_no=1, attempt=1, due=0.0)
    worker.note("end", id="j", claim_no=1, outcome="done")
    producer.note("fault", pid=7, what="kill", at=1.0, until=2.0)
    for journal in (producer, worker):
        journal.close()
    history = History.read(tmp_path)
    assert history.accepted == {"j"}
    assert history.offers["j"].not_before == 1.0
    assert [(r.claim_no, r.outcome) for r in history.runs["j"]] == [(1, "done")]
    assert [(f.at, f.until) for f in history.faults[7]] == [(1.0, 2.0)]


def test_the_line_that_a_kill_has_torn_is_left_out(tmp_path: Any) -> None:
    journal = Journal(tmp_path, "producer")
    journal.note("enqueue", id="j")
    journal.close()
    (file,) = tmp_path.iterdir()
    with file.open("a") as torn:
        torn.write('{"event": "enqueue_ok", "id": "j", "at"')
    assert History.read(tmp_path).accepted == set()
