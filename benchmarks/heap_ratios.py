"""How the compiled heap compares: ratios, each from runs that alternate in one process.

    python benchmarks/heap_ratios.py [rounds]

A ratio holds on a busy machine where a time does not. Each figure is the best of its rounds.
"""

from __future__ import annotations

import gc
import heapq
import os
import platform
import random
import subprocess
import sys
import time
from itertools import count

from heapdict import heapdict

from fastsched._heap import IndexedHeap as Compiled
from fastsched._heap_py import IndexedHeap as Fallback

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7


def entries_of(n, seed=1):
    """Ids as the store gives them, ten priorities, due times within a day."""
    rng = random.Random(seed)
    return [(id, None, rng.randrange(10), 1.8e9 + rng.uniform(0, 86_400)) for id in range(n)]


def best(candidates, rounds=ROUNDS):
    """Seconds for each candidate, the best of rounds in which each has its turn."""
    times = dict.fromkeys(candidates, float("inf"))
    for _ in range(rounds):
        for name, run in candidates.items():
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            run()
            times[name] = min(times[name], time.perf_counter() - start)
            gc.enable()
    return times


def push_pop(make, entries):
    def run():
        heap = make("ready")
        push, pop = heap.push, heap.pop
        for id, item, priority, due_at in entries:
            push(id, item, priority, due_at)
        for _ in entries:
            pop()

    return run


def push_pop_many(make, entries):
    def run():
        heap = make("ready")
        heap.push_many(entries)
        heap.pop_many(len(entries))

    return run


def push_pop_heapq(entries):
    def run():
        heap, number = [], count()
        push, pop = heapq.heappush, heapq.heappop
        for id, item, priority, due_at in entries:
            push(heap, (-priority, due_at, next(number), id, item))
        for _ in entries:
            pop(heap)

    return run


def push_remove(make, entries, ids):
    def run():
        heap = make("ready")
        push, remove = heap.push, heap.remove
        for id, item, priority, due_at in entries:
            push(id, item, priority, due_at)
        for id in ids:
            remove(id)

    return run


def push_remove_heapdict(entries, ids):
    def run():
        heap, number = heapdict(), count()
        for id, item, priority, due_at in entries:
            heap[id] = (-priority, due_at, next(number), item)
        for id in ids:
            del heap[id]

    return run


def pairs_at(n, pairs, heap_of):
    """A pop and a push, over and over, on a heap that stays at `n`."""
    return heap_of(entries_of(n + pairs), n)


def steady_compiled(entries, n):
    heap = Compiled("ready")
    heap.push_many(entries[:n])
    rest = entries[n:]

    def run():
        pop, push = heap.pop, heap.push
        for _, _, priority, due_at in rest:
            id, item, _, _ = pop()
            push(id, item, priority, due_at)

    return run


def steady_heapq(entries, n):
    number = count()
    heap = [(-p, due_at, next(number), id, item) for id, item, p, due_at in entries[:n]]
    heapq.heapify(heap)
    rest = entries[n:]

    def run():
        pop, push = heapq.heappop, heapq.heappush
        for _, _, priority, due_at in rest:
            _, _, _, id, item = pop(heap)
            push(heap, (-priority, due_at, next(number), id, item))

    return run


def line(what, value, goal, met, unit="x"):
    verdict = "" if goal is None else f"   goal {goal}: {'met' if met else 'MISSED'}"
    print(f"{what:<58}{value:>9.1f} {unit}{verdict}")


def main():
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores,")
    print(f"commit {commit or 'unknown'}, {time.strftime('%Y-%m-%d')}, best of {ROUNDS}\n")

    n = 100_000
    entries = entries_of(n)
    times = best(
        {
            "compiled": push_pop(Compiled, entries),
            "heapq": push_pop_heapq(entries),
            "compiled, many": push_pop_many(Compiled, entries),
        }
    )
    for name, seconds in times.items():
        line(f"push and pop of 100,000, {name}", seconds / n * 1e9, None, None, "ns a pair")
    ratio = times["heapq"] / times["compiled"]
    line("  faster than heapq with tuples", ratio, ">= 3.5", ratio >= 3.5)
    line(
        "  the same with push_many and pop_many", times["heapq"] / times["compiled, many"], None, 0
    )

    times = best(
        {"compiled": push_pop(Compiled, entries), "fallback": push_pop(Fallback, entries)}, 3
    )
    ratio = times["fallback"] / times["compiled"]
    line("  faster than the fallback", ratio, ">= 20", ratio >= 20)

    in_order = [entry[0] for entry in entries]
    shuffled = random.Random(2).sample(in_order, n)
    for how, ids in (("as pushed", in_order), ("at random", shuffled)):
        times = best(
            {
                "compiled": push_remove(Compiled, entries, ids),
                "heapdict": push_remove_heapdict(entries, ids),
                "fallback": push_remove(Fallback, entries, ids),
            },
            3,
        )
        line(f"push, and remove by id {how}, compiled", times["compiled"] / n * 1e9, None, 0, "ns")
        ratio = times["heapdict"] / times["compiled"]
        line("  faster than heapdict", ratio, ">= 50", ratio >= 50)
        line("  faster than the fallback", times["fallback"] / times["compiled"], None, None)
    print(
        "    what limits removals at random: each waits for memory several times in turn\n"
        "    (cell, slot, entry, neighbours)"
    )

    pairs = 50_000
    times = best(
        {
            f"{name} {size}": pairs_at(size, pairs, heap_of)
            for size in (10_000, 1_000_000)
            for name, heap_of in (("compiled", steady_compiled), ("heapq", steady_heapq))
        }
    )
    for name, seconds in times.items():
        line(f"pop and push at a steady size, {name}", seconds / pairs * 1e9, None, None, "ns")
    growth = times["compiled 1000000"] / times["compiled 10000"]
    of_heapq = times["heapq 1000000"] / times["heapq 10000"]
    line("  growth from 10,000 to 1,000,000, compiled", growth, "<= 4", growth <= 4)
    line("  the same, heapq", of_heapq, "no less than ours", of_heapq >= growth)

    for size in (10_000, 100_000, 1_000_000):
        heap = Compiled("ready")
        for entry in entries_of(size):
            heap.push(*entry)
        bytes_each = heap.nbytes / size
        line(f"memory of an entry, {size:,} pushed one by one", bytes_each, "<= 160",
             bytes_each <= 160, "bytes")  # fmt: skip


if __name__ == "__main__":
    main()
