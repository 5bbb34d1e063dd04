"""Whether hints go through Redis; redis-py is imported only when they do."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fastsched.bus import Bus
from fastsched.clock import Clock
from fastsched.errors import ConfigurationError
from fastsched.job_cache import JobCache
from fastsched.options import named

_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class Redis:
    """A Redis or Valkey server, not yet connected to."""

    url: str
    prefix: str

    def bus(self, clock: Clock) -> Bus:
        """The bus on it."""
        from fastsched.redis_bus import RedisBus

        return RedisBus(self.url, clock, prefix=self.prefix)

    def cache(self) -> JobCache:
        """The cache of ended jobs on it."""
        from fastsched.redis_cache import RedisJobCache

        return RedisJobCache(self.url, prefix=self.prefix)


def redis_of(given: str | None, prefix: str, store_url: str) -> Redis | None:
    """The server named by the argument or by ``$FASTSCHED_REDIS_URL``, for a PostgreSQL store."""
    on_postgres = store_url.startswith(("postgresql://", "postgres://"))
    if given is not None and not on_postgres:
        raise ConfigurationError(
            "redis joins servers on one PostgreSQL; the processes on a SQLite file find each other "
            "by themselves: leave redis out, or give a postgresql:// store_url"
        )
    url = given or os.environ.get("FASTSCHED_REDIS_URL")
    if not url or not on_postgres:
        return None
    if not url.startswith(_SCHEMES):
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"redis: {scheme!r} is not a scheme of Redis; give redis://user:password@host:6379/0, "
            "rediss:// for TLS, or unix:///path/to/socket"
        )
    return Redis(url, named("redis_prefix", prefix))
