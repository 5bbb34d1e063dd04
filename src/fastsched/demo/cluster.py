"""The demo as a cluster: real servers, three workers, and everything fails once."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Self

from fastsched.demo.faults import Faults, Steps
from fastsched.demo.jobs import LEASE
from fastsched.demo.stage import Stage
from fastsched.servers import PrivatePostgres, PrivateRedis
from fastsched.stores.postgres_nodes import RELOCK_GRACE

_WORKER = "fastsched-demo-{}"
"""Name of a worker's sessions in PostgreSQL."""
_AT_WORK = """
    SELECT FROM pg_stat_activity
    WHERE application_name = %s AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
"""


class ClusterStage(Stage):
    """A PostgreSQL with fsync, with or without a Redis, and three workers."""

    workers = ("first", "second", "third")
    repeats = True
    look_every = 0.1

    def __init__(self, *, redis: bool) -> None:
        self._postgres = PrivatePostgres(durable=True)
        self._redis = PrivateRedis() if redis else None
        self._servers = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as servers:
            servers.enter_context(self._postgres)
            os.environ.pop("FASTSCHED_REDIS_URL", None)
            if self._redis is not None:
                servers.enter_context(self._redis)
                # For the schedulers of this process and, inherited, of the workers.
                os.environ["FASTSCHED_REDIS_URL"] = self._redis.url
            self._servers = servers.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    @property
    def title(self) -> str:
        postgres = f"PostgreSQL {self._postgres.version}, fsync on"
        if self._redis is None:
            return f"{postgres}; no Redis, so workers look once a second"
        return f"{postgres}; Redis {self._redis.version}"

    @property
    def store_url(self) -> str:
        return self._postgres.url

    def url_of(self, worker: str) -> str:
        return f"{self.store_url}&application_name={_WORKER.format(worker)}"

    def plot(self, faults: Faults, total: int) -> Steps:
        # Workers that have just come do not take a free lock for a death.
        yield from faults.seconds(RELOCK_GRACE + 1.0)
        yield from faults.kill(within=LEASE, settled=self._settled)
        yield from faults.recovery(faults.losses[-1])
        yield from faults.freeze(within=2 * LEASE, settled=self._settled)
        if self._redis is not None:
            yield from faults.restart(self._redis, "SIGKILL")
        yield from faults.restart(self._postgres, "fast shutdown")

    def _settled(self, worker: str) -> bool:
        """Whether PostgreSQL has done all that a worker which stands still had sent to it."""
        return not self._postgres.query(_AT_WORK, _WORKER.format(worker))
