"""A user's own database connection, through which jobs can be part of the user's transaction.

Accepted are connections of psycopg 3, sessions and connections of SQLAlchemy, and connections of
Django, both over psycopg 3. None of these libraries is imported here: what is not in use cannot
have been given.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from fastsched.errors import ConfigurationError

_WANTED = (
    "wanted a psycopg.Connection, a SQLAlchemy Session or Connection over psycopg, or "
    "django.db.connection"
)


_CALLS = "fastsched_after_commit"


@dataclass(frozen=True, slots=True)
class UserConnection:
    """What is needed of such a connection."""

    driver: Any
    """The `psycopg.Connection` behind it."""
    begin: Callable[[], AbstractContextManager[Any]]
    """A block that commits at its end."""
    after_commit: Callable[[Callable[[], None]], None] | None
    """Have a function called once the present transaction is committed; None if it cannot be."""

    def check_in_transaction(self) -> None:
        """Refuse a connection that would commit each statement by itself."""
        idle = self.driver.info.transaction_status == 0
        if self.driver.autocommit and idle:
            raise ConfigurationError(
                "the connection commits each statement by itself, so the job would not be part of "
                "a transaction; open one: with connection.transaction(): ..."
            )


def adapt(connection: Any) -> UserConnection:
    """Recognise a connection by its kind."""
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(connection, psycopg.Connection):
        return UserConnection(connection, connection.transaction, None)
    for look in (_sqlalchemy, _django):
        found = look(connection)
        if found is not None:
            return found
    raise ConfigurationError(f"connection is a {type(connection).__qualname__}; {_WANTED}")


def _sqlalchemy(connection: Any) -> UserConnection | None:
    if not any(name in sys.modules for name in ("sqlalchemy", "sqlalchemy.orm")):
        return None
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    if isinstance(connection, Session):
        begin = _begin_of_session(connection)  # before the next line begins one itself
        driver = connection.connection().connection.driver_connection
        return UserConnection(
            _psycopg_only(driver), begin, lambda call: _after_commit_of(connection, call)
        )
    if isinstance(connection, Connection):
        driver = connection.connection.driver_connection
        open_already = connection.in_transaction()
        return UserConnection(
            _psycopg_only(driver),
            contextlib.nullcontext if open_already else connection.begin,
            None,
        )
    return None


def _after_commit_of(session: Any, call: Callable[[], None]) -> None:
    """Listened for once in the life of a session: SQLAlchemy keeps every listener."""
    from sqlalchemy import event

    session.info.setdefault(_CALLS, []).append(call)
    if not event.contains(session, "after_commit", _committed):
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_rollback", _rolled_back)


def _committed(session: Any) -> None:
    if not session.in_nested_transaction():  # that was a savepoint only
        for call in session.info.pop(_CALLS, ()):
            call()


def _rolled_back(session: Any) -> None:
    session.info.pop(_CALLS, None)


def _begin_of_session(session: Any) -> Callable[[], AbstractContextManager[Any]]:
    """The session's transaction, which begins by itself; one open already is its owner's."""
    if session.in_transaction():
        return contextlib.nullcontext

    @contextlib.contextmanager
    def begin() -> Iterator[None]:
        try:
            yield
        except BaseException:
            session.rollback()
            raise
        session.commit()

    return begin


def _django(connection: Any) -> UserConnection | None:
    if "django.db" not in sys.modules:
        return None
    from django.db import transaction
    from django.db.backends.base.base import BaseDatabaseWrapper

    wrapper = getattr(connection, "_connections", None) and connection  # the lazy proxy
    if not isinstance(connection, BaseDatabaseWrapper) and wrapper is None:
        return None
    connection.ensure_connection()
    alias = connection.alias
    return UserConnection(
        _psycopg_only(connection.connection),
        lambda: transaction.atomic(using=alias),
        lambda call: transaction.on_commit(call, using=alias),
    )


def _psycopg_only(driver: Any) -> Any:
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(driver, psycopg.Connection):
        raise ConfigurationError(f"the driver is {type(driver).__module__}; {_WANTED}")
    return driver
