"""The heap against the simplest thing that does the same: a list, sorted at every question."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from .halves import HALVES, load

# Few ids and few keys, so that duplicates and ties are common.
IDS = st.one_of(
    st.integers(-3, 12),
    st.sampled_from([str(n) for n in range(6)]),
    st.builds(lambda n: uuid.UUID(int=n), st.integers(0, 5)),
)
PRIORITIES = st.one_of(st.integers(-2, 2), st.integers(-32768, 32767))
TIMES = st.one_of(
    st.integers(-2, 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.7e9]),
)
ENTRIES = st.tuples(IDS, st.integers(), PRIORITIES, TIMES)


class Model(RuleBasedStateMachine):
    half: str

    @initialize(order=st.sampled_from(["ready", "due"]))
    def start(self, order: str) -> None:
        self.order = order
        self.heap: Any = load(self.half).IndexedHeap(order)
        self.pushed = 0
        self.model: dict[Any, list[Any]] = {}  # id -> [item, priority, due_at, number of the push]

    def sorted(self) -> list[tuple[Any, Any, int, float]]:
        def key(pair: tuple[Any, list[Any]]) -> tuple[float, float, int]:
            _, (_, priority, due_at, number) = pair
            if self.order == "ready":
                return (-priority, due_at, number)
            return (due_at, -priority, number)

        return [(id, *rest[:3]) for id, rest in sorted(self.model.items(), key=key)]

    def add(self, id: Any, item: Any, priority: int, due_at: float) -> None:
        self.pushed += 1
        self.model[id] = [item, priority, due_at, self.pushed]

    def taken(self, entries: list[Any]) -> list[Any]:
        for entry in entries:
            del self.model[entry[0]]
        return entries

    @rule(entry=ENTRIES)
    def push(self, entry: Any) -> None:
        if entry[0] in self.model:
            with pytest.raises(ValueError, match="already"):
                self.heap.push(*entry)
        else:
            self.heap.push(*entry)
            self.add(*entry)

    @rule(entries=st.lists(ENTRIES, max_size=12))
    def push_many(self, entries: list[Any]) -> None:
        ids = [entry[0] for entry in entries]
        if len(set(ids)) < len(ids) or any(id in self.model for id in ids):
            with pytest.raises(ValueError, match="already"):
                self.heap.push_many(entries)
        else:
            self.heap.push_many(entries)
            for entry in entries:
                self.add(*entry)

    @precondition(lambda self: self.model)
    @rule()
    def pop(self) -> None:
        assert [self.heap.pop()] == self.taken(self.sorted()[:1])

    @precondition(lambda self: not self.model)
    @rule()
    def pop_from_empty(self) -> None:
        with pytest.raises(IndexError):
            self.heap.pop()

    @rule(n=st.integers(0, 9))
    def pop_many(self, n: int) -> None:
        assert self.heap.pop_many(n) == self.taken(self.sorted()[:n])

    @precondition(lambda self: self.order == "due")
    @rule(now=TIMES, n=st.integers(0, 9))
    def pop_due(self, now: float, n: int) -> None:
        due = [entry for entry in self.sorted() if entry[3] <= now]
        assert self.heap.pop_due(now, n) == self.taken(due[:n])

    @rule(id=IDS)
    def remove(self, id: Any) -> None:
        if id in self.model:
            assert self.heap.remove(id) == (id, *self.model.pop(id)[:3])
        else:
            with pytest.raises(KeyError):
                self.heap.remove(id)

    @rule(
        id=IDS,
        priority=st.none() | PRIORITIES,
        due_at=st.none() | TIMES,
        item=st.just(...) | st.integers(),
    )
    def update(self, id: Any, priority: int | None, due_at: float | None, item: Any) -> None:
        if id not in self.model:
            with pytest.raises(KeyError):
                self.heap.update(id, priority=priority, due_at=due_at, item=item)
            return
        self.heap.update(id, priority=priority, due_at=due_at, item=item)
        entry = self.model[id]
        entry[0] = entry[0] if item is ... else item
        entry[1] = entry[1] if priority is None else priority
        entry[2] = entry[2] if due_at is None else due_at

    @rule()
    def clear(self) -> None:
        self.heap.clear()
        self.model.clear()

    @rule(id=IDS)
    def contains(self, id: Any) -> None:
        assert (id in self.heap) == (id in self.model)

    @invariant()
    def holds(self) -> None:
        self.heap.check()
        assert len(self.heap) == len(self.model)
        if self.model:
            assert self.heap.peek() == self.sorted()[0]


@pytest.mark.parametrize("half", HALVES)
def test_the_heap_does_as_a_sorted_list_would(half: str) -> None:
    load(half)
    run_state_machine_as_test(type("Model", (Model,), {"half": half}))
