"""Both halves answer every call alike: same results, same errors, same texts, same signatures."""

from __future__ import annotations

import inspect
import math
import random
import uuid

import pytest

IDS = [*range(30), *map(str, range(30)), *(uuid.UUID(int=n) for n in range(30))]
ODD_IDS = [None, True, 1.0, b"x", (), 10**5000]
PRIORITIES = [*range(-3, 4), -32768, 32767]
ODD_PRIORITIES = [None, True, 1.5, "1", 32768, -32769, 2**80]
TIMES = [0, 1, 2.5, -1.0, -0.0, 1.7e9, 5e-324]
ODD_TIMES = [None, True, "1", math.nan, math.inf, -math.inf, 10**400]
COUNTS = [0, 1, 2, 5, 10**30]
ODD_COUNTS = [-1, None, True, 1.5]


# The methods to call, and how often of a hundred.
CALLS = {
    "push": 30,
    "push_many": 10,
    "pop": 12,
    "peek": 5,
    "pop_many": 3,
    "pop_due": 5,
    "remove": 12,
    "update": 14,
    "__contains__": 5,
    "__len__": 1,
    "__repr__": 1,
    "clear": 0.1,
    "check": 1,
    "__reduce__": 0.5,
}


def call_of(rng):
    """A random call: a method's name, its arguments and its keywords."""

    def one(good, odd):
        return rng.choice(odd) if rng.random() < 0.03 else rng.choice(good)

    def entry():
        new = (one(IDS, ODD_IDS), rng.random(), one(PRIORITIES, ODD_PRIORITIES))
        return (*new, one(TIMES, ODD_TIMES)) if rng.random() < 0.98 else new

    name = rng.choices(list(CALLS), CALLS.values())[0]
    if name == "push":
        arguments = entry()
        return name, arguments, {}
    if name == "push_many":
        return name, ([entry() for _ in range(rng.randrange(6))],), {}
    if name == "pop_many":
        return name, (one(COUNTS[:4], ODD_COUNTS),), {}
    if name == "pop_due":
        return name, (one(TIMES, ODD_TIMES), one(COUNTS, ODD_COUNTS)), {}
    if name in ("remove", "__contains__"):
        return name, (one(IDS, ODD_IDS),), {}
    if name == "update":
        changes = {
            "priority": one(PRIORITIES, ODD_PRIORITIES),
            "due_at": one(TIMES, ODD_TIMES),
            "item": rng.random(),
        }
        chosen = {key: value for key, value in changes.items() if rng.random() < 0.5}
        return name, (one(IDS, ODD_IDS),), chosen
    return name, (), {}


def outcome(heap, name, arguments, keywords):
    try:
        return "returned", repr(getattr(heap, name)(*arguments, **keywords))
    except Exception as error:
        if name == "push" and len(arguments) != 4:
            return "raised", type(error)  # the text is Python's own
        return "raised", type(error), str(error), getattr(error, "__notes__", None)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("order", ["ready", "due"])
def test_random_calls_come_to_the_same(both, order, seed):
    rng = random.Random(seed)
    compiled, python = (Heap(order) for Heap in both)
    seen = set()
    for _ in range(2000):
        call = call_of(rng)
        answer = outcome(compiled, *call)
        assert answer == outcome(python, *call), call
        seen.add((call[0], answer[0]))
    assert {("push", "raised"), ("push_many", "returned"), ("update", "returned")} <= seen
    assert compiled.pop_many(10**6) == python.pop_many(10**6)


@pytest.mark.parametrize("order", [None, "x", "DUE", 5, True, b"due", "a" * 200])
def test_wrong_orders_are_refused_in_the_same_words(both, order):
    texts = []
    for Heap in both:
        with pytest.raises(ValueError, match="order must be") as caught:
            Heap(order)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def public(Heap):
    return sorted(name for name in vars(Heap) if not name.startswith("_"))


def test_both_halves_have_the_same_methods(both):
    compiled, python = both
    assert public(compiled) == public(python)


def test_both_halves_have_the_same_signatures(both):
    def parameters(method):
        return [
            (p.name, p.default)
            if p.kind is not inspect.Parameter.KEYWORD_ONLY
            else (p.name, p.default, "keyword only")
            for p in inspect.signature(method).parameters.values()
        ]

    compiled, python = both
    methods = [name for name in public(python) if inspect.isfunction(vars(python)[name])]
    assert len(methods) == 10
    for name in methods:
        assert parameters(getattr(compiled, name)) == parameters(getattr(python, name)), name


def test_both_halves_have_the_same_docstrings(both):
    compiled, python = both
    assert inspect.getdoc(compiled) == inspect.getdoc(python)
    for name in public(python):
        if name == "nbytes":  # the cost differs
            continue
        one, other = (inspect.getdoc(getattr(Heap, name)) for Heap in both)
        assert one == other, name
