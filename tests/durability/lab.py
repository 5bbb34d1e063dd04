"""A laboratory: a store in a folder, processes of the program under test, and their history."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from history import Final, History, check

from durability.jobs import Jobs

TESTS = Path(__file__).parents[1]


class Process:
    """One running process of the program."""

    def __init__(self, lab: Lab, role: str, options: dict[str, float | str]) -> None:
        self._lab = lab
        self.role = role
        self.log = lab.folder / "logs" / f"{role}-{len(lab.processes)}.log"
        self.log.parent.mkdir(exist_ok=True)
        self.began = lab.now()
        with self.log.open("wb") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", lab.program, str(lab.folder), role]
                + [f"{name}={value}" for name, value in options.items()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
            )
        self.pid = self._popen.pid
        self.node: str | None = None
        """Its identity when it became ready."""

    def __str__(self) -> str:
        return f"{self.role} {self.pid}"

    def tell(self, *words: object) -> None:
        """Send a line."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self._popen.stdin.flush()

    def close_input(self) -> None:
        """Tell it that nothing more is to come."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def hear(self, word: str) -> list[str]:
        """The rest of its next line that begins with `word`; other lines are skipped."""
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            first, *rest = line.decode().split()
            if first == word:
                return rest
        raise AssertionError(
            f"{self.role} {self.pid} ended before {word!r}:\n{self.log.read_text()}"
        )

    @property
    def runs_jobs(self) -> bool:
        """Whether it has said that it is ready; does not wait for that."""
        if self.node is None and self.lives and select.select([self._popen.stdout], [], [], 0)[0]:
            self.ready()
        return self.node is not None and self.lives

    @property
    def lives(self) -> bool:
        return self._popen.poll() is None

    def ready(self) -> Process:
        """Wait until it runs jobs; it has said so before or says so now."""
        if self.node is None:
            (self.node,) = self.hear("ready")
        return self

    def lives_for(self, seconds: float) -> None:
        """Let it run for a while; it must not end meanwhile."""
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"{self} ended with {code}:\n{self.log.read_text()}")

    def kill(self) -> None:
        """SIGKILL, noted in the history."""
        self.hit("kill", signal.SIGKILL)

    def terminate(self) -> float:
        """SIGTERM, noted in the history; the seconds until it has ended, orderly."""
        before = self._lab.now()
        code = self.hit("terminate", signal.SIGTERM)
        assert code == 0, f"{self} ended with {code}:\n{self.log.read_text()}"
        return self._lab.now() - before

    def hit(self, what: str, number: signal.Signals) -> int:
        """Send a signal that ends the process, wait for that, and note it; the exit code."""
        before = self._lab.now()
        self.signal(number)
        code = self.wait()
        self._lab.note_fault(self.pid, what, before)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP while it does not write: with the write lock it would hold up everybody."""
        lock = os.open(self._lab.beside_store / "write.lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.signal(signal.SIGSTOP)
            os.waitpid(self.pid, os.WUNTRACED)
        finally:
            os.close(lock)

    def thaw(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def traces(self) -> str:
        """Abort it; its log, which then ends with what each of its threads was doing."""
        self.signal(signal.SIGABRT)
        self.wait()
        return self.log.read_text()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self._popen.wait()

    def discard(self) -> None:
        """Make sure that it has ended, and let go of its pipes."""
        if self._popen.poll() is None:
            self._popen.kill()
        with self._popen:
            pass


class Lab:
    """One store, its processes, and what happened to them."""

    program = "durability.program"
    """The module that the processes run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[Process] = []
        self.jobs = self.make_jobs()
        """The same jobs in this process, which enqueues and runs none."""
        self.jobs.effects.create()
        self.scheduler = self.jobs.scheduler
        self.beside_store = self.jobs.file.with_name(f"{self.jobs.file.name}.d")
        """The folder of its locks, presence files and pipes."""

    def make_jobs(self) -> Jobs:
        return Jobs(self.folder, "test")

    def now(self) -> float:
        return self.jobs.journal.now()

    def spawn(self, role: str, **options: float | str) -> Process:
        """Start a process in one of the program's roles."""
        process = Process(self, role, options)
        self.processes.append(process)
        return process

    def worker(self, **options: float | str) -> Process:
        """A worker that is ready."""
        return self.spawn("worker", **options).ready()

    def note_fault(self, pid: int, what: str, since: float) -> None:
        """Note something that was done to a process from `since` until now."""
        self.jobs.journal.note("fault", pid=pid, what=what, at=since, until=self.now())

    def history(self) -> History:
        """What all processes have noted so far."""
        return History.read(self.folder / "history")

    def drain(self, timeout: float = 30.0) -> None:
        """Wait until everything has run, retries and later jobs too."""
        self.scheduler.wait_until_idle(timeout, include_scheduled=True)

    def verdict(self) -> History:
        """Check everything that a drained store must fulfil; the history."""
        history = self.history()
        final = Final.of(self.scheduler, self.jobs.effects.all(), self.booked())
        violations = check(history, final)
        assert not violations, "\n".join(map(str, violations[:20]))
        self.integrity()
        return history

    def make_books(self) -> None:
        """Make the table in which jobs of the kind `book` write, before any of them runs."""
        self.scheduler.store_stats()  # makes the file
        with contextlib.closing(sqlite3.connect(self.jobs.file, timeout=60)) as db, db:
            db.execute("CREATE TABLE booked (id TEXT, claim_no INTEGER)")

    def booked(self) -> list[tuple[str, int]]:
        """Job and claim number of every effect that was committed with the end of its job."""
        with contextlib.closing(sqlite3.connect(self.jobs.file, timeout=60)) as db:
            try:
                return db.execute("SELECT id, claim_no FROM booked").fetchall()
            except sqlite3.OperationalError:
                return []  # a test without books

    def integrity(self) -> None:
        """SQLite finds no fault with the file, and nobody was told that it is locked."""
        assert not [p.log for p in self.processes if "is locked" in p.log.read_text()]
        db = sqlite3.connect(f"file:{self.jobs.file}?mode=ro", uri=True, timeout=60)
        try:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        finally:
            db.close()

    def close(self) -> None:
        for process in self.processes:
            process.discard()
        self.jobs.close()
