"""What `fastsched doctor` looks at."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastsched import heap
from fastsched.cli.doctor import Check
from fastsched.cli.problems import OutOfReach
from fastsched.cli.tables import Tables, sqlite_file, tables_of
from fastsched.clock import SystemClock
from fastsched.errors import StoreError
from fastsched.ids import new_id
from fastsched.job import State
from fastsched.redis_choice import redis_of
from fastsched.stores import make_store
from fastsched.stores.base import NodeInfo, Store

_SLOW_WRITE = 0.1
"""Seconds; a disk that is well takes less for a commit."""
_LITTLE_SPACE = 1 << 30
_NO_SPACE = 64 << 20
_MOST_SKEW = 2.0
"""Seconds between our clock and the store's."""
_WAL_RESET_FIXED = (3, 51, 3)
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "glusterfs")
_clock = SystemClock()


def installation() -> list[Check]:
    """Python, the heap, and what fastsched depends on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    packages = [_package(name) for name in ("orjson", "psycopg", "redis")]
    return [Check("python", "ok", python), _heap(), _sqlite(), *packages]


def _heap() -> Check:
    text = f"{heap.IMPLEMENTATION}: {heap.REASON}"
    if heap.IMPLEMENTATION == "cython" or os.environ.get("FASTSCHED_HEAP"):
        return Check("heap", "ok", text)
    fix = "with a C compiler at hand: FASTSCHED_REQUIRE_EXT=1 pip install --force-reinstall "
    return Check("heap", "warn", text, f"{fix}--no-binary fastsched fastsched")


def _sqlite() -> Check:
    text = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _WAL_RESET_FIXED:
        text += (
            " (before 3.51.3, two checkpoints at once can corrupt a file; fastsched's write lock "
            "prevents that, so let nothing else write its file)"
        )
    return Check("sqlite", "ok", text)


def _package(name: str) -> Check:
    try:
        importlib.import_module(name)
        return Check(name, "ok", version(name))
    except (ImportError, PackageNotFoundError) as error:
        return Check(name, "fail", f"cannot be imported: {error}", f"pip install --upgrade {name}")


def store(url: str) -> Iterator[Check]:
    """The store: reachable, up to date, with room; its nodes, dead letters and clock."""
    try:
        tables = tables_of(url)
        yield _tables(tables)
        if tables.version != tables.newest:
            return  # to go on would make or upgrade them
        opened = make_store(url)
        opened.open()
        try:
            yield _write(opened)
            yield from _contents(opened)
            file = sqlite_file(opened.name)
            if file is None:
                yield _clocks_apart(opened.clock.now() - _clock.now(), "the server's")
            else:
                yield _disk(file)
                yield from _file_system(file)
                yield _clocks_apart(_last_write(file) - _clock.now(), "the file system's")
        finally:
            opened.close()
    except (StoreError, OutOfReach) as error:
        fix = "check the URL, that the server runs, and that this user may write there"
        yield Check("store", "fail", str(error), fix)
    else:
        yield from _hints(url)


def _tables(tables: Tables) -> Check:
    if not tables.version:
        fix = "made by the first enqueue, or now: fastsched db upgrade; or name another: --store"
        return Check("tables", "warn", f"none yet in {tables.store}", fix)
    words, _, fix = tables.standing.partition(": ")
    if tables.version == tables.newest:
        return Check("tables", "ok", words)
    return Check("tables", "warn" if tables.version < tables.newest else "fail", words, fix)


def _write(opened: Store) -> Check:
    """Register a node and take it back: two commits."""
    visitor = NodeInfo(
        id=new_id(), host=socket.gethostname(), pid=os.getpid(), workers=0, started_at=_clock.now()
    )
    began = _clock.monotonic()
    opened.register(visitor, 0)
    opened.leave(visitor.id)
    seconds = (_clock.monotonic() - began) / 2
    text = f"{opened.name} takes a commit in {seconds * 1000:.1f} ms"
    if seconds < _SLOW_WRITE:
        return Check("store", "ok", text)
    fix = "every enqueue and every batch of finished jobs waits that long: look for what is slow"
    return Check("store", "warn", text, fix)


def _contents(opened: Store) -> Iterator[Check]:
    nodes, states = opened.nodes(), opened.counts().states
    gone = sum(not node.alive for node in nodes)
    work = states.get(State.READY, 0) + states.get(State.CLAIMED, 0)
    text = f"{len(nodes) - gone} alive, {gone} dead"
    if gone:
        fix = "their jobs are taken back when a worker runs: fastsched worker MODULE:SCHEDULER"
        yield Check("nodes", "warn", text, fix)
    elif work and not nodes:
        fix = f"{work:,} jobs wait: fastsched worker MODULE:SCHEDULER"
        yield Check("nodes", "warn", text, fix)
    else:
        yield Check("nodes", "ok", text)
    dead = states.get(State.DEAD, 0)
    if dead:
        fix = "fastsched dead list, then fastsched dead requeue or discard"
        yield Check("dead letters", "warn", f"{dead:,}", fix)
    else:
        yield Check("dead letters", "ok", "none")


def _disk(file: Path) -> Check:
    free = shutil.disk_usage(file.parent).free
    text = f"{free / (1 << 30):,.1f} GiB free for {file.parent}"
    fix = "make room: without it nothing is accepted, and what is finished cannot be written"
    if free < _NO_SPACE:
        return Check("disk", "fail", text, fix)
    return Check("disk", "warn", text, fix) if free < _LITTLE_SPACE else Check("disk", "ok", text)


def _file_system(file: Path) -> Iterator[Check]:
    """On Linux: whether the file is on a network, where locks cannot be trusted."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return
    resolved = file.resolve()
    lines = [line.split(" ") for line in mounts.read_text("utf-8", "replace").splitlines()]
    mounted = [(Path(point.replace("\\040", " ")), kind) for _, point, kind, *_ in lines]
    around = [(len(point.parts), kind) for point, kind in mounted if resolved.is_relative_to(point)]
    kind = max(around, default=(0, "unknown"))[1]
    if kind.startswith(_NETWORK):
        fix = "keep the file on a disk of this machine: SQLite needs locks that work"
        yield Check("file system", "fail", kind, fix)
    else:
        yield Check("file system", "ok", kind)


def _last_write(file: Path) -> float:
    """When the doctor wrote, in the opinion of the file system."""
    log = file.with_name(f"{file.name}-wal")
    return max(f.stat().st_mtime for f in (file, log) if f.exists())


def _clocks_apart(seconds: float, whose: str) -> Check:
    if abs(seconds) <= _MOST_SKEW:
        return Check("clock", "ok", f"agrees with {whose}")
    fix = "due times are judged by the store's clock, so jobs run on time; logs will not agree"
    return Check("clock", "warn", f"{abs(seconds):,.1f} s from {whose}", fix)


def _hints(url: str) -> Iterator[Check]:
    """Redis, if the environment names one."""
    chosen = redis_of(None, "fastsched", url)
    if chosen is None:
        return
    import redis

    from fastsched.redis_bus import make_client

    began = _clock.monotonic()
    try:
        with make_client(chosen.url) as client:
            client.ping()
    except redis.RedisError as error:
        fix = "until it is back every node looks once a second; check $FASTSCHED_REDIS_URL"
        yield Check("hints", "warn", f"Redis does not answer: {error}", fix)
    else:
        milliseconds = (_clock.monotonic() - began) * 1000
        yield Check("hints", "ok", f"Redis answers in {milliseconds:.1f} ms")
