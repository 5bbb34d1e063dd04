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
SIGN_CLASS = LOCK_CLASS + 1
"""The same for the locks that tell which session a node writes in."""


class Place:
    """A node's place: the `Presence` of a node on PostgreSQL."""

    def __init__(
        self, number: int, lease: float, run_alone: Callable[[int, str, int], None]
    ) -> None:
        self.number = number
        self.locked = False
        """Whether this process's session holds the node's lock."""
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
            self._run_alone(self.number, job.id, job.claim_no)

    def leave(self, slot: int) -> None:
        pass


def lock(db: Db, number: int) -> bool:
    """Take the lock of a node for as long as this session lives."""
    row = db.execute(SQL["lock"], {"lock_class": LOCK_CLASS, "node": number}).fetchone()
    return row is not None and bool(row[0])


def lock_again(db: Db, place: Place) -> None:
    """In a new session: take the node's lock anew, and note in its row whether that succeeded.

    The server may believe in the old session for hours, if the network lost it. As long as that
    one has the lock, it must not count: it will fall free while the node lives.
    """
    want = {"lock_class": LOCK_CLASS, "node": place.number}
    row = db.execute(SQL["lock_again"], want).fetchone()
    place.locked = row is not None and bool(row[0])


def sign(db: Db, number: int) -> None:
    """Say that a node writes in this session."""
    db.execute(SQL["sign"], {"sign_class": SIGN_CLASS, "node": number})


def end_sessions(db: Db) -> None:
    """End the sessions in which nodes write whose lease is over: they may hold locks."""
    db.execute(SQL["end_sessions"], {"sign_class": SIGN_CLASS})


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


def judging(link: Link) -> dict[str, Any]:
    """The parameters by which a node is judged dead, by who is connected through `link`."""
    return {
        "grace": RELOCK_GRACE,
        "may_judge": not link.pooled and link.uptime > RELOCK_GRACE,
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
