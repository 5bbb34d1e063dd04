"""The servers themselves under test."""

from __future__ import annotations

from servers.fixtures import (
    breakable_pg,
    breakable_pg_url,
    breakable_redis,
    pg_server,
    pg_template,
    pg_url,
    redis_server,
    redis_url,
)

__all__ = [
    "breakable_pg",
    "breakable_pg_url",
    "breakable_redis",
    "pg_server",
    "pg_template",
    "pg_url",
    "redis_server",
    "redis_url",
]
