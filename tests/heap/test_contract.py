"""What a heap promises, whichever half it is."""

from __future__ import annotations

import copy
import enum
import inspect
import math
import pickle
import random
import uuid

import pytest

U = uuid.UUID(int=7)
HUGE = pytest.param(10**5000, id="huge")  # more digits than repr() will write


class Text(str):
    __slots__ = ()


class Level(enum.IntEnum):
    HIGH = 9


def ids(heap):
    return [entry[0] for entry in heap.pop_many(len(heap))]


# -- order ---------------------------------------------------------------------------------------


def test_ready_order_is_priority_then_due_time_then_insertion(Heap):
    heap = Heap("ready")
    heap.push("low", None, -1, 0)
    heap.push("late", None, 5, 20)
    heap.push("first", None, 5, 10)
    heap.push("second", None, 5, 10)
    heap.push("high", None, 6, 99)
    assert ids(heap) == ["high", "first", "second", "late", "low"]


def test_due_order_is_due_time_then_priority_then_insertion(Heap):
    heap = Heap("due")
    heap.push("late", None, 9, 20)
    heap.push("low", None, 1, 10)
    heap.push("first", None, 5, 10)
    heap.push("second", None, 5, 10)
    heap.push("early", None, -9, -3.5)
    assert ids(heap) == ["early", "first", "second", "low", "late"]


def test_the_order_is_ready_unless_told(Heap):
    assert Heap().order == "ready"
    assert Heap(order="due").order == "due"


@pytest.mark.parametrize("order", ["READY", "", None, 1, [], Text("due")])
def test_other_orders_are_refused(Heap, order):
    with pytest.raises(ValueError, match="order must be 'ready' or 'due', not "):
        Heap(order)


@pytest.mark.parametrize("order", ["ready", "due"])
def test_every_kind_of_float_sorts_as_its_value(Heap, order):
    values = [-1.7e308, -1e9, -1.5, -5e-324, 0.0, 5e-324, 1e-300, 0.1, 1.5, 1.7e9, 1.7e308]
    heap = Heap(order)
    heap.push_many((str(v), None, 0, v) for v in random.Random(1).sample(values, len(values)))
    assert [entry[3] for entry in heap.pop_many(99)] == values


def test_minus_zero_is_zero(Heap):
    heap = Heap("due")
    heap.push("first", None, 0, 0.0)
    heap.push("second", None, 0, -0.0)
    assert math.copysign(1, heap.remove("second")[3]) == 1
    heap.push("second", None, 0, -0.0)
    assert ids(heap) == ["first", "second"]


@pytest.mark.parametrize("order", ["ready", "due"])
def test_keys_come_back_as_they_went_in(Heap, order):
    heap = Heap(order)
    rng = random.Random(2)
    for priority in (-32768, -1, 0, 1, 255, 256, 32767):
        due_at = rng.uniform(-1e12, 1e12)
        heap.push("x", None, priority, due_at)
        assert heap.pop() == ("x", None, priority, due_at)


# -- one entry -----------------------------------------------------------------------------------


def test_pop_and_peek_return_the_entry(Heap):
    heap = Heap()
    item = object()
    heap.push("a", item, 3, 1)
    assert heap.peek() == ("a", item, 3, 1.0)
    assert heap.pop() == ("a", item, 3, 1.0)
    assert len(heap) == 0


def test_due_at_comes_back_as_a_float(Heap):
    heap = Heap()
    heap.push("a", None, 0, 3)
    assert type(heap.pop()[3]) is float


def test_an_int_enum_is_a_priority_and_comes_back_as_an_int(Heap):
    heap = Heap()
    heap.push("a", None, Level.HIGH, 0)
    priority = heap.pop()[2]
    assert (priority, type(priority)) == (9, int)


def test_an_empty_heap_has_nothing_to_pop_or_peek(Heap):
    with pytest.raises(IndexError, match=r"^pop from an empty heap$"):
        Heap().pop()
    with pytest.raises(IndexError, match=r"^peek into an empty heap$"):
        Heap().peek()


@pytest.mark.parametrize("order", ["ready", "due"])
def test_remove_takes_out_any_entry_by_id(Heap, order):
    rng = random.Random(3)
    entries = [(n, str(n), rng.randrange(5), float(rng.randrange(50))) for n in range(500)]
    heap = Heap(order)
    heap.push_many(entries)
    for entry in rng.sample(entries, 250):
        assert heap.remove(entry[0]) == entry
        assert entry[0] not in heap
        heap.check()
    assert len(heap) == 250


def test_an_id_may_come_again_after_it_went(Heap):
    heap = Heap()
    for _ in range(3):
        heap.push("a", None, 0, 0)
        heap.remove("a")
        heap.push("a", None, 0, 0)
        heap.pop()
    assert "a" not in heap


def test_update_moves_an_entry_up_and_down(Heap):
    heap = Heap()
    heap.push_many((n, None, n, 0) for n in range(100))
    heap.update(3, priority=1000)
    assert heap.peek()[0] == 3
    heap.update(3, priority=-1000)
    heap.check()
    assert ids(heap)[-1] == 3


def test_update_changes_only_what_is_given(Heap):
    heap = Heap()
    heap.push("a", "item", 1, 2)
    heap.update("a")
    assert heap.peek() == ("a", "item", 1, 2.0)
    heap.update("a", due_at=5)
    assert heap.peek() == ("a", "item", 1, 5.0)
    heap.update("a", priority=7)
    assert heap.peek() == ("a", "item", 7, 5.0)
    heap.update("a", item=None)
    assert heap.peek() == ("a", None, 7, 5.0)


def test_update_keeps_the_order_of_pushes(Heap):
    heap = Heap()
    heap.push("first", None, 1, 0)
    heap.push("second", None, 1, 0)
    heap.update("first", priority=5, due_at=3)
    heap.update("first", priority=1, due_at=0)
    assert ids(heap) == ["first", "second"]


# -- many entries --------------------------------------------------------------------------------


def test_push_many_takes_any_iterable_and_keeps_its_order(Heap):
    heap = Heap()
    heap.push_many((name, None, 0, 0) for name in "cab")
    heap.push_many([])
    heap.push_many(iter([("d", None, 0, 0)]))
    assert ids(heap) == ["c", "a", "b", "d"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (("a", None, 0, 0), ValueError),  # in the heap
        ((1, None, 0, 0), ValueError),  # in the batch
        ((None, None, 0, 0), TypeError),
        (("z", None, 99999, 0), ValueError),
        (("z", None, 0, math.nan), ValueError),
        (("z", None, 0), TypeError),
        (["z", None, 0, 0], TypeError),
        ("four", TypeError),
    ],
)
@pytest.mark.parametrize("before", [1, 300])
def test_push_many_adds_all_or_none_and_tells_which_was_bad(Heap, bad, error, before):
    heap = Heap()
    heap.push_many([("a", 1, 2, 3), ("b", 1, 2, 3)])
    batch = [(n, None, n, 0) for n in range(1, before + 1)]
    with pytest.raises(error) as caught:
        heap.push_many([*batch, bad, ("y", None, 0, 0)])
    assert caught.value.__notes__ == [f"entry {before} of push_many; none was pushed"]
    heap.check()
    heap.push("c", 1, 2, 3)
    assert ids(heap) == ["a", "b", "c"]


def test_push_many_that_cannot_read_its_iterable_adds_nothing(Heap):
    def broken():
        yield ("a", None, 0, 0)
        raise OSError("gone")

    heap = Heap()
    with pytest.raises(OSError, match=r"^gone$"):
        heap.push_many(broken())
    with pytest.raises(TypeError):
        heap.push_many(5)
    assert len(heap) == 0


def test_push_many_may_read_from_the_heap_it_fills(Heap):
    def moving():
        for _ in range(3):
            id, item, priority, due_at = heap.pop()
            heap.push(f"{id}2", item, priority, due_at)
            yield (id, item, priority, due_at)

    heap = Heap()
    heap.push_many((name, None, 0, 0) for name in "abc")
    heap.push_many(moving())
    assert ids(heap) == ["a2", "b2", "c2", "a", "b", "c"]


def test_pop_many_takes_as_many_as_there_are(Heap):
    heap = Heap()
    heap.push_many((n, None, 0, n) for n in range(5))
    assert [entry[0] for entry in heap.pop_many(2)] == [0, 1]
    assert heap.pop_many(0) == []
    assert [entry[0] for entry in heap.pop_many(10**30)] == [2, 3, 4]
    assert heap.pop_many(1) == []


def test_pop_due_takes_what_is_due_and_no_more(Heap):
    heap = Heap("due")
    heap.push_many((n, None, 0, n) for n in range(10))
    assert [entry[0] for entry in heap.pop_due(3, 99)] == [0, 1, 2, 3]
    assert [entry[0] for entry in heap.pop_due(8.5, 2)] == [4, 5]
    assert heap.pop_due(5.9, 99) == []
    assert heap.pop_due(-math.inf, 99) == []
    assert [entry[0] for entry in heap.pop_due(math.inf, 99)] == [6, 7, 8, 9]


def test_pop_due_needs_the_order_due(Heap):
    with pytest.raises(ValueError, match="pop_due needs a heap of order 'due'"):
        Heap("ready").pop_due(0, 1)


@pytest.mark.parametrize("now", [None, "0", True])
def test_pop_due_refuses_a_time_that_is_none(Heap, now):
    with pytest.raises(TypeError, match="now must be an int or a float, in seconds, not "):
        Heap("due").pop_due(now, 1)


def test_pop_due_refuses_nan(Heap):
    with pytest.raises(ValueError, match="now must be a number of seconds, not nan"):
        Heap("due").pop_due(math.nan, 1)


def test_a_count_is_an_int_that_is_not_negative(Heap):
    heap = Heap("due")
    for call in (heap.pop_many, lambda n: heap.pop_due(0, n)):
        with pytest.raises(ValueError, match="n must not be negative, not -1"):
            call(-1)
        for bad in (1.0, "1", None, True):
            with pytest.raises(TypeError, match="n must be an int, not "):
                call(bad)


def test_clear_empties_the_heap_and_it_can_be_used_again(Heap):
    heap = Heap()
    heap.push_many((n, None, 0, 0) for n in range(3000))
    heap.clear()
    heap.check()
    assert (len(heap), 5 in heap) == (0, False)
    heap.push(5, None, 0, 0)
    assert ids(heap) == [5]
    heap.clear()
    Heap().clear()


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("good", ["", "a", "\udc80", 0, -1, 2**64, HUGE, U])
def test_a_str_an_int_or_a_uuid_is_an_id(Heap, good):
    heap = Heap()
    heap.push(good, None, 0, 0)
    assert good in heap
    assert heap.remove(good)[0] is good
    assert good not in heap


def test_ids_of_different_types_are_different(Heap):
    heap = Heap()
    for id in (7, "7", U, str(U)):
        heap.push(id, None, 0, 0)
    assert ids(heap) == [7, "7", U, str(U)]


def test_an_equal_id_is_the_same_id(Heap):
    heap = Heap()
    for one, other in [
        ("".join("ab"), "".join(["a", "b"])),
        (10**20, int("1" + "0" * 20)),
        (uuid.UUID(int=9), uuid.UUID(int=9)),
    ]:
        assert one is not other
        heap.push(one, None, 0, 0)
        assert other in heap
        assert heap.remove(other)[0] is one


@pytest.mark.parametrize("bad", [None, True, 1.0, b"a", (), [], Text("a"), Level.HIGH, object()])
def test_other_ids_are_refused_everywhere(Heap, bad):
    heap = Heap()
    heap.push(1, None, 0, 0)
    text = rf"^id must be a str, an int or a uuid.UUID, not {type(bad).__name__}"
    for call in (
        lambda: heap.push(bad, None, 0, 0),
        lambda: heap.push_many([(bad, None, 0, 0)]),
        lambda: heap.remove(bad),
        lambda: heap.update(bad, priority=1),
        lambda: bad in heap,
    ):
        with pytest.raises(TypeError, match=text):
            call()
    assert ids(heap) == [1]


@pytest.mark.parametrize("bad", [None, True, 1.0, "1"])
def test_a_priority_is_an_int(Heap, bad):
    heap = Heap()
    with pytest.raises(TypeError, match=rf"^priority must be an int, not {type(bad).__name__}$"):
        heap.push("a", None, bad, 0)
    assert len(heap) == 0


@pytest.mark.parametrize("bad", [-32769, 32768, 2**63, -(2**70), HUGE])
def test_a_priority_has_sixteen_bits(Heap, bad):
    heap = Heap()
    with pytest.raises(ValueError, match=r"^priority must be from -32768 to 32767, not "):
        heap.push("a", None, bad, 0)
    heap.push("a", None, 0, 0)
    with pytest.raises(ValueError, match=r"^priority must be from -32768 to 32767, not "):
        heap.update("a", priority=bad)
    assert heap.pop() == ("a", None, 0, 0.0)


@pytest.mark.parametrize("bad", [None, True, "1", 1j])
def test_a_due_time_is_a_number(Heap, bad):
    with pytest.raises(TypeError, match=r"^due_at must be an int or a float, in seconds, not "):
        Heap().push("a", None, 0, bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_due_time_is_finite(Heap, bad):
    heap = Heap()
    with pytest.raises(ValueError, match=r"^due_at must be a finite number of seconds, not "):
        heap.push("a", None, 0, bad)
    heap.push("a", None, 0, 0)
    with pytest.raises(ValueError, match=r"^due_at must be a finite number of seconds, not "):
        heap.update("a", priority=5, due_at=bad)
    assert heap.pop() == ("a", None, 0, 0.0)


def test_a_due_time_fits_a_float(Heap):
    with pytest.raises(ValueError, match=r"^due_at is too large for a float: 1000"):
        Heap().push("a", None, 0, 10**400)


def test_an_id_stands_once(Heap):
    heap = Heap()
    heap.push("a", 1, 2, 3)
    with pytest.raises(ValueError, match=r"^an entry has the id 'a' already$"):
        heap.push("a", 4, 5, 6)
    heap.check()
    assert heap.pop_many(9) == [("a", 1, 2, 3.0)]


@pytest.mark.parametrize("missing", ["b", 5, U, HUGE, "long" * 99])
def test_a_missing_id_is_a_key_error(Heap, missing):
    heap = Heap()
    for _ in range(2):  # an empty heap, then one that is not
        for call in (heap.remove, heap.update):
            with pytest.raises(KeyError, match="no entry has the id ") as caught:
                call(missing)
            assert len(caught.value.args[0]) < 120
        assert missing not in heap
        heap.clear()
        heap.push("a", None, 0, 0)


def test_a_heap_is_neither_copied_nor_pickled(Heap):
    heap = Heap()
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"^an IndexedHeap cannot be copied or pickled$"):
            call(heap)


def test_a_heap_is_no_iterable(Heap):
    with pytest.raises(TypeError):
        iter(Heap())


# -- the rest ------------------------------------------------------------------------------------


def test_arguments_have_names(Heap):
    heap = Heap(order="due")
    heap.push(id="a", item=1, priority=2, due_at=3)
    heap.push_many(entries=[("b", 1, 2, 4)])
    assert len(heap.pop_due(now=3, n=1)) == 1
    assert len(heap.pop_many(n=1)) == 1
    heap.push("a", 1, 2, 3)
    heap.update(id="a", priority=3)
    assert heap.remove(id="a") == ("a", 1, 3, 3.0)


def test_the_repr_tells_order_and_size(Heap):
    heap = Heap("due")
    heap.push("a", None, 0, 0)
    assert repr(heap) == "<IndexedHeap order='due' entries=1>"


def test_a_heap_can_say_what_it_holds_in_annotations(Heap):
    assert "IndexedHeap[" in str(Heap[int])


def test_every_method_has_a_docstring(Heap):
    for name, member in inspect.getmembers(Heap):
        if not name.startswith("_"):
            assert member.__doc__, name
    assert "order" in Heap.__doc__


def test_nbytes_grows_with_the_heap_and_falls_when_it_empties(Heap):
    heap = Heap()
    empty = heap.nbytes
    heap.push_many((n, None, 0, n) for n in range(20_000))
    full = heap.nbytes
    assert full > empty + 20_000 * 40
    heap.pop_many(20_000)
    assert heap.nbytes < full / 10
