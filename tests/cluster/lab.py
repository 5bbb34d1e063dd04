"""A laboratory with a PostgreSQL, and perhaps a Redis, between its processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
from durability import lab
from durability.jobs import Jobs


class ClusterLab(lab.Lab):
    """One database, the processes on it, and what happened to them."""

    def __init__(self, folder: Path, url: str, **settings: float | str) -> None:
        """`settings`: of every scheduler, such as `redis` and `lease`."""
        self.url = url
        self._settings = {"store_url": url, **settings}
        super().__init__(folder)
        self.scheduler.store_stats()  # makes the tables
        self.make_books()

    def make_jobs(self) -> Jobs:
        return Jobs(self.folder, "test", **self._settings)  # type: ignore[arg-type]

    def spawn(self, role: str, **options: float | str) -> lab.Process:
        return super().spawn(role, **{**self._settings, **options})

    def make_books(self) -> None:
        with psycopg.connect(self.url) as db:
            db.execute("CREATE TABLE booked (id text, claim_no int)")

    def booked(self) -> list[tuple[str, int]]:
        with psycopg.connect(self.url) as db:
            return db.execute("SELECT id, claim_no FROM booked").fetchall()

    def integrity(self) -> None:
        """Nobody was told of a deadlock."""
        assert not [p.log for p in self.processes if "deadlock" in p.log.read_text()]


def freeze(process: lab.Process) -> None:
    """SIGSTOP, wherever it is just now."""
    process.signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
