"""Where jobs are kept: a contract, and what fulfils it."""

from __future__ import annotations

import re
from pathlib import Path

from fastsched.clock import SystemClock
from fastsched.errors import ConfigurationError
from fastsched.stores.base import LEASE, Store

_FORM = (
    "give sqlite:///path/to/file.db (or sqlite:////absolute/path.db), "
    "or postgresql://user:password@host/database"
)


def make_store(url: str, *, keep_done: bool = False, lease: float = LEASE) -> Store:
    """The store behind a URL; nothing is opened yet. Drivers are imported only here."""
    scheme, separator, rest = url.partition("://")
    shown = re.sub(r"^(\w*://)?.*@", r"\1***@", url)  # a password may hold / and @
    if not separator:
        raise ConfigurationError(f"store_url={shown!r} has no scheme; {_FORM}")
    if scheme in ("postgresql", "postgres"):
        from fastsched.stores.postgres import PostgresStore

        return PostgresStore(url, keep_done=keep_done, lease=lease)
    if scheme != "sqlite":
        raise ConfigurationError(
            f"store_url={shown!r}: {scheme!r} is not a store of this version; {_FORM}"
        )
    if not rest.startswith("/"):
        raise ConfigurationError(f"store_url={shown!r} needs three slashes; {_FORM}")
    path = rest[1:]
    if path in ("", ":memory:"):
        raise ConfigurationError(
            f"store_url={shown!r}: jobs need a file, or they would not survive; {_FORM}"
        )
    from fastsched.stores.sqlite import SqliteStore

    return SqliteStore(Path(path).expanduser(), SystemClock(), keep_done=keep_done)
