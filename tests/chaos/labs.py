"""The laboratories of storms."""

from __future__ import annotations

from pathlib import Path

import redis
from cluster.lab import ClusterLab
from durability.lab import Lab, Process

from chaos.jobs import ChaosJobs


class SqliteLab(Lab):
    """Processes on one file."""

    program = "chaos.program"
    jobs: ChaosJobs

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.make_books()

    def make_jobs(self) -> ChaosJobs:
        return ChaosJobs(self.folder, "test")

    def take_place_of(self, process: Process) -> None:
        """Have the others count a process as dead, whatever it does."""
        for node in self.scheduler.store_stats().nodes:
            if node.pid == process.pid:
                (self.beside_store / f"{node.id}.alive").unlink(missing_ok=True)


class PostgresLab(ClusterLab):
    """Processes on one database, and perhaps one Redis."""

    program = "chaos.program"
    jobs: ChaosJobs

    def make_jobs(self) -> ChaosJobs:
        return ChaosJobs(self.folder, "test", **self._settings)

    def take_place_of(self, process: Process) -> None:
        """Its lease does that."""

    def redis_call(self, *words: str) -> None:
        """Tell the Redis something."""
        with redis.Redis.from_url(str(self._settings["redis"])) as client:
            client.execute_command(*words)


ChaosLab = SqliteLab | PostgresLab
