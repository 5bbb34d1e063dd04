"""Arguments to bytes and back: JSON by orjson, and nothing that would come back changed.

orjson alone is too obliging: it writes NaN as null, a tuple as a list, a UUID or a datetime as a
string, an enum as its value. So the encoded bytes are read back once and compared; what differs is
refused with the path of the value.
"""

from __future__ import annotations

import enum
import marshal
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import orjson

from fastsched.errors import PayloadError, shown

MAX_PAYLOAD = 1 << 20
"""Largest encoded payload, bytes."""

_PLAIN = frozenset({str, int, bool, type(None)})
"""Types that always come back as they went, if they go at all."""
_STRICT = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)  # all are then refused instead of turned into other types


def encode(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """The payload for a call, or `PayloadError` naming the value that cannot be stored.

    A few plain values are written only; lists, dicts and floats are also read back and compared.
    """
    call = [list(args), dict(kwargs)]
    try:
        payload = orjson.dumps(call, option=_STRICT)
    except (TypeError, RecursionError) as error:  # orjson.JSONEncodeError is a TypeError
        raise _refusal(call, str(error)) from None
    if len(payload) > MAX_PAYLOAD:
        raise PayloadError(
            f"the arguments take {len(payload):,} bytes as JSON, the limit is {MAX_PAYLOAD:,}; "
            "store the data elsewhere and pass its address",
            path="args",
        )
    if not all(type(value) in _PLAIN for value in chain(args, kwargs.values())):
        _check_comes_back(call, payload)
    # A copy: what orjson gives sits in a buffer of 1 KiB, which would stay as long as the job.
    return b"%b" % payload


def _check_comes_back(call: list[Any], payload: bytes) -> None:
    try:
        marshal.dumps(call, 2)  # takes exact types only: not an enum that equals its value
        same = orjson.loads(payload) == call
    except (ValueError, RecursionError) as error:  # orjson.JSONDecodeError is a ValueError
        raise _refusal(call, str(error)) from None
    if not same:
        raise _refusal(call, "it would come back changed")


def decode(payload: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The call behind a payload; `PayloadError` if the bytes are not one."""
    try:
        call = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the stored payload is not JSON: {error}", path="payload") from None
    match call:
        case [list() as args, dict() as kwargs]:
            return args, kwargs
    raise PayloadError("the stored payload is not [args, kwargs]", path="payload")


def _refusal(call: list[Any], cause: str) -> PayloadError:
    args, kwargs = call
    for name, root in (("args", args), ("kwargs", kwargs)):
        found = _find(root, name, depth=0)
        if found is not None:
            path, what = found
            return PayloadError(f"{path}: {what}", path=path)
    return PayloadError(f"the arguments cannot be stored as JSON: {cause}", path="args")


def _find(value: Any, path: str, depth: int) -> tuple[str, str] | None:
    """The first value below `path` that JSON cannot carry unchanged, and what to do about it."""
    if depth > 200:
        return path, "nested deeper than 200 levels; flatten it"
    kind = type(value)
    if value is None or kind is bool:
        return None
    if kind is int:
        if -(2**63) <= value < 2**64:
            return None
        return path, "the integer needs more than 64 bits; pass it as a string"
    if kind is float:
        if math.isfinite(value):
            return None
        return path, f"{value} is not a JSON number; pass None or a string"
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return path, "the string holds a lone surrogate; it is not valid Unicode"
        return None
    if kind is list:
        steps = ((f"{path}[{i}]", item) for i, item in enumerate(value))
    elif kind is dict:
        for key in value:
            if type(key) is not str:
                return path, f"the key {shown(key)} is {type(key).__name__}; JSON keys are str"
            if _find(key, path, depth) is not None:
                return path, "a key holds a lone surrogate; it is not valid Unicode"
        steps = ((_below(path, key), item) for key, item in value.items())
    elif kind is tuple:
        return path, "a tuple would come back as a list; pass a list"
    else:
        return path, f"{kind.__qualname__} would not come back as itself; {_advice(value)}"
    for step, item in steps:
        found = _find(item, step, depth + 1)
        if found is not None:
            return found
    return None


def _below(path: str, key: str) -> str:
    """The path of what a dict holds under `key`, which may be any text."""
    return f"{path}.{key}" if key.isidentifier() and len(key) <= 60 else f"{path}[{shown(key)}]"


def _advice(value: Any) -> str:
    kind = type(value)  # of which nothing is called: it may be anything
    if issubclass(kind, enum.Enum):
        return "pass its value"
    if hasattr(kind, "isoformat"):
        return "pass value.isoformat() and parse it in the handler"
    if hasattr(kind, "__dataclass_fields__"):
        return "pass dataclasses.asdict(value)"
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return "pass base64 text, or store the bytes elsewhere and pass their address"
    return "pass str, int, float, bool, None, or a list or dict of these"
