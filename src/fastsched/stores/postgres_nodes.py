"""Places of nodes in PostgreSQL: a lease that is renewed, and a lock that dies with the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastsched.clock import boot_seconds
from fastsched.job import ClaimedJob
from fastsched.stores.base import NodeInfo, Tended
from fastsched.stores.postgres_link import SQL, Db, Link

RELOCK_GRACE = 5.0
"""Seconds after a restart, of server or observer, in which a free lock proves nothing."""
LOCK_CLASS = 0x66737364
"""First half of the advisory locks' keys, as in the view `node_signs`; the second is the node."""


class Place:
    """A node's place: the `Presence` of a node on PostgreSQL."""

    def __init__(self, number: int, lease: float, run_alone: Callable[[int, str], None]) -> None:
        self.number = number
        self._lease = lease
        self._run_alone = run_alone
        self._held_until = boot_seconds() + lease

    def holds(self) -> bool:
        return boot_seconds() < self._held_until

    def renewed(self, sent_at: float) -> None:
        """A renewal sent at that time (boot clock) was answered."""
        self._held_until = sent_at + self._lease

    def enter(self, slot: int, job: ClaimedJob) -> None:
        if job.suspect:  # the only start that is written before it runs
            self._run_alone(self.number, job.id)

    def leave(self, slot: int) -> None:
        pass


def lock(db: Db, number: int) -> bool:
    """Take the lock of a node for as long as this session lives."""
    row = db.execute(SQL["lock"], {"lock_class": LOCK_CLASS, "node": number}).fetchone()
    return row is not None and bool(row[0])


def register(db: Db, node: NodeInfo, *, lease: float, locked: bool) -> int:
    """Announce a node, its lock first; its number."""
    row = db.execute(SQL["next_number"]).fetchone()
    number: int = row[0] if row else 0
    if locked:
        lock(db, number)
    db.execute(
        SQL["register"],
        {
            "node": number,
            "id": node.id,
            "host": node.host,
            "pid": node.pid,
            "workers": node.workers,
            "lease": lease,
            "locked": locked,
        },
    )
    return number


def judging(link: Link, uptime: float) -> dict[str, Any]:
    """The parameters by which a node is judged dead; `uptime`: seconds of this connection."""
    return {
        "grace": RELOCK_GRACE,
        "may_judge": not link.pooled and uptime > RELOCK_GRACE,
    }


def tend(
    db: Db, number: int, *, lease: float, horizon: float, judge: dict[str, Any]
) -> tuple[Tended, float]:
    """Renew and look around in one statement; also the server's time."""
    row = db.execute(
        SQL["tend"], {"node": number, "lease": lease, "horizon": horizon, **judge}
    ).fetchone()
    assert row is not None  # noqa: S101 - the statement always gives one row
    stands, dead_nodes, news, cancel, now = row
    return Tended(stands=stands, dead_nodes=dead_nodes, news=news, cancel=cancel), now
