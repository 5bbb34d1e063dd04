"""Arguments come back as they went in, or are refused by name."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import uuid

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastsched import PayloadError
from fastsched.codec import MAX_PAYLOAD, decode, encode


class Color(enum.Enum):
    RED = "red"


class Shade(enum.StrEnum):
    DARK = "dark"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Items(list):
    pass


class Fields(dict):
    pass


Pair = collections.namedtuple("Pair", "a b")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)  # with lone surrogates
    | st.binary(max_size=5)
    | st.dates()
    | st.uuids()
    | st.decimals()
    | st.sampled_from([Color.RED, Shade.DARK, Level.HIGH, Point(), Text("t"), Number(1), ...]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(Items)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=6,
)


def same(one, other):
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if type(one) is list:
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is dict:
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if type(one) is float:
        return one.hex() == other.hex()
    return one == other


@settings(max_examples=60, deadline=None)
@given(st.lists(VALUES, max_size=4), st.dictionaries(TEXT, VALUES, max_size=4))
@example([2**64 - 1, -(2**63), 2**53 + 1, -0.0, 5e-324, 1.7976931348623157e308], {})
@example(["\0", "\x7f", "\U0010ffff", "\ufeff"], {"": None, "\0": []})
def test_plain_values_come_back_as_they_were(args, kwargs):
    assert same(list(decode(encode(args, kwargs))), [args, kwargs])


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
@example([Shade.DARK])
@example({"a": {"b": (1,)}})
@example(math.nan)
def test_whatever_is_accepted_comes_back_unchanged(value):
    try:
        payload = encode([value], {})
    except PayloadError:
        return
    assert same(decode(payload)[0], [value])


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def itself():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (math.nan, "not a JSON number"),
        (math.inf, "not a JSON number"),
        (-math.inf, "not a JSON number"),
        (2**64, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (10**400, "64 bits"),
        ((1, 2), "tuple"),
        ((), "tuple"),
        (Pair(1, 2), "Pair"),
        (uuid.uuid4(), "UUID"),
        (datetime.datetime.now(datetime.UTC), "isoformat"),
        (datetime.date(2020, 1, 1), "isoformat"),
        (datetime.time(1, 2), "isoformat"),
        (datetime.timedelta(1), "timedelta"),
        (decimal.Decimal("1.5"), "Decimal"),
        (Color.RED, "value"),
        (Shade.DARK, "value"),
        (Level.HIGH, "value"),
        (Point(), "asdict"),
        (b"bytes", "base64"),
        (bytearray(b"bytes"), "base64"),
        (memoryview(b"bytes"), "base64"),
        ({1, 2}, "set"),
        (1j, "complex"),
        (object(), "object"),
        (len, "builtin_function"),
        (Text("text"), "Text"),
        (Number(1), "Number"),
        (Items(), "Items"),
        (Fields(), "Fields"),
        (collections.OrderedDict(), "OrderedDict"),
        (orjson.Fragment(b"1"), "Fragment"),
        ("\ud800", "surrogate"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
def test_what_would_come_back_changed_is_refused_with_its_path(value, what):
    with pytest.raises(PayloadError, match=what) as refused:
        encode([1, {"deep": [None, value]}], {})
    assert refused.value.path == "args[1].deep[1]"
    assert str(refused.value).startswith("args[1].deep[1]: ")
    with pytest.raises(PayloadError) as refused:
        encode([], {"user": {"created": value}})
    assert refused.value.path == "kwargs.user.created"


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**64, (1, 2), Level.HIGH, uuid.uuid4()])
def test_an_argument_itself_is_looked_at_as_closely_as_what_is_inside_one(value):
    with pytest.raises(PayloadError) as refused:
        encode(["before", value], {})
    assert refused.value.path == "args[1]"
    with pytest.raises(PayloadError) as refused:
        encode([], {"before": 1, "given": value})
    assert refused.value.path == "kwargs.given"


@pytest.mark.parametrize("key", [1, None, True, (1,), Color.RED, b"k", Text("k")], ids=repr)
def test_keys_that_are_not_str_are_refused(key):
    with pytest.raises(PayloadError, match="JSON keys are str") as refused:
        encode([{"inner": {key: 1}}], {})
    assert refused.value.path == "args[0].inner"


def test_a_key_that_is_not_unicode_is_refused():
    with pytest.raises(PayloadError, match="lone surrogate") as refused:
        encode([{"\udfff": 1}], {})
    assert refused.value.path == "args[0]"


def test_values_nested_too_deeply_are_refused():
    assert same(decode(encode([nested(100)], {}))[0], [nested(100)])
    for value in (nested(1_000), nested(100_000), itself()):
        with pytest.raises(PayloadError, match="nested deeper"):
            encode([value], {})


def test_the_payload_has_a_size_limit():
    frame = len(encode([""], {}))
    encode(["x" * (MAX_PAYLOAD - frame)], {})
    with pytest.raises(PayloadError, match=r"1,048,577 bytes .* the limit is 1,048,576"):
        encode(["x" * (MAX_PAYLOAD - frame + 1)], {})


def test_refusing_does_not_run_code_of_the_value():
    class Hostile:
        def __eq__(self, other):
            raise RuntimeError("compared")

        __hash__ = None

        def __repr__(self):
            raise RuntimeError("shown")

    with pytest.raises(PayloadError, match="Hostile"):
        encode([Hostile()], {})


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[[],{}", b"null", b"[]", b"[[]]", b"[{},[]]", b"[[],{},1]", b"\xff", b"[[],1]"],
)
def test_bytes_that_are_no_call_are_refused(payload):
    with pytest.raises(PayloadError) as refused:
        decode(payload)
    assert refused.value.path == "payload"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_decoding_any_bytes_gives_a_call_or_a_payload_error(payload):
    try:
        args, kwargs = decode(payload)
    except PayloadError:
        return
    assert type(args) is list
    assert type(kwargs) is dict
