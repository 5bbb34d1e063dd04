"""Where jobs are kept: a contract, and what fulfils it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fastsched.clock import SystemClock
from fastsched.errors import ConfigurationError, shown
from fastsched.stores.base import LEASE, Store

_FORM = (
    "give sqlite:///path/to/file.db (or sqlite:////absolute/path.db), "
    "or postgresql://user:password@host/database"
)


def make_store(url: str, *, keep_done: bool = False, lease: float = LEASE) -> Store:
    """The store behind a URL; nothing is opened yet. Drivers are imported only here."""
    if not isinstance(url, str):
        raise ConfigurationError(f"store_url is {type(url).__name__}, wanted text; {_FORM}")
    try:
        os.fsencode(url)
    except UnicodeEncodeError:
        raise ConfigurationError(f"store_url holds a lone surrogate; {_FORM}") from None
    if any(c < " " or c == "\x7f" for c in url):
        raise ConfigurationError(f"store_url holds a control character; {_FORM}")
    scheme, separator, rest = url.partition("://")
    hidden = re.sub(r"^(\w*://)?.*@", r"\1***@", url)  # a password may hold / and @
    if not separator:
        raise ConfigurationError(f"store_url={shown(hidden)} has no scheme; {_FORM}")
    if scheme in ("postgresql", "postgres"):
        from fastsched.stores.postgres import PostgresStore

        return PostgresStore(url, keep_done=keep_done, lease=lease)
    if scheme != "sqlite":
        raise ConfigurationError(
            f"store_url={shown(hidden)}: {shown(scheme)} is not a store of this version; {_FORM}"
        )
    if not rest.startswith("/"):
        raise ConfigurationError(f"store_url={shown(hidden)} needs three slashes; {_FORM}")
    path = rest[1:]
    if path in ("", ":memory:"):
        raise ConfigurationError(
            f"store_url={shown(hidden)}: jobs need a file, or they would not survive; {_FORM}"
        )
    return _sqlite_store(path, keep_done=keep_done)


def _sqlite_store(path: str, *, keep_done: bool) -> Store:
    from fastsched.stores.sqlite import SqliteStore

    try:
        file = Path(path).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"store_url: {shown(path)} is no one's home; {_FORM}") from None
    if not file.absolute().name:
        raise ConfigurationError(f"store_url: {shown(path)} is a folder; {_FORM}")
    return SqliteStore(file, SystemClock(), keep_done=keep_done)
