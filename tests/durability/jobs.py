"""The jobs under test, in any process: each notes when it starts, what it achieves, how it ends."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import logging
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from history import Journal

from fastsched import (
    EnqueueUnknown,
    JobCancelled,
    JobContext,
    JobStopped,
    NewJob,
    Scheduler,
    StoreError,
)

_log = logging.getLogger(__name__)


def say(*words: object) -> None:
    """Tell the test, in one write."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Effects:
    """What handlers have achieved: a database of their own, so that effects outlive a kill."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def create(self) -> None:
        """Make the database, before others use it."""
        with self._lock:
            self._open().execute("PRAGMA journal_mode = WAL")
            self._open().execute("CREATE TABLE effects (id, claim_no, UNIQUE (id, claim_no))")

    def add(self, job_id: str, claim_no: int) -> None:
        """Commit the effect of a run."""
        with self._lock:
            self._open().execute("INSERT INTO effects VALUES (?, ?)", (job_id, claim_no))

    def all(self) -> set[tuple[str, int]]:
        with self._lock:
            return set(self._open().execute("SELECT id, claim_no FROM effects"))

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = sqlite3.connect(
                self._path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA synchronous = OFF")  # kills, not power cuts
        return self._db


class Gate:
    """Keeps handlers of any process waiting in the kernel, where no exception reaches them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shut: int | None = None

    def shut(self) -> None:
        self._shut = os.open(self._path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._shut, fcntl.LOCK_EX)

    def open(self) -> None:
        if self._shut is not None:
            os.close(self._shut)
            self._shut = None

    def pass_through(self) -> None:
        """Wait until the gate is open."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        finally:
            os.close(file)


class Jobs:
    """A scheduler with the jobs of the tests, in one process."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        store_url: str | None = None,
        redis: str | None = None,
        workers: int = 4,
        stop_grace: float = 5.0,
        interrupt_grace: float = 0.2,
        lease: float = 30.0,
    ) -> None:
        self.folder = folder
        self.file = folder / "store" / "jobs.db"
        self.file.parent.mkdir(exist_ok=True)
        (folder / "history").mkdir(exist_ok=True)
        self.scheduler = Scheduler(
            store_url or f"sqlite:///{self.file}",
            redis=redis,
            workers=workers,
            stop_grace=stop_grace,
            interrupt_grace=interrupt_grace,
            lease=lease,
        )
        self.journal = Journal(folder / "history", name)
        self.effects = Effects(folder / "effects.db")
        self.gate = Gate(folder / "gate")
        self.work = self.scheduler.job(kind="work")(self._work)
        self.flaky = self.scheduler.job(kind="flaky", backoff=lambda *_: 0.01)(self._flaky)
        self.linger = self.scheduler.job(kind="linger")(self._linger)
        self.hold = self.scheduler.job(kind="hold")(self._hold)
        self.spin = self.scheduler.job(kind="spin")(self._spin)
        self.poison = self.scheduler.job(kind="poison")(self._poison)
        self.split = self.scheduler.job(kind="split")(self._split)
        self.book = self.scheduler.job(kind="book", backoff=lambda *_: 0.05)(self._book)
        mark = "%s" if self.scheduler.store_url.startswith("postgres") else "?"
        self._book_in = f"INSERT INTO booked VALUES ({mark}, {mark})"

    # Jobs ----------------------------------------------------------------------------------------

    def _work(self, ctx: JobContext, ms: float) -> None:
        """Some work, some waiting."""
        with self._noted(ctx):
            hashlib.sha256(ctx.id.encode() * 100).digest()
            threading.Event().wait(ms / 1000)

    def _flaky(self, ctx: JobContext, ms: float) -> None:
        """Fails in its first attempt."""
        with self._noted(ctx):
            threading.Event().wait(ms / 1000)
            if ctx.attempt == 1:
                raise OSError("not today")

    def _linger(self, ctx: JobContext, claims: int) -> None:
        """Waits at the gate, where nothing can interrupt it, in its first `claims` claims."""
        with self._noted(ctx):
            if ctx.claim.claim_no <= claims:
                say("lingers", ctx.id)
                self.gate.pass_through()

    def _hold(self, ctx: JobContext, claims: int) -> None:
        """Waits until it is asked to stop, in its first `claims` claims."""
        with self._noted(ctx):
            if ctx.claim.claim_no <= claims:
                say("holds", ctx.id)
                ctx.wait(600)
                say("asked", ctx.id, self.journal.now())
                ctx.check()

    def _spin(self, ctx: JobContext, claims: int) -> None:
        """Never asks whether it should stop, in its first `claims` claims."""
        with self._noted(ctx):
            if ctx.claim.claim_no <= claims:
                say("spins", ctx.id)
                while True:
                    threading.Event().wait(0.005)

    def _poison(self, ctx: JobContext, how: str) -> None:
        """Kills its process."""
        with self._noted(ctx):
            if how == "exit":
                os._exit(3)
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            ctypes.string_at(0)  # a segmentation fault

    def _split(self, ctx: JobContext) -> None:
        """Forks inside its transaction; the child tries to enqueue."""
        with self._noted(ctx), ctx.transaction():
            child = fork(self, lambda: self.enqueue(self.work.job(0.0)))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            say("split", code)

    def _book(self, ctx: JobContext, ms: float) -> None:
        """Its effect and its end are one transaction; that it ends is noted before the commit."""
        with self._noted(ctx, ctx.transaction()) as db:
            db.execute(self._book_in, (ctx.id, ctx.claim.claim_no))
            ctx.wait(ms / 1000)

    @contextmanager
    def _noted(
        self, ctx: JobContext, transaction: AbstractContextManager[Any] | None = None
    ) -> Iterator[Any]:
        """Note the start of a run, its effect, and its end, inside of its transaction if any."""
        facts = {"id": ctx.id, "claim_no": ctx.claim.claim_no}
        self.journal.note("start", **facts, attempt=ctx.attempt, due=ctx.job.due_at)
        outcome = "failed"
        try:
            with transaction or nullcontext() as value:
                yield value
                self.effects.add(ctx.id, ctx.claim.claim_no)
                outcome = "done"
                self.journal.note("end", **facts, outcome=outcome)
        except BaseException as error:
            if outcome == "done":
                self.journal.note("undone", **facts)
            else:
                stopped = isinstance(error, (JobCancelled, JobStopped))
                self.journal.note("end", **facts, outcome="stopped" if stopped else "failed")
            raise

    # Producing -----------------------------------------------------------------------------------

    def enqueue(self, *jobs: NewJob) -> list[str]:
        """Enqueue jobs in one transaction, noting before and after; their ids."""
        ids = [job.id for job in jobs]
        now = self.journal.now()
        for job in jobs:
            self.journal.note(
                "enqueue",
                id=job.id,
                not_before=now + job.delay,
                books=job.kind == "book",
                given=job.given_id,
            )
        try:
            self.scheduler.enqueue_many(jobs)
        except EnqueueUnknown:
            for job_id in ids:
                self.journal.note("enqueue_unknown", id=job_id)
            raise
        except StoreError:
            for job_id in ids:
                self.journal.note("enqueue_failed", id=job_id)
            raise
        for job_id in ids:
            self.journal.note("enqueue_ok", id=job_id)
        return ids

    def enqueue_mixture(self, count: int, dice: random.Random) -> None:
        """Enqueue `count` jobs as programs do: singly and many, now and later, some that fail."""
        while count > 0:
            job = self.flaky if dice.random() < 0.1 else self.work
            options = job.options(
                priority=dice.randrange(3), delay=dice.choice((0, 0, 0, 0.02, 0.2))
            )
            size = min(dice.choice((1, 1, 5, 20)), count)
            self.enqueue(*(options.job(dice.uniform(1, 40)) for _ in range(size)))
            count -= size

    def close(self) -> None:
        self.gate.open()
        self.scheduler.stop()
        self.effects.close()
        self.journal.close()


def fork(jobs: Jobs, work: Callable[[], object]) -> int:
    """Do `work` in a forked child, which then ends; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        jobs.journal = Journal(jobs.folder / "history", "child")
        work()
        jobs.scheduler.stop()
        code = 0
    except BaseException:
        _log.exception("in the child of a fork")
    finally:
        os._exit(code)


def join(child: int) -> None:
    """Wait for a forked child that must end well."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        sys.exit(f"the child ended with {code}")
