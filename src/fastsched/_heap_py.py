"""The indexed binary heap in plain Python: what runs where the compiled one cannot.

Every operation holds a lock, for Python code may be interrupted anywhere by another thread. One
that is entered again by the thread that is in it, from a signal handler or a finalizer, refuses
with `RuntimeError`. An exception that is thrown into an operation from outside (KeyboardInterrupt)
may break the heap; the compiled half cannot be hit by one.
"""

from __future__ import annotations

import math
import sys
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeAlias, TypeVar, final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import EllipsisType, TracebackType

Item = TypeVar("Item")
Id: TypeAlias = str | int | UUID
Entry: TypeAlias = tuple[Id, Item, int, float]

# [first key, second key, sequence, id, item, place]: compared as lists, which ends at the sequence.
_Node: TypeAlias = list[Any]
_ID, _ITEM, _PLACE = 3, 4, 5

_LOWEST_PRIORITY = -32768
_HIGHEST_PRIORITY = 32767


@final
class IndexedHeap(Generic[Item]):
    """A binary heap of entries `(id, item, priority, due_at)`, each within reach by its id.

    order "ready": the highest priority first, then the earliest `due_at`, then the first pushed.
    order "due": the earliest `due_at` first, then the highest priority, then the first pushed.

    An id is a `str`, an `int` or a `uuid.UUID` (subclasses are refused), and stands once in the
    heap. `priority` is an int from -32768 to 32767. `due_at` is a finite int or float, in seconds,
    and comes back as a float. `item` is anything.

    Arguments that break these rules raise `TypeError` or `ValueError`, an id that is not there
    `KeyError`, and the heap is as it was. Threads may share a heap.
    """

    __slots__ = ("_by_due", "_nodes", "_nodes_by_id", "_only", "_sequence")

    _by_due: bool
    _nodes: list[_Node]
    _nodes_by_id: dict[Id, _Node]
    _only: _OneAtATime
    _sequence: int

    def __init__(self, order: Literal["ready", "due"] = "ready") -> None:
        if type(order) is not str or order not in ("ready", "due"):
            raise ValueError(f"order must be 'ready' or 'due', not {_shown(order)}")
        self._by_due = order == "due"
        self._nodes = []
        self._nodes_by_id = {}
        self._sequence = 0
        self._only = _OneAtATime()

    # -- one entry ---------------------------------------------------------------------------

    def push(self, id: Id, item: Item, priority: int, due_at: float) -> None:
        """Add an entry. O(log n), and O(1) on average for keys in random order.

        Raises `ValueError` if the id is in the heap already.
        """
        _check_id(id)
        priority = _priority(priority)
        due_at = _due_at(due_at)
        with self._only:
            if id in self._nodes_by_id:
                raise ValueError(f"an entry has the id {_shown(id)} already")
            self._insert(id, item, priority, due_at)

    def pop(self) -> Entry[Item]:
        """Remove the first entry and return it. O(log n). `IndexError` if the heap is empty."""
        with self._only:
            if not self._nodes:
                raise IndexError("pop from an empty heap")
            return self._take(self._nodes[0])

    def peek(self) -> Entry[Item]:
        """Return the first entry. O(1). `IndexError` if the heap is empty."""
        with self._only:
            if not self._nodes:
                raise IndexError("peek into an empty heap")
            return self._entry(self._nodes[0])

    def remove(self, id: Id) -> Entry[Item]:
        """Remove the entry with this id and return it. O(log n)."""
        _check_id(id)
        with self._only:
            return self._take(self._node(id))

    def update(
        self,
        id: Id,
        *,
        priority: int | None = None,
        due_at: float | None = None,
        item: Item | EllipsisType = ...,
    ) -> None:
        """Change what is given of the entry with this id. O(log n).

        The entry keeps its place in the order of pushes.
        """
        _check_id(id)
        with self._only:
            node = self._node(id)
            old = self._entry(node)
            priority = old[2] if priority is None else _priority(priority)
            due_at = old[3] if due_at is None else _due_at(due_at)
            node[:2] = (due_at, -priority) if self._by_due else (-priority, due_at)
            self._settle(node, node[_PLACE])
            if item is not ...:
                node[_ITEM] = item

    # -- many entries ------------------------------------------------------------------------

    def push_many(self, entries: Iterable[tuple[Id, Item, int, float]]) -> None:
        """Add entries from an iterable of tuples, all or none. O(k log n) for k entries.

        An exception carries a note that tells which entry it is about.
        """
        batch = list(entries)
        checked: dict[Id, tuple[Item, int, float]] = {}
        done = 0
        try:
            for entry in batch:
                if not isinstance(entry, tuple) or len(entry) != 4:
                    raise TypeError(
                        "an entry must be a tuple (id, item, priority, due_at), "
                        f"not {_shown(entry)}"
                    )
                _check_id(entry[0])
                _priority(entry[2])
                _due_at(entry[3])
                done += 1
            with self._only:
                done = 0
                for id, item, priority, due_at in batch:
                    if id in self._nodes_by_id or id in checked:
                        raise ValueError(f"an entry has the id {_shown(id)} already")
                    checked[id] = (item, _priority(priority), _due_at(due_at))
                    done += 1
                for id, (item, priority, due_at) in checked.items():
                    self._insert(id, item, priority, due_at)
        except (TypeError, ValueError) as error:
            error.add_note(f"entry {done} of push_many; none was pushed")
            raise

    def pop_many(self, n: int) -> list[Entry[Item]]:
        """Remove the first entries, `n` at most, and return them in order. O(k log n) for k."""
        n = _count(n)
        with self._only:
            return [self._take(self._nodes[0]) for _ in range(min(n, len(self._nodes)))]

    def pop_due(self, now: float, n: int) -> list[Entry[Item]]:
        """Remove the entries with `due_at <= now`, `n` at most, and return them in order.

        O(k log n) for k entries. Only for order "due": `ValueError` on any other. `now` may be
        infinite.
        """
        limit = _seconds(now, "now")
        n = _count(n)
        if not self._by_due:
            raise ValueError("pop_due needs a heap of order 'due'; this one's is 'ready'")
        if math.isnan(limit):
            raise ValueError(f"now must be a number of seconds, not {_shown(now)}")
        taken: list[Entry[Item]] = []
        with self._only:
            while len(taken) < n and self._nodes and self._nodes[0][0] <= limit:
                taken.append(self._take(self._nodes[0]))
        return taken

    def clear(self) -> None:
        """Remove all entries. O(n)."""
        with self._only:
            dropped = self._nodes, self._nodes_by_id
            self._nodes = []
            self._nodes_by_id = {}
            self._sequence = 0
        del dropped  # items may run code of their own as they go: now they can

    # -- questions ---------------------------------------------------------------------------

    def __contains__(self, id: Id) -> bool:
        """Whether an entry has this id. O(1)."""
        _check_id(id)
        return id in self._nodes_by_id

    def __len__(self) -> int:
        """The number of entries. O(1)."""
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"<IndexedHeap order={self.order!r} entries={len(self)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an IndexedHeap cannot be copied or pickled")

    @property
    def order(self) -> Literal["ready", "due"]:
        """ "ready" or "due"."""
        return "due" if self._by_due else "ready"

    @property
    def nbytes(self) -> int:
        """Bytes of memory the heap holds, ids and items not included. O(n)."""
        return (
            sys.getsizeof(self._nodes)
            + sys.getsizeof(self._nodes_by_id)
            + sum(
                sys.getsizeof(node) + sum(map(sys.getsizeof, (*node[:3], node[_PLACE])))
                for node in self._nodes
            )
        )

    def check(self) -> None:
        """Raise `AssertionError` if the heap is broken inside. O(n), for tests."""
        with self._only:
            nodes = self._nodes
            if len(self._nodes_by_id) != len(nodes):
                raise AssertionError(f"{len(self._nodes_by_id)} ids for {len(nodes)} entries")
            for place, node in enumerate(nodes):
                if place and node < nodes[(place - 1) >> 1]:
                    raise AssertionError(f"the entry at {place} comes before its parent")
                if node[_PLACE] != place:
                    raise AssertionError(f"the entry at {place} is noted at {node[_PLACE]}")
                if self._nodes_by_id.get(node[_ID]) is not node:
                    raise AssertionError(f"the id of the entry at {place} leads elsewhere")

    # -- entries -----------------------------------------------------------------------------

    def _node(self, id: Id) -> _Node:
        node = self._nodes_by_id.get(id)
        if node is None:
            raise KeyError(f"no entry has the id {_shown(id)}")
        return node

    def _entry(self, node: _Node) -> Entry[Item]:
        first, second, _, id, item, _ = node
        return (id, item, -second, first) if self._by_due else (id, item, -first, second)

    def _insert(self, id: Id, item: Item, priority: int, due_at: float) -> None:
        first, second = (due_at, -priority) if self._by_due else (-priority, due_at)
        node = [first, second, self._sequence, id, item, 0]
        self._nodes_by_id[id] = node
        self._nodes.append(node)
        self._sequence += 1
        self._rise(node, len(self._nodes) - 1)

    def _take(self, node: _Node) -> Entry[Item]:
        place: int = node[_PLACE]
        del self._nodes_by_id[node[_ID]]
        last = self._nodes.pop()
        if last is not node:
            self._settle(last, place)
        elif not self._nodes:
            self._sequence = 0
            self._nodes_by_id.clear()  # gives back the memory of a rush
        return self._entry(node)

    # -- order -------------------------------------------------------------------------------

    def _rise(self, node: _Node, place: int) -> None:
        """Put `node` at `place`, which is free, or above."""
        nodes = self._nodes
        while place > 0:
            parent = nodes[(place - 1) >> 1]
            if not node < parent:
                break
            nodes[place] = parent
            parent[_PLACE], place = place, (place - 1) >> 1
        nodes[place] = node
        node[_PLACE] = place

    def _sink(self, node: _Node, place: int) -> None:
        """Put `node` at `place`, which is free, or below."""
        nodes = self._nodes
        end = len(nodes)
        while (index := 2 * place + 1) < end:
            child = nodes[index]
            if index + 1 < end and (right := nodes[index + 1]) < child:
                child = right
                index += 1
            if not child < node:
                break
            nodes[place] = child
            child[_PLACE] = place
            place = index
        nodes[place] = node
        node[_PLACE] = place

    def _settle(self, node: _Node, place: int) -> None:
        """Put `node` at `place`, which is free, or where it belongs above or below."""
        if place > 0 and node < self._nodes[(place - 1) >> 1]:
            self._rise(node, place)
        else:
            self._sink(node, place)


class _OneAtATime:
    """A lock that refuses the thread that is inside already, instead of waiting for ever."""

    __slots__ = ("_inside", "_lock")

    def __init__(self) -> None:
        self._lock = RLock()
        self._inside = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._inside:
            self._lock.release()
            raise RuntimeError(
                "the heap was entered again, by a signal handler or a finalizer, in the middle of "
                "an operation of the same thread; only the compiled heap can do this"
            )
        self._inside = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside = False
        self._lock.release()


def _shown(value: object) -> str:
    """`repr(value)`, shortened; never an exception."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def _check_id(id: object) -> None:
    if type(id) is not str and type(id) is not int and type(id) is not UUID:
        raise TypeError(f"id must be a str, an int or a uuid.UUID, not {type(id).__name__}")


def _priority(priority: object) -> int:
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise TypeError(f"priority must be an int, not {type(priority).__name__}")
    if not _LOWEST_PRIORITY <= priority <= _HIGHEST_PRIORITY:
        raise ValueError(
            f"priority must be from {_LOWEST_PRIORITY} to {_HIGHEST_PRIORITY}, "
            f"not {_shown(priority)}"
        )
    return int(priority)


def _seconds(value: object, name: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int or a float, in seconds, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large for a float: {_shown(value)}") from None


def _due_at(due_at: object) -> float:
    value = _seconds(due_at, "due_at")
    if not math.isfinite(value):
        raise ValueError(f"due_at must be a finite number of seconds, not {_shown(due_at)}")
    return value + 0.0  # -0.0 becomes 0.0, as in the compiled half


def _count(n: object) -> int:
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"n must be an int, not {type(n).__name__}")
    if n < 0:
        raise ValueError(f"n must not be negative, not {_shown(n)}")
    return n
