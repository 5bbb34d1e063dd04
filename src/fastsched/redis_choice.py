"""Whether hints go through Redis; redis-py is imported only when they do."""

from __future__ import annotations

import os
import re
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
    if not (given is None or isinstance(given, str)):
        raise _refused(f"is {type(given).__name__}, not text")
    url = given or os.environ.get("FASTSCHED_REDIS_URL")
    if not url or not on_postgres:
        return None
    if not url.startswith(_SCHEMES):
        raise _refused("begins with what is not a scheme of Redis")
    _check(url)
    return Redis(url, named("redis_prefix", prefix))


def _check(url: str) -> None:
    """Refuse what redis-py refuses when it connects, in a thread, and what it reads wrongly.

    Nothing of the URL is shown, nor what redis-py says of it: that may be a part of the password.
    """
    from urllib.parse import urlsplit

    from fastsched.redis_bus import make_client

    try:
        url.encode()
        parts = urlsplit(url)
        make_client(url).connection_pool.make_connection()
    except (ValueError, TypeError, UnicodeError):
        raise _refused("cannot be read") from None
    if any(c < " " or c == "\x7f" for c in url):
        raise _refused("holds a control character")
    if parts.scheme == "unix":
        if not parts.path:
            raise _refused("names no socket")
    elif not re.fullmatch(r"/?[0-9]*", parts.path):
        raise _refused("has something else than the number of a database after its host")


def _refused(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"redis: the URL {why}; give redis://user:password@host:6379/0, rediss:// for TLS, or "
        "unix:///path/to/socket, and in a password write / as %2F, @ as %40, ? as %3F, # as %23"
    )
