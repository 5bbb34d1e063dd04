"""Values that nobody should give, for tests of everything that is given something."""

from __future__ import annotations

import enum
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any


class Hostile:
    """Whatever is asked of it, it raises; but for its name and its address."""

    def __repr__(self) -> str:
        raise RuntimeError("shown")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __hash__(self) -> int:
        raise RuntimeError("hashed")

    def __bool__(self) -> bool:
        raise RuntimeError("asked for its truth")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"asked for {name}")


class Proxy:
    """Like an unbound proxy of a web framework: it will not even say what it is."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("unbound")


class LyingInt(int):
    """An int that is within any limit, and shows another value than its own."""

    def __repr__(self) -> str:
        return "1"

    __str__ = __repr__

    def _yes(self, other: object) -> bool:
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _yes
    __hash__ = int.__hash__

    def __int__(self) -> int:
        return 1

    __index__ = __int__

    def __float__(self) -> float:
        return 1.0


class LyingFloat(float):
    """The same for floats."""

    def _yes(self, other: object) -> bool:
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _yes
    __hash__ = float.__hash__

    def __float__(self) -> float:
        return 1.0


class LyingText(str):
    """Text that pretends to be other text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "harmless"

    __repr__ = __str__

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        return b"harmless"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Word(enum.StrEnum):
    MAIL = "mail"


class Level(enum.IntEnum):
    HIGH = 7


NO_NUMBERS = [
    True, "5", b"5", Decimal(5), Fraction(5), 5j, [5], {5}, {}, (), object(), Hostile(),
    date(2030, 1, 1), range(5), iter([5]), len, ...,
]  # fmt: skip
"""What is not a number of seconds, nor an int."""
BAD_NUMBERS = [
    math.nan, math.inf, -math.inf, 2**63, 2**64, -(2**63) - 1, 10**400, 10**5000, -(10**5000),
    1e308, -1e308, LyingInt(2**70), LyingFloat("nan"), LyingFloat("inf"),
]  # fmt: skip
"""Numbers beyond everything."""
BAD_NAMES = [
    "", " ", "a b", "a\nb", "a\0b", "\x1b[2J", "\u202egnp.exe", "\ud800", "\ufeff", "ä", "٣",
    "a" * 201, "x" * 10_000, "a'b", 'a"b', "a;b", "a%b", "a\\b", "$(a)", LyingText("a b"),
    5, 5.0, True, b"mail", bytearray(b"mail"), ["mail"], {"mail"}, ("mail",), object(),
    Hostile(), datetime(2030, 1, 1, tzinfo=UTC), len, ...,
]  # fmt: skip
"""What names no kind and no queue."""
BAD_IDS = [
    "", "x", "0" * 31, "0" * 33, "g" * 32, "1-2-3", "../../etc/passwd", "\0" * 36, "\ud800" * 36,
    "0" * 1_000_000, "01a20d6d-05a7-7f01-ad17-2655a916a13\n", LyingText("x"),
    0, 5, 2**128, 1.5, True, b"0" * 36, b"0" * 16, ["0" * 32], ("0" * 32,), {}, object(),
    Hostile(), ...,
]  # fmt: skip
"""What is no id."""
