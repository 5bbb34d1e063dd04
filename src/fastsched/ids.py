"""Job and node ids: UUID version 7 as text, made by the client, in order of creation."""

from __future__ import annotations

import os
import secrets
from itertools import count
from uuid import UUID

from fastsched.clock import epoch_ns
from fastsched.errors import ConfigurationError

_LOW_BITS = (1 << 62) - 1
_counter = count(secrets.randbits(62))


def _reseed() -> None:
    global _counter
    _counter = count(secrets.randbits(62))


os.register_at_fork(after_in_child=_reseed)


def new_id() -> str:
    """A fresh id, 36 characters, sorted by creation to about a quarter of a microsecond.

    The low 62 bits count up from a random start, chosen anew in every process and after a fork:
    within a process an id cannot repeat, and between processes it would take the same start.
    """
    milliseconds, rest = divmod(epoch_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    low = next(_counter) & _LOW_BITS
    high = f"{milliseconds:012x}"
    return (
        f"{high[:8]}-{high[8:]}-7{fraction:03x}-"
        f"{0x8000 | low >> 48:04x}-{low & 0xFFFF_FFFF_FFFF:012x}"
    )


def check_id(given: object) -> str:
    """The canonical text of an id given by a caller (`str` or `UUID`)."""
    if isinstance(given, UUID):
        return str(given)
    if isinstance(given, str):
        try:
            return str(UUID(given))
        except ValueError:
            pass
    raise ConfigurationError(f"id={given!r} is not a UUID; give a uuid.UUID or its text")
