"""Threads that share a heap lose nothing, get nothing twice, and break nothing."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import uuid

import pytest

THREADS = 6
ROUNDS = 400


@pytest.fixture
def eager_switching():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run(work):
    """Run `work(number)` in threads that start together; raise what one of them raised."""
    barrier = threading.Barrier(THREADS)
    errors = []

    def body(number):
        try:
            barrier.wait(10)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("order", ["ready", "due"])
def test_what_goes_in_comes_out_once(Heap, order):
    heap = Heap(order)
    pushed = [0] * THREADS
    taken = [[] for _ in range(THREADS)]

    def work(me):
        for n in range(ROUNDS):
            mine = uuid.UUID(int=me * ROUNDS + n)
            heap.push(mine, n, n % 7, n)
            heap.push_many([(f"{me} {n} {k}", k, n % 5, -n) for k in range(3)])
            pushed[me] += 4
            with contextlib.suppress(KeyError):  # another thread may have it
                heap.update(mine, priority=9)
                if n % 3 == 0:
                    taken[me].append(heap.remove(mine))
            taken[me].extend(heap.pop_many(2))
            if order == "due":
                taken[me].extend(heap.pop_due(0, 1))
            with contextlib.suppress(IndexError):
                taken[me].append(heap.pop())

    run(work)
    heap.check()
    entries = [entry for part in taken for entry in part] + heap.pop_many(10**9)
    assert len(entries) == sum(pushed)
    assert len({entry[0] for entry in entries}) == sum(pushed)


@pytest.mark.usefixtures("eager_switching")
def test_an_id_that_all_push_goes_in_once(Heap):
    heap = Heap()
    won = [0] * THREADS

    def work(me):
        for n in range(ROUNDS):
            with contextlib.suppress(ValueError):
                heap.push(n, me, 0, 0)
                won[me] += 1

    run(work)
    heap.check()
    assert sum(won) == len(heap) == ROUNDS


@pytest.mark.usefixtures("eager_switching")
def test_a_batch_is_seen_whole_or_not_at_all(Heap):
    heap = Heap()
    sizes = set()

    def work(me):
        for n in range(ROUNDS):
            heap.push_many([(f"{me} {n} {k}", None, 0, 0) for k in range(8)])
            sizes.add(len(heap) % 8)

    run(work)
    if Heap.__module__ == "fastsched._heap":
        assert sizes == {0}
    assert len(heap) == THREADS * ROUNDS * 8


class Meddler:
    """An item whose end uses the heap it was in."""

    def __init__(self, heap, number):
        self.heap = heap
        self.number = number
        self.itself = self  # only a garbage collection ends it

    def __del__(self):
        self.heap.push(f"from {self.number}", None, 0, self.number)
        if len(self.heap) > 50:
            self.heap.pop_many(40)


def test_the_compiled_heap_may_be_entered_again_from_a_finalizer(both):
    heap = both[0]()
    thresholds = gc.get_threshold()
    gc.set_threshold(3)
    try:
        for n in range(2000):
            heap.push(n, Meddler(heap, n), 0, n)
            heap.push_many([(f"{n} {k}", Meddler(heap, n + k / 4), 0, n) for k in (1, 2)])
            if n in heap:
                heap.update(n, priority=3, item=None)
            heap.pop_many(2)
            if n % 100 == 0:
                heap.clear()
            heap.check()
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    heap.check()


def test_the_python_heap_refuses_to_be_entered_again():
    from fastsched._heap_py import IndexedHeap, _OneAtATime

    heap = IndexedHeap()
    only = _OneAtATime()
    with only, pytest.raises(RuntimeError, match="entered again"), only:
        pass
    with only:  # and it is free again
        pass
    heap.push("a", None, 0, 0)
    with heap._only, pytest.raises(RuntimeError, match="entered again"):
        heap.pop()
    assert heap.pop()[0] == "a"
