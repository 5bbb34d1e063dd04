"""Snapshots of ended jobs in Redis, for look-ups from any server."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, astuple
from typing import Any, get_type_hints

import orjson
import redis

from fastsched.clock import SystemClock
from fastsched.job import Failure, Job, State
from fastsched.redis_bus import make_client

KEPT_FOR = 86_400
"""Seconds for which a snapshot stays."""
_FORGOTTEN_FOR = 60
"""Seconds for which a forgotten job gets no snapshot: who read it before may write it late."""
_REST = 5.0
"""Seconds for which a Redis that did not answer is not asked again."""
_FORGOTTEN = b""
_TYPES: dict[str, Any] = get_type_hints(Job)


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
        self._clock = SystemClock()
        self._rests_until = float("-inf")

    def get(self, job_id: str) -> Job | None:
        self.forget(())
        if job_id in self._changed:
            return None
        found = self._ask(lambda: self._client.get(self._prefix + job_id))
        return _job(job_id, found) if isinstance(found, bytes) else None

    def put(self, job: Job) -> None:
        if job.state.ended:
            name, snapshot = self._prefix + job.id, _bytes(job)
            self._ask(lambda: self._client.set(name, snapshot, ex=KEPT_FOR, nx=True))

    def forget(self, ids: Sequence[str]) -> None:
        self._changed.update(ids)
        changed = set(self._changed)
        if changed and self._ask(lambda: self._forget(changed)):
            self._changed -= changed

    def _forget(self, ids: Collection[str]) -> bool:
        names = [self._prefix + job_id for job_id in ids]
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.delete(*names)
            for name in names:  # refused when Redis is full; then a late snapshot may come
                pipeline.set(name, _FORGOTTEN, ex=_FORGOTTEN_FOR)
            return not isinstance(pipeline.execute(raise_on_error=False)[0], Exception)

    def _ask(self, call: Callable[[], Any]) -> Any:
        """What Redis answers; None if it refuses, or did not answer within the last seconds."""
        if self._clock.monotonic() < self._rests_until:
            return None
        try:
            return call()
        except redis.ResponseError:
            return None
        except (redis.RedisError, OSError, ValueError):
            self._rests_until = self._clock.monotonic() + _REST
            return None

    def close(self) -> None:
        self._client.close()


def _bytes(job: Job) -> bytes:
    fields = asdict(job)
    fields["payload"] = base64.b64encode(job.payload).decode()
    return orjson.dumps(fields)


def _job(job_id: str, snapshot: bytes) -> Job | None:
    """The job in a snapshot; None if it is not that of an ended job with this id."""
    try:
        fields = orjson.loads(snapshot)
        fields["payload"] = base64.b64decode(fields["payload"])
        fields["state"] = State(fields["state"])
        if fields["failure"] is not None:
            fields["failure"] = Failure(**fields["failure"])
        job = Job(**fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    values = [(getattr(job, name), kind) for name, kind in _TYPES.items()]
    if job.failure is not None:
        values += [(text, str) for text in astuple(job.failure)]
    if not all(isinstance(value, kind) for value, kind in values):
        return None
    return job if job.id == job_id and job.state.ended else None
