"""The contract between the scheduler and whatever keeps its jobs.

A store answers in batches: one `flush` is one transaction. How it records a claim is its own
affair. Methods marked *write* are called by one thread at a time; *look-ups* by any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fastsched.bus import Bus
from fastsched.clock import Clock
from fastsched.job import Claim, ClaimedJob, Job, NewJob, State
from fastsched.outcomes import Outcome
from fastsched.user_connection import UserConnection

LEASE = 30.0
"""Seconds for which claims hold without renewal: one regex can hold the GIL for seconds."""
HORIZON = 1.0
"""Seconds ahead for which jobs are claimed, so that they start on time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """What a node wants to run next."""

    node: str
    kinds: Sequence[str]
    queues: Sequence[str] | None
    """Queues that the node serves; None for all."""
    limit: int
    min_priority: int
    horizon: float
    """Seconds ahead within which jobs not yet due are claimed when ready ones run short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """What is written in one transaction: new jobs, ended runs, then a claim."""

    jobs: Sequence[NewJob] = ()
    ends: Sequence[tuple[Claim, Outcome]] = ()
    claim: ClaimRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed:
    """What a flush came to."""

    known: frozenset[str] = frozenset()
    """Ids given by callers that the store had already: nothing was inserted for them."""
    accepted: int = 0
    """How many jobs were inserted."""
    stale: frozenset[Claim] = frozenset()
    """Claims that did not hold any more: their ends changed nothing."""
    states: Mapping[str, State] = field(default_factory=dict)
    """State after a run's end, by id, where it was not `done`."""
    claimed: Sequence[ClaimedJob] = ()
    """Sorted as ready jobs run."""
    drained: bool = True
    """Whether the claim took all that is ready; meaningless without a claim."""
    next_due: float | None = None
    """When the earliest job not yet claimed is due, in store time; with a claim only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """A registered node."""

    id: str
    host: str
    pid: int
    workers: int
    started_at: float
    alive: bool = True
    """Whether its process lives; the jobs of one that does not are about to be rescued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """What a rescue found."""

    nodes: Sequence[str] = ()
    """Nodes that were dead."""
    released: int = 0
    """Jobs taken back from them."""
    charged: Sequence[str] = ()
    """Ids of jobs that were running alone when their process died."""
    dead: Sequence[tuple[str, str, str, int]] = ()
    """Id, kind, queue and attempt of those that crashed once too often."""


class Cancelled(StrEnum):
    """What asking for a cancellation came to."""

    CANCELLED = "cancelled"
    """It had not started, and never will."""
    REQUESTED = "requested"
    """It is claimed: its node is asked to stop it, and it will not run again."""
    TOO_LATE = "too late"
    """It had ended already, or is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Jobs in the store by state now, and totals since the store was made."""

    states: Mapping[State, int]
    totals: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tended:
    """What a node learns when it tends its place in the store."""

    stands: bool
    """Whether the node still has its place; once False, its claims are not its own."""
    dead_nodes: bool
    """Whether some registered node is dead."""
    news: bool
    """Whether someone may have written since the last time."""
    cancel: Sequence[str]
    """Ids of jobs that the node holds and is asked to cancel."""
    doubt: bool = False
    """Whether the node may hold jobs of which it was not told: time to reconcile."""


class Presence(Protocol):
    """A node's sign of life, and its record of what is running, both outliving a kill."""

    def holds(self) -> bool:
        """Whether the node may start a job now; asked before every start, so cheap."""

    def enter(self, slot: int, job: ClaimedJob) -> None:
        """Record that `slot` runs a job, before it runs."""

    def leave(self, slot: int) -> None:
        """Record that `slot` runs nothing."""


class Store(Protocol):
    """Durable jobs."""

    @property
    def clock(self) -> Clock:
        """The store's clock: what *now* means for due times and deadlines."""

    @property
    def name(self) -> str:
        """Where it is, without secrets, for people."""

    @property
    def look_every(self) -> float:
        """Seconds between the looks of a node at the others, each of which renews its lease."""

    def open(self) -> None:
        """Connect, and bring the tables up to date."""

    def close(self) -> None:
        """Let go of everything; may be called twice."""

    def schema_version(self) -> int:
        """The version of the tables; 0 for none, from a server asked before `open`."""

    def forsake(self) -> None:
        """Called in the child of a fork: drop what belongs to the parent, without touching it."""

    def bus(self) -> Bus:
        """The bus that comes with this store."""

    # Write ---------------------------------------------------------------------------------------

    def flush(self, flush: Flush) -> Flushed:
        """Write one batch, all or nothing; `StoreError` if nothing was written."""

    def insert_through(self, connection: UserConnection, jobs: Sequence[NewJob]) -> None:
        """Store jobs in the user's own transaction; called from the user's thread."""

    def effects(self, claim: Claim) -> AbstractContextManager[Any]:
        """A transaction of the store's database that completes the claim at its end.

        `JobStopped`, and nothing written, if the claim does not hold; called from any thread.
        """

    def register(self, node: NodeInfo, slots: int) -> Presence:
        """Announce a node with room to record `slots` running jobs."""

    def leave(self, node: str) -> None:
        """Give back, uncharged, all that a node holds, and forget it."""

    def rescue(self, max_crashes: int) -> Rescued:
        """Take back the jobs of every dead node; bury what crashed `max_crashes` times alone."""

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        """Give back what the store counts as the node's and the node does not know; how many."""

    def cancel(self, ids: Sequence[str]) -> dict[str, Cancelled]:
        """Cancel what has not started, and ask for the rest."""

    def requeue(self, ids: Sequence[str]) -> list[str]:
        """Dead letters back to ready with all their attempts; those that were dead."""

    def run_now(self, ids: Sequence[str]) -> list[str]:
        """Scheduled jobs due at once; those that were scheduled."""

    def discard(self, ids: Sequence[str]) -> list[str]:
        """Dead letters deleted; those that were dead."""

    def expire(self, limit: int) -> Sequence[tuple[str, str, str, int]]:
        """End jobs whose deadline has passed unstarted; id, kind, queue and attempt of each."""

    def prune(self, *, done_for: float, ended_for: float, ids_for: float, limit: int) -> int:
        """Delete at most `limit` ended rows and as many given ids older than that many seconds."""

    # Look-ups ------------------------------------------------------------------------------------

    def tend(self, node: str) -> Tended:
        """Renew the node's place and look around; cheap enough for once a second."""

    def job(self, job_id: str) -> Job | None:
        """One job; None when it is not known, or was done and not kept."""

    def jobs(
        self,
        *,
        state: State | None,
        kind: str | None,
        queue: str | None,
        after: str | None,
        limit: int,
    ) -> list[Job]:
        """A page of jobs by id, those after `after`."""

    def states_of(self, ids: Sequence[str]) -> dict[str, State]:
        """The states of those of `ids` that have a row."""

    def busy(self, include_scheduled: bool) -> bool:
        """Whether anything is ready, claimed or due; with `include_scheduled`, due ever."""

    def counts(self) -> Counts:
        """Counts by state (cost: a scan of small indexes) and totals."""

    def nodes(self) -> list[NodeInfo]:
        """The registered nodes."""
