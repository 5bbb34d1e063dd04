"""The heap, compiled and fallback, beside its rivals, in one run of pytest-benchmark.

pytest benchmarks/test_heap.py --benchmark-enable --benchmark-group-by=group
"""

from __future__ import annotations

import heapq
import random
from itertools import count

import pytest
from heapdict import heapdict
from pqdict import pqdict
from sortedcontainers import SortedList

from fastsched._heap_py import IndexedHeap as Fallback

try:
    from fastsched._heap import IndexedHeap as Compiled
except ImportError:
    Compiled = None

OURS = {"compiled": Compiled, "fallback": Fallback}
SLOW = {"fallback", "heapdict", "pqdict"}  # not waited for at a million


class Heapq:
    """Tuples; a removal marks the id, and a pop passes over the marked ones."""

    def __init__(self, order):
        self.entries = []
        self.removed = set()
        self.number = count()

    def push(self, id, item, priority, due_at):
        heapq.heappush(self.entries, (-priority, due_at, next(self.number), id, item))

    def pop(self):
        while True:
            entry = heapq.heappop(self.entries)
            if entry[3] not in self.removed:
                return entry
            self.removed.remove(entry[3])

    def remove(self, id):
        self.removed.add(id)


class HeapDict:
    make = heapdict

    def __init__(self, order):
        self.heap = self.make()
        self.number = count()

    def push(self, id, item, priority, due_at):
        self.heap[id] = (-priority, due_at, next(self.number), item)

    def pop(self):
        return self.heap.popitem()

    def remove(self, id):
        del self.heap[id]


class PqDict(HeapDict):
    make = pqdict


class Sorted:
    def __init__(self, order):
        self.entries = SortedList()
        self.by_id = {}
        self.number = count()

    def push(self, id, item, priority, due_at):
        entry = (-priority, due_at, next(self.number), id, item)
        self.entries.add(entry)
        self.by_id[id] = entry

    def pop(self):
        entry = self.entries.pop(0)
        del self.by_id[entry[3]]
        return entry

    def remove(self, id):
        self.entries.remove(self.by_id.pop(id))


RIVALS = {
    "heapq, lazy deletion": Heapq,
    "heapdict": HeapDict,
    "pqdict": PqDict,
    "sortedcontainers": Sorted,
}


def entries_of(n):
    rng = random.Random(1)
    return [(id, None, rng.randrange(10), 1.8e9 + rng.uniform(0, 86_400)) for id in range(n)]


def cases(sizes):
    return [
        pytest.param(name, size, id=f"{name}-{size}")
        for size in sizes
        for name in (*OURS, *RIVALS)
        if size < 1_000_000 or name not in SLOW
    ]


def new(name, order="ready"):
    Heap = OURS[name] if name in OURS else RIVALS[name]
    if Heap is None:
        pytest.skip("the compiled heap is not built")
    return Heap(order)


def measure(benchmark, group, work, setup, size):
    benchmark.group = f"{group}, {size:,}"
    benchmark.extra_info["operations"] = size
    benchmark.pedantic(work, setup=setup, rounds=3 if size >= 100_000 else 20, warmup_rounds=1)


@pytest.mark.parametrize(("name", "size"), cases([100, 10_000, 100_000, 1_000_000]))
@pytest.mark.timeout(600)
def test_push_and_pop(benchmark, name, size):
    entries = entries_of(size)

    def work(heap):
        push, pop = heap.push, heap.pop
        for entry in entries:
            push(*entry)
        for _ in entries:
            pop()

    measure(benchmark, "push and pop", work, lambda: ((new(name),), {}), size)


@pytest.mark.parametrize("size", [100, 10_000, 100_000, 1_000_000])
def test_push_and_pop_heapq_with_tuples(benchmark, size):
    entries = entries_of(size)

    def work(heap):
        number = count()
        push, pop = heapq.heappush, heapq.heappop
        for id, item, priority, due_at in entries:
            push(heap, (-priority, due_at, next(number), id, item))
        for _ in entries:
            pop(heap)

    measure(benchmark, "push and pop", work, lambda: (([],), {}), size)


@pytest.mark.parametrize(("name", "size"), cases([100, 10_000, 100_000]))
@pytest.mark.timeout(600)
def test_push_and_remove_by_id(benchmark, name, size):
    entries = entries_of(size)
    ids = [entry[0] for entry in entries]
    random.Random(2).shuffle(ids)

    def work(heap):
        push, remove = heap.push, heap.remove
        for entry in entries:
            push(*entry)
        for id in ids:
            remove(id)

    measure(benchmark, "push and remove", work, lambda: ((new(name),), {}), size)


@pytest.mark.parametrize("size", [100, 10_000, 100_000])
@pytest.mark.parametrize("name", OURS)
def test_push_many_and_pop_many(benchmark, name, size):
    entries = entries_of(size)

    def work(heap):
        heap.push_many(entries)
        heap.pop_many(size)

    measure(benchmark, "push_many and pop_many", work, lambda: ((new(name),), {}), size)


@pytest.mark.parametrize("size", [100, 10_000, 100_000])
@pytest.mark.parametrize("name", OURS)
def test_pop_due_in_batches(benchmark, name, size):
    entries = entries_of(size)

    def setup():
        heap = new(name, "due")
        heap.push_many(entries)
        return (heap,), {}

    def work(heap):
        while heap.pop_due(float("inf"), 100):
            pass

    measure(benchmark, "pop_due", work, setup, size)
