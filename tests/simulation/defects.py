"""Seeded defects: each breaks a rule of the design, and a simulation with it must find it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

from fastsched.backlog import Backlog
from fastsched.heap import IndexedHeap
from fastsched.job import ClaimedJob
from fastsched.node import Node
from fastsched.pool import Pool
from fastsched.stores.base import ClaimRequest, Flushed
from fastsched.writer import Writer
from simulation.database import Database, NodeRow, Row
from simulation.store import MemoryPresence, MemoryStore


class Defect(NamedTuple):
    """A defect: how it is put in, the rules of which one must find it, a seed that does today."""

    put_in: Callable[[], Any]
    rules: set[str]
    found_by: int


DEFECTS: dict[str, Defect] = {}
"""By what is wrong."""

_PutIn = Callable[[], Any]


def defect(what: str, *rules: str, found_by: int = 0) -> Callable[[_PutIn], _PutIn]:
    def add(put_in: _PutIn) -> _PutIn:
        DEFECTS[what] = Defect(put_in, set(rules), found_by)
        return put_in

    return add


def _instead(owner: Any, name: str, function: Any) -> Any:
    return mock.patch.object(owner, name, function)


@defect(
    "a run ends its job without holding the claim", "stale", "rerun", "fence", "lost", found_by=274
)
def no_fence() -> Any:
    return _instead(Row, "held_by", lambda row, claim: row.node is not None)


@defect("after an unknown commit nobody reconciles", "not drained", found_by=58)
def no_reconciling() -> Any:
    return _instead(Node, "_reconcile", lambda node: None)


@defect("what came in during a claim counts as drained", "slow", found_by=8)
def drained_too_early() -> Any:
    adopt = Node._adopt

    def early(node: Node, claim: ClaimRequest, flushed: Flushed) -> None:
        adopt(node, claim, flushed)
        if flushed.drained:
            node._drained = node._hint

    return _instead(Node, "_adopt", early)


@defect(
    "a node that stops forgets its backlog, and the store that it has left",
    "not drained",
    found_by=18,
)
@contextmanager
def forgotten_backlog() -> Iterator[None]:
    close = Backlog.close

    def forget(backlog: Backlog) -> list[ClaimedJob]:
        close(backlog)
        return []

    def leave(store: MemoryStore, node: str) -> None:
        with store._call(writes=True) as db:
            db.nodes.pop(node, None)

    with _instead(Backlog, "close", forget), _instead(MemoryStore, "leave", leave):
        yield


@defect("a rescue leaves what was running", "not drained")
def rescue_without_running() -> Any:
    give_back = Database.give_back

    def some(db: Database, rows: Sequence[Row]) -> int:
        running = {
            job_id
            for node in db.nodes.values()
            if db.dead(node)
            for job_id, _ in node.running.values()
        }
        return give_back(db, [row for row in rows if row.id not in running])

    return _instead(Database, "give_back", some)


@defect("ended runs that could not be written are dropped", "rerun", found_by=27)
def dropped_ends() -> Any:
    put_back = Writer._put_back
    return _instead(
        Writer, "_put_back", lambda self, ends, claim, error: put_back(self, (), claim, error)
    )


@defect("a refused enqueue is told as accepted", "lost", found_by=5)
def false_answer() -> Any:
    def accept(writer: Writer, inserts: Any, error: Exception) -> None:
        for _, ticket in inserts:
            ticket.resolve(frozenset())

    return _instead(Writer, "_refuse", accept)


@defect("a node whose lease is over starts jobs", "fence", "rerun", found_by=180)
def no_look_at_the_lease() -> Any:
    return _instead(MemoryPresence, "holds", lambda presence: True)


@defect(
    "everything that a crashed node held is charged", "buried", "bystander", "poison", found_by=3
)
def charged_bystanders() -> Any:
    def blame(db: Database, node: NodeRow) -> list[Row]:
        held = db.held_by(node.info.id)
        for row in held:
            row.crashes += 1
            row.suspect = True
        return held

    return _instead(Database, "blame", blame)


@defect("nobody is charged with a crash", "not drained", found_by=3)
def no_charge() -> Any:
    return _instead(Database, "blame", lambda db, node: [])


@defect("ready jobs run in the order of their due times", "order")
def wrong_order() -> Any:
    return mock.patch(
        "fastsched.backlog.IndexedHeap",
        mock.MagicMock(
            __getitem__=lambda heap, item: lambda order: IndexedHeap("due"),  # type: ignore[misc]
        ),
    )


@defect("workers that were written off are not made good", "unable", found_by=15)
def lost_workers() -> Any:
    def bury(pool: Pool, slot: int) -> None:
        with pool._lock:
            pool._zombies -= 1
            pool._free_slots.append(slot)

    return _instead(Pool, "_bury_zombie", bury)


@defect("a process that only enqueues tells due times by its own clock", "slow", found_by=2)
def own_clock() -> Any:
    return _instead(MemoryStore, "open", lambda store: setattr(store, "_open", True))


@contextmanager
def put_in(what: str) -> Iterator[set[str]]:
    """Run with a defect; the rules that may find it."""
    with DEFECTS[what].put_in():
        yield DEFECTS[what].rules
