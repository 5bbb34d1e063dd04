"""Snapshots of ended jobs in Redis, for look-ups from any server."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from dataclasses import asdict

import orjson
import redis

from fastsched.job import Failure, Job, State
from fastsched.redis_bus import make_client

KEPT_FOR = 86_400
"""Seconds for which a snapshot stays."""


class RedisJobCache:
    """A `JobCache` in Redis, for a day; without Redis it keeps nothing.

    Only ended jobs are kept, for they do not change by themselves. Those that are requeued or
    discarded are forgotten, as soon as Redis can be told: until then `find` may show them as they
    were. States and waiting are always asked of the store.
    """

    def __init__(self, url: str, *, prefix: str = "fastsched") -> None:
        self._client = make_client(url, timeout=0.5)
        self._prefix = f"{prefix}:job:"
        self._changed: set[str] = set()  # to be forgotten once Redis can be told

    def get(self, job_id: str) -> Job | None:
        self.forget(())
        if job_id in self._changed:
            return None
        try:
            found = self._client.get(self._prefix + job_id)
            return _job(found) if isinstance(found, bytes) else None
        except (redis.RedisError, OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, job: Job) -> None:
        if job.state.ended:
            with contextlib.suppress(redis.RedisError, OSError):
                self._client.set(self._prefix + job.id, _bytes(job), ex=KEPT_FOR)

    def forget(self, ids: Sequence[str]) -> None:
        self._changed.update(ids)
        changed = set(self._changed)
        if changed:
            with contextlib.suppress(redis.RedisError, OSError):
                self._client.delete(*(self._prefix + job_id for job_id in changed))
                self._changed -= changed

    def close(self) -> None:
        self._client.close()


def _bytes(job: Job) -> bytes:
    fields = asdict(job)
    fields["payload"] = base64.b64encode(job.payload).decode()
    return orjson.dumps(fields)


def _job(snapshot: bytes) -> Job:
    fields = orjson.loads(snapshot)
    fields["payload"] = base64.b64decode(fields["payload"])
    fields["state"] = State(fields["state"])
    if fields["failure"] is not None:
        fields["failure"] = Failure(**fields["failure"])
    return Job(**fields)
