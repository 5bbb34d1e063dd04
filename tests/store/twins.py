"""Several labs as one: everything is done to each, and all must answer the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastsched.ids import new_id
from fastsched.job import ClaimedJob, Job
from fastsched.stores.base import Counts, Flushed

from .lab import Lab

_TALLIES = ("accepted", "done", "dead", "cancelled", "expired", "stale")


class Twins:
    """Labs on different stores, used as one `Lab` by the machine of the model."""

    def __init__(self, labs: Sequence[Lab]) -> None:
        self._labs = labs
        self.store: Any = _Stores(labs)

    def mortal_node(self) -> str:
        """The same node in every store."""
        node = new_id()
        for lab in self._labs:
            lab.mortal_node(node)
        return node

    def claim_flush(self, node: str, **request: Any) -> Any:
        return agreed(self._labs, lambda lab: lab.claim_flush(node, **request))

    def leave(self, node: str) -> None:
        for lab in self._labs:
            lab.leave(node)

    def tend(self, node: str) -> Any:
        return agreed(self._labs, lambda lab: lab.tend(node).stands)

    def reconcile(self, node: str, held: frozenset[str]) -> Any:
        return agreed(self._labs, lambda lab: lab.reconcile(node, held))

    def pass_time(self, seconds: float) -> None:
        for lab in self._labs:
            lab.pass_time(seconds)

    def kill(self, node: str) -> None:
        for lab in self._labs:
            lab.kill(node)

    def check_conservation(self) -> None:
        for lab in self._labs:
            lab.check_conservation()

    def close(self) -> None:
        for lab in self._labs:
            lab.close()


class _Stores:
    """The stores of the labs, as one."""

    def __init__(self, labs: Sequence[Lab]) -> None:
        self._labs = labs

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return agreed(self._labs, lambda lab: getattr(lab.store, method)(*args, **kwargs))

        return call


def agreed(labs: Sequence[Lab], ask: Callable[[Lab], Any]) -> Any:
    """What all of them answer; that of the first, if only times differ."""
    answers = [ask(lab) for lab in labs]
    said = [comparable(answer, lab) for answer, lab in zip(answers, labs, strict=True)]
    for other in said[1:]:
        assert other == said[0], f"one store says {said[0]}, another {other}"
    return answers[0]


def comparable(answer: Any, lab: Lab) -> Any:
    """An answer without what may differ: times by less than a minute, and the order of rows."""

    def minutes(time: float | None) -> int | None:
        return None if time is None else round((time - lab.store.clock.now()) / 60)

    match answer:
        case Flushed():
            claimed = [comparable(job, lab) for job in answer.claimed]  # their order counts
            due = minutes(answer.next_due)
            states = dict(answer.states)
            return answer.known, answer.accepted, answer.stale, states, claimed, answer.drained, due
        case ClaimedJob():
            times = minutes(answer.due_at), minutes(answer.deadline)
            return answer._replace(due_at=0.0, deadline=None, seq=0, suspect=False), times
        case Job():
            times = answer.due_at, answer.deadline, answer.claimed_at, answer.ended_at
            facts = answer.state, answer.node, answer.attempt, answer.claim_no, answer.reason
            more = answer.kind, answer.queue, answer.priority, answer.cancel_requested
            return answer.id, facts, more, [minutes(time) for time in times]
        case Counts():
            states = {state: n for state, n in answer.states.items() if n}
            return states, {name: answer.totals.get(name, 0) for name in _TALLIES}
        case list():
            return sorted(comparable(part, lab) for part in answer)
        case _:
            return answer
