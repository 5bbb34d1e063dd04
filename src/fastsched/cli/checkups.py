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
from fastsched.cli.db import look_at, newest_version
from fastsched.cli.doctor import Check
from fastsched.cli.options import sqlite_file
from fastsched.cli.problems import Problem
from fastsched.clock import SystemClock
from fastsched.errors import StoreError
from fastsched.ids import new_id
from fastsched.job import State
from fastsched.stores import make_store
from fastsched.stores.base import NodeInfo, Store

_SLOW_WRITE = 0.1
"""Seconds; a disk that is well takes less for a commit."""
_LITTLE_SPACE = 1 << 30
_NO_SPACE = 64 << 20
_MOST_SKEW = 2.0
"""Seconds between our clock and that of the store's file system."""
_WAL_RESET_FIXED = (3, 51, 3)
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "glusterfs")


def installation() -> list[Check]:
    """Python, the heap, and what fastsched depends on."""
    python = Check(
        "python", "ok", f"{platform.python_implementation()} {platform.python_version()}"
    )
    return [python, _heap(), _sqlite(), *map(_package, ("orjson", "psycopg", "redis"))]


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
            " (two checkpoints at once can corrupt a file with versions before 3.51.3; fastsched's "
            "write lock prevents that, so let nothing else write its file)"
        )
    return Check("sqlite", "ok", text)


def _package(name: str) -> Check:
    try:
        importlib.import_module(name)
        return Check(name, "ok", version(name))
    except (ImportError, PackageNotFoundError) as error:
        return Check(name, "fail", f"cannot be imported: {error}", f"pip install --upgrade {name}")


def store(url: str) -> list[Check]:
    """The store: there, reachable, up to date, with room; its nodes and its dead letters."""
    clock = SystemClock()
    opened = make_store(url, keep_done=False)
    file = sqlite_file(opened.name)
    if file is not None and not file.exists():
        fix = (
            "made by the first enqueue, or now: fastsched db upgrade; or name another: --store URL"
        )
        return [Check("store", "warn", f"nothing yet at {opened.name}", fix)]
    try:
        if file is not None:
            before = look_at(file).version
            tables = _tables(before)
            if tables.status != "ok":
                return [tables]
            checks = [tables]
        else:
            checks = []
        opened.open()
        try:
            checks += [_write(opened, clock), *_contents(opened)]
        finally:
            opened.close()
    except (StoreError, Problem) as error:
        fix = "check the URL, and that this user may write there"
        return [Check("store", "fail", f"{opened.name}: {error}", fix)]
    if file is not None:
        checks += [_disk(file), *_file_system(file), _skew(file, clock)]
    return checks


def _tables(found: int) -> Check:
    newest = newest_version()
    if found == newest:
        return Check("tables", "ok", f"version {found}")
    if found < newest:
        text = f"version {found}, this fastsched works with {newest}"
        return Check("tables", "warn", text, "fastsched db upgrade")
    text = f"version {found}, this fastsched knows up to {newest}"
    return Check("tables", "fail", text, "upgrade fastsched on this machine")


def _write(opened: Store, clock: SystemClock) -> Check:
    """Register a node and take it back: two commits."""
    visitor = NodeInfo(
        id=new_id(), host=socket.gethostname(), pid=os.getpid(), workers=0, started_at=clock.now()
    )
    began = clock.monotonic()
    opened.register(visitor, 0)
    opened.leave(visitor.id)
    seconds = (clock.monotonic() - began) / 2
    text = f"{opened.name} takes a commit in {seconds * 1000:.1f} ms"
    if seconds < _SLOW_WRITE:
        return Check("store", "ok", text)
    fix = "a busy or slow disk: every enqueue and every batch of finished jobs waits that long"
    return Check("store", "warn", text, fix)


def _contents(opened: Store) -> Iterator[Check]:
    nodes, states = opened.nodes(), opened.counts().states
    gone = [node for node in nodes if not node.alive]
    work = sum(states.get(state, 0) for state in (State.READY, State.CLAIMED))
    text = f"{len(nodes) - len(gone)} alive, {len(gone)} dead"
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
    """On Linux: a warning if the file is on a network, where locks cannot be trusted."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return
    resolved = file.resolve()
    holding = [
        (Path(fields[1].replace("\\040", " ")), fields[2])
        for line in mounts.read_text("utf-8", "replace").splitlines()
        if len(fields := line.split(" ")) > 2
    ]
    around = [(point, kind) for point, kind in holding if resolved.is_relative_to(point)]
    point, kind = max(around, key=lambda mount: len(mount[0].parts), default=(Path("/"), "?"))
    if kind.startswith(_NETWORK):
        fix = "keep the file on a disk of this machine: SQLite needs locks that work"
        yield Check("file system", "fail", f"{kind} at {point}", fix)
    else:
        yield Check("file system", "ok", f"{kind} at {point}")


def _skew(file: Path, clock: SystemClock) -> Check:
    """The doctor wrote just now: the file system's stamp on that is its opinion of the time."""
    log = file.with_name(f"{file.name}-wal")
    stamp = max(f.stat().st_mtime for f in (file, log) if f.exists())
    skew = abs(clock.now() - stamp)
    if skew <= _MOST_SKEW:
        return Check("clock", "ok", "agrees with the file system's")
    text = f"{skew:,.1f} s from the file system's"
    return Check("clock", "warn", text, "synchronise the clock: due times are judged by it")
