"""A store under test, with a hand on its time and on the lives of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from builders import new_job
from clocks import ManualClock
from simulation.database import Database
from simulation.store import MemoryStore

from fastsched.ids import new_id
from fastsched.job import MIN_PRIORITY, Claim, ClaimedJob, Job, NewJob, State
from fastsched.outcomes import Outcome
from fastsched.stores.base import ClaimRequest, Flush, Flushed, NodeInfo, Presence, Store, Tended
from fastsched.stores.sqlite import SqliteStore


class Base(Protocol):
    """The database of a lab: what differs from store to store."""

    knows_what_ran: bool
    """Whether the store can tell what a dead process was running from what it only held."""

    def connect(self, *, keep_done: bool) -> Store:
        """A store on the database, as a process of its own would have one; not yet open."""

    def pass_time(self, seconds: float) -> None:
        """Let time go by in the database."""

    def kill(self, store: Store) -> None:
        """What the death of a process does to the nodes that it registered."""


class SqliteBase:
    """A file, and a clock that stands still."""

    knows_what_ran = True

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.db"
        self._clock = ManualClock()

    def connect(self, *, keep_done: bool) -> Store:
        return SqliteStore(self._path, self._clock, keep_done=keep_done)

    def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def kill(self, store: Store) -> None:
        assert isinstance(store, SqliteStore)
        for presence in store._presences.values():
            presence.forsake()  # the operating system drops the locks; the files stay
        store._presences.clear()


class MemoryBase:
    """The store of the simulation, in the ways of SQLite or in those of PostgreSQL."""

    def __init__(self, folder: Path | None = None, *, knows_what_ran: bool = True) -> None:
        self.knows_what_ran = knows_what_ran
        self._clock = ManualClock()
        self._database = Database(self._clock.now, knows_what_ran=knows_what_ran)

    def connect(self, *, keep_done: bool) -> Store:
        return MemoryStore(self._database, self._clock, keep_done=keep_done)

    def pass_time(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def kill(self, store: Store) -> None:
        assert isinstance(store, MemoryStore)
        store.die()


class Lab:
    """A store and everyday ways to use it."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._stores: list[Store] = []
        self._of_node: dict[str, Store] = {}
        self.presences: dict[str, Presence] = {}
        self.pass_time = base.pass_time
        self.knows_what_ran = base.knows_what_ran
        self.store = self.connect()

    def connect(self, *, keep_done: bool = False) -> Store:
        """The same jobs as another process sees them."""
        store = self._base.connect(keep_done=keep_done)
        store.open()
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()

    # Nodes ---------------------------------------------------------------------------------------

    def node(self, store: Store | None = None, workers: int = 4, id: str | None = None) -> str:
        """Register a node; its id."""
        store = store or self.store
        info = NodeInfo(
            id=id or new_id(), host="here", pid=1, workers=workers, started_at=store.clock.now()
        )
        self.presences[info.id] = store.register(info, 2 * workers)
        self._of_node[info.id] = store
        return info.id

    def mortal_node(self, id: str | None = None) -> str:
        """A node of a process of its own, which can be killed."""
        return self.node(self.connect(), id=id)

    def leave(self, node: str) -> None:
        """The node leaves, in an orderly way."""
        self._of_node[node].leave(node)

    def tend(self, node: str) -> Tended:
        """The node tends its place."""
        return self._of_node[node].tend(node)

    def reconcile(self, node: str, held: frozenset[str]) -> int:
        """The node says what it holds."""
        return self._of_node[node].reconcile(node, held)

    def kill(self, node: str) -> None:
        """The node's process dies."""
        self._base.kill(self._of_node[node])

    # Jobs ----------------------------------------------------------------------------------------

    def add(self, *jobs: NewJob) -> list[str]:
        """Store jobs; their ids."""
        self.store.flush(Flush(jobs=jobs))
        return [job.id for job in jobs]

    def add_one(self, kind: str = "work", **fields: Any) -> str:
        """Store a job; its id."""
        return self.add(new_job(kind, **fields))[0]

    def claim(
        self,
        node: str,
        *,
        limit: int = 100,
        kinds: Sequence[str] = ("work",),
        queues: Sequence[str] | None = None,
        min_priority: int = MIN_PRIORITY,
        horizon: float = 1.0,
    ) -> Sequence[ClaimedJob]:
        """Claim jobs for a node."""
        return self.claim_flush(
            node,
            limit=limit,
            kinds=kinds,
            queues=queues,
            min_priority=min_priority,
            horizon=horizon,
        ).claimed

    def claim_flush(self, node: str, **request: Any) -> Flushed:
        """The same, and all that the store said to it."""
        defaults: dict[str, Any] = {
            "limit": 100,
            "kinds": ("work",),
            "queues": None,
            "min_priority": MIN_PRIORITY,
            "horizon": 1.0,
        }
        claim = ClaimRequest(node=node, **{**defaults, **request})
        return self.store.flush(Flush(claim=claim))

    def claimed(self, node: str, **fields: Any) -> ClaimedJob:
        """A new job that the node has claimed."""
        job_id = self.add_one(**fields)
        return next(job for job in self.claim(node) if job.id == job_id)

    def end(self, job: ClaimedJob, node: str, outcome: Outcome) -> bool:
        """End a run; whether the claim held."""
        claim = Claim(job.id, node, job.claim_no)
        return claim not in self.store.flush(Flush(ends=[(claim, outcome)])).stale

    def ended(self, outcome: Outcome, node: str, **fields: Any) -> str:
        """A new job that has ended so; its id."""
        job = self.claimed(node, **fields)
        assert self.end(job, node, outcome)
        return job.id

    # Looks ---------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        job = self.store.job(job_id)
        assert job is not None, f"{job_id} is gone"
        return job

    def state(self, job_id: str) -> State | None:
        """The state of a job; None if it has no row."""
        return self.store.states_of([job_id]).get(job_id)

    def ids(self, **filters: Any) -> list[str]:
        """The ids of a page of jobs."""
        page = {"state": None, "kind": None, "queue": None, "after": None, "limit": 1_000}
        return [job.id for job in self.store.jobs(**{**page, **filters})]

    def total(self, name: str) -> int:
        return self.store.counts().totals.get(name, 0)

    def check_conservation(self) -> None:
        """accepted = done + dead + cancelled + expired + live."""
        counts = self.store.counts()
        live = sum(n for state, n in counts.states.items() if not state.ended)
        ended = sum(self.total(name) for name in ("done", "dead", "cancelled", "expired"))
        assert self.total("accepted") == ended + live, (counts.states, counts.totals)
