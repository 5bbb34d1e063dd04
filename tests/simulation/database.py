"""The jobs of the store in plain Python, and what happens to them."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fastsched.job import Claim, Failure, State
from fastsched.stores.base import NodeInfo


@dataclass(slots=True, kw_only=True)
class Row:
    """What the store knows of a job."""

    seq: int
    id: str
    kind: str
    queue: str
    state: State
    priority: int
    due_at: float
    deadline: float | None
    timeout: float | None
    max_attempts: int
    payload: bytes
    created_at: float
    attempt: int = 0
    claim_no: int = 0
    crashes: int = 0
    suspect: bool = False
    node: str | None = None
    claimed_at: float | None = None
    ended_at: float | None = None
    cancel_requested: bool = False
    reason: str | None = None
    failure: Failure | None = None

    def hotness(self) -> tuple[int, float, int]:
        return (-self.priority, self.due_at, self.seq)

    def held_by(self, claim: Claim) -> bool:
        return (self.node, self.claim_no) == (claim.node, claim.claim_no)


@dataclass(slots=True, kw_only=True)
class NodeRow:
    """What the store knows of a node."""

    info: NodeInfo
    lease_until: float
    alive: bool = True
    """Whether its process lives, as the operating system says."""
    running: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Job and claim number by slot, as far as the starts were written."""


class Database:
    """The jobs, and what all processes share."""

    def __init__(
        self, now: Callable[[], float], *, knows_what_ran: bool, lease: float = math.inf
    ) -> None:
        """`knows_what_ran`: every start is written, as on SQLite, where that costs nothing; else
        only those of suspects are, as on PostgreSQL. Without a `lease`, only the death of its
        process takes a node's place.
        """
        self.now = now
        self.knows_what_ran = knows_what_ran
        self.lease = lease
        self.rows: dict[str, Row] = {}
        self.totals: Counter[str] = Counter()
        self.given: dict[str, float] = {}
        self.nodes: dict[str, NodeRow] = {}
        self.effects: list[tuple[str, int]] = []
        """Job and claim number of every effect that was committed together with its job's end."""
        self.writes = 0
        self.lock = threading.RLock()

    # Rows ----------------------------------------------------------------------------------------

    def count(self, name: str, by: int = 1) -> None:
        self.totals[name] += by

    def come_back(self, row: Row, *, due_at: float | None = None, attempts_back: int = 1) -> None:
        """A claimed job comes back, unless its cancellation was asked for meanwhile."""
        row.node = None
        row.attempt -= attempts_back
        row.due_at = row.due_at if due_at is None else due_at
        if row.cancel_requested:
            self.end_job(row, State.CANCELLED)
        else:
            row.state = self.state_by(row.due_at)

    def end_job(self, row: Row, state: State, reason: str | None = None) -> None:
        row.state, row.node, row.ended_at = state, None, self.now()
        row.reason = row.reason if reason is None else reason
        self.count(state.value)

    def state_by(self, due_at: float) -> State:
        return State.SCHEDULED if due_at > self.now() else State.READY

    def held_by(self, node: str) -> list[Row]:
        return [row for row in self.rows.values() if row.node == node]

    def give_back(self, rows: Iterable[Row]) -> int:
        """Claimed jobs go back uncharged; how many."""
        given_back = 0
        for row in rows:
            self.come_back(row)
            self.totals["release"] += row.state is not State.CANCELLED
            given_back += 1
        return given_back

    # Nodes ---------------------------------------------------------------------------------------

    def dead(self, node: NodeRow) -> bool:
        return not node.alive or node.lease_until < self.now()

    def bury(self, row: Row) -> None:
        self.end_job(
            row, State.DEAD, f"crashed: its process died {row.crashes} times while it ran alone"
        )

    def blame(self, node: NodeRow) -> list[Row]:
        """After the crash of a node: who is charged. Who may have done it is suspect."""
        held = {(row.id, row.claim_no): row for row in self.held_by(node.info.id)}
        running = [held[claim] for claim in node.running.values() if claim in held]
        if not self.knows_what_ran:
            running = [row for row in running if row.suspect]
        charged = running if len(node.running) == 1 else []
        for row in charged:
            row.crashes += 1
        for row in running if self.knows_what_ran or charged else held.values():
            row.suspect = True
        return charged
