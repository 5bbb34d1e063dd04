"""All that writes or checkpoints a file waits for the one lock beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from builders import in_thread, new_job, until
from clocks import ManualClock

from fastsched import Claim, JobStopped
from fastsched.ids import new_id
from fastsched.stores.base import Flush, NodeInfo
from fastsched.stores.sqlite import SqliteStore

LOCKS = Path("/proc/locks")
NODE = NodeInfo(id=new_id(), host="here", pid=1, workers=1, started_at=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "jobs.db", ManualClock(), keep_done=False)
    store.open()
    yield store
    store.close()


def effects(store: SqliteStore) -> None:
    with pytest.raises(JobStopped), store.effects(Claim("id", "node", 1)):
        pass


def open_another(store: SqliteStore) -> None:
    another = SqliteStore(store._file.path, ManualClock(), keep_done=False)
    another.open()
    another.close()


CALLS: dict[str, Callable[[SqliteStore], object]] = {
    "flush": lambda store: store.flush(Flush(jobs=[new_job()])),
    "effects": effects,
    "cancel": lambda store: store.cancel([new_id()]),
    "requeue": lambda store: store.requeue([new_id()]),
    "register": lambda store: store.register(NODE, 2),
    "leave": lambda store: store.leave(NODE.id),
    "rescue": lambda store: store.rescue(3),
    "reconcile": lambda store: store.reconcile(NODE.id, frozenset()),
    "expire": lambda store: store.expire(1),
    "prune": lambda store: store.prune(done_for=1, ended_for=1, ids_for=1, limit=1),
    "close": lambda store: store.close(),  # which checkpoints
    "open": open_another,
}


@contextlib.contextmanager
def lock_of(store: SqliteStore) -> Iterator[Callable[[], bool]]:
    """Hold the lock; tells whether somebody waits for it."""
    lock = os.open(store._file.folder / "write.lock", os.O_RDWR)
    inode = f":{os.fstat(lock).st_ino} "
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield lambda: any("->" in line and inode in line for line in LOCKS.read_text().splitlines())
    finally:
        os.close(lock)


@pytest.mark.skipif(not LOCKS.exists(), reason="needs /proc/locks")
@pytest.mark.parametrize("name", CALLS)
def test_whoever_writes_waits_for_the_lock(store: SqliteStore, name: str) -> None:
    with lock_of(store) as waits:
        call = in_thread(CALLS[name], store)
        until(lambda: waits() or not call.pending)
        assert call.pending, "it did not wait"
    call.get()
