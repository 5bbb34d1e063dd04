"""A laboratory with a PostgreSQL, and perhaps a Redis, between its processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
from durability import lab

from cluster.jobs import ClusterJobs


class ClusterLab(lab.Lab):
    """One database, the processes on it, and what happened to them."""

    program = "cluster.program"

    def __init__(self, folder: Path, url: str, **settings: float | str) -> None:
        """`settings`: of every scheduler, such as `redis` and `lease`."""
        self.url = url
        self._settings = {"store_url": url, **settings}
        super().__init__(folder)
        self.scheduler.store_stats()  # makes the tables
        with psycopg.connect(url) as db:
            db.execute("CREATE TABLE booked (id uuid, claim_no int)")

    def make_jobs(self) -> ClusterJobs:
        return ClusterJobs(self.folder, "test", **self._settings)

    def spawn(self, role: str, **options: float | str) -> lab.Process:
        return super().spawn(role, **{**self._settings, **options})

    def booked(self) -> list[str]:
        """The job of every effect that was committed with the end of its job."""
        with psycopg.connect(self.url) as db:
            return [str(row[0]) for row in db.execute("SELECT id FROM booked")]

    def integrity(self) -> None:
        """No effect is there twice, and none of a job that was done is missing."""
        booked = self.booked()
        assert len(booked) == len(set(booked)), "effects were committed twice"


def freeze(process: lab.Process) -> None:
    """SIGSTOP, wherever it is just now."""
    process.signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
