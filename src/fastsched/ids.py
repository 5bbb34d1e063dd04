"""Job and node ids: UUID version 7 as text, made by the client, in order of creation."""

from __future__ import annotations

import contextlib
import os
import re
from itertools import count
from uuid import UUID

from fastsched.clock import epoch_ns
from fastsched.errors import ConfigurationError, shown

_UUID = re.compile(r"(urn:uuid:)?\{?[0-9a-fA-F-]{32,36}\}?")
_COUNTER_BITS = (1 << 48) - 1


class _Source:
    """A random start for this process, and the part of the ids that changes each millisecond."""

    __slots__ = ("count", "fixed", "prefix")

    def __init__(self) -> None:
        random = int.from_bytes(os.urandom(10), "big")  # `secrets` would import hashlib
        self.count = count(random & _COUNTER_BITS)
        self.fixed = f"7{random >> 48 & 0xFFF:03x}-{0x8000 | random >> 60 & 0x3FFF:04x}"
        self.prefix = (0, "")


_source = _Source()


def _reseed() -> None:
    global _source
    _source = _Source()


os.register_at_fork(after_in_child=_reseed)


def new_id() -> str:
    """A fresh id, 36 characters, sorted by creation in this process, by the millisecond elsewhere.

    74 bits are random at the start of every process, and after a fork; 48 of them count up. Within
    a process an id cannot repeat, and between processes it would take the same start.
    """
    source = _source
    now = epoch_ns() // 1_000_000
    milliseconds, prefix = source.prefix
    if now != milliseconds:
        prefix = f"{now >> 16:08x}-{now & 0xFFFF:04x}-{source.fixed}-"
        source.prefix = (now, prefix)
    return f"{prefix}{next(source.count) & _COUNTER_BITS:012x}"


def check_id(given: object) -> str:
    """The canonical text of an id given by a caller (`str` or `UUID`)."""
    if isinstance(given, UUID):
        return UUID.__str__(given)
    if isinstance(given, str):
        text = str.__str__(given)
        if _UUID.fullmatch(text):  # UUID itself takes spaces, underscores and the digits of Thai
            with contextlib.suppress(ValueError):
                return str(UUID(text))
    raise ConfigurationError(f"id={shown(given)} is not a UUID; give a uuid.UUID or its text")
