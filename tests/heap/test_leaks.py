"""Items and ids are held while they are in the heap, and not a moment longer."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import uuid
import weakref

import pytest


class Thing:
    pass


def every_operation(heap, ids, items):
    """Put each id and item in, and take it out again in every way there is."""
    for id, item in zip(ids, items, strict=True):
        heap.push(id, item, 1, 2)
        with pytest.raises(ValueError, match="already"):
            heap.push(id, item, 1, 2)
        heap.update(id, item=None, priority=5)
        heap.update(id, item=item)
        heap.peek()
        heap.remove(id)
    batch = [(id, item, 1000, 2.5) for id, item in zip(ids, items, strict=True)]
    with pytest.raises(ValueError, match="already"):
        heap.push_many([*batch, batch[0]])
    with pytest.raises(TypeError):
        heap.push_many([*batch, (None, None, 0, 0)])
    heap.push_many(batch)
    heap.pop()
    heap.pop_many(2)
    if heap.order == "due":
        heap.pop_due(99, 2)
    heap.clear()
    heap.push_many(batch)
    heap.pop_many(len(batch))


@pytest.mark.parametrize("order", ["ready", "due"])
def test_reference_counts_are_as_before(Heap, order):
    ids = [f"id {n}" for n in range(20)] + [10**20 + n for n in range(20)]
    ids += [uuid.UUID(int=n) for n in range(20)]
    items = [Thing() for _ in ids]
    heap = Heap(order)
    every_operation(heap, ids, items)
    before = [sys.getrefcount(thing) for thing in (*ids, *items)]
    none = sys.getrefcount(None)
    for _ in range(50):
        every_operation(heap, ids, items)
    assert [sys.getrefcount(thing) for thing in (*ids, *items)] == before
    assert abs(sys.getrefcount(None) - none) < 200


@pytest.mark.parametrize("how", ["pop", "remove", "update", "clear", "del"])
def test_an_item_ends_when_it_leaves(Heap, how):
    heap = Heap()
    thing = Thing()
    gone = weakref.ref(thing)
    heap.push("a", thing, 0, 0)
    del thing
    assert gone() is not None
    if how == "pop":
        heap.pop()
    elif how == "remove":
        heap.remove("a")
    elif how == "update":
        heap.update("a", item=None)
    elif how == "clear":
        heap.clear()
    else:
        del heap
    assert gone() is None


def test_a_cycle_through_the_heap_is_collected(Heap):
    heap = Heap()
    thing = Thing()
    thing.heap = heap
    heap.push("a", thing, 0, 0)
    heap.push("b", heap, 0, 0)
    gone = weakref.ref(thing)
    del heap, thing
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("order", ["ready", "due"])
def test_memory_does_not_grow(Heap, order):
    heap = Heap(order)

    def turn():
        ids = [f"id {n}" for n in range(2000)]
        every_operation(heap, ids, ids)

    turn()
    gc.collect()
    tracemalloc.start()
    try:
        turn()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            turn()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000


def test_a_long_life_at_one_size_takes_no_more_memory(Heap):
    heap = Heap()
    heap.push_many((n, None, 0, n) for n in range(1000))
    for n in range(1000, 3000):
        heap.push(n, None, 0, n)
        heap.pop()
    before = heap.nbytes
    for n in range(3000, 20_000):
        heap.push(n, None, 0, n)
        heap.pop()
    assert heap.nbytes <= before * 1.5
