"""When to try again: pure functions of the attempt.

A backoff is called with the number of the failed attempt (1 after the first) and the exception, and
answers with seconds, or None for *give up*. Any such function will do; these are the usual ones.
No result is ever above `MAX_DELAY`, whatever the attempt.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from fastsched.errors import ConfigurationError, shown

MAX_DELAY = 30 * 86_400.0
"""Longest delay before a retry, seconds: 30 days."""

Backoff = Callable[[int, BaseException | None], float | None]


def fixed(seconds: float) -> Backoff:
    """The same delay each time."""
    delay = min(_positive("seconds", seconds), MAX_DELAY)
    return lambda attempt, error: delay


def linear(step: float, *, cap: float = 3600.0) -> Backoff:
    """`step` seconds more after every attempt, up to `cap`."""
    step, ceiling = _positive("step", step), min(_positive("cap", cap), MAX_DELAY)
    return lambda attempt, error: min(step * attempt, ceiling)


def exponential(
    base: float = 1.0, *, factor: float = 2.0, cap: float = 3600.0, jitter: float = 0.5
) -> Backoff:
    """`base * factor ** (attempt - 1)` seconds up to `cap`, less a random part.

    `jitter` is that part's largest share, 0 to 1: it keeps jobs that failed together from coming
    back together.
    """
    base, ceiling = _positive("base", base), min(_positive("cap", cap), MAX_DELAY)
    factor = _number("factor", factor, 1, math.inf, "a number of at least 1")
    jitter = _number("jitter", jitter, 0, 1, "a number from 0 to 1")
    from random import random  # imports hashlib, which not every program needs

    def delay(attempt: int, error: BaseException | None) -> float:
        try:
            full = min(base * factor ** max(attempt - 1, 0), ceiling)
        except OverflowError:
            full = ceiling if base else 0.0
        return full * (1 - jitter * random())  # noqa: S311 - spreads, hides nothing

    return delay


def clamp(seconds: float) -> float:
    """A delay that the store can take: 0 to `MAX_DELAY`; not-a-number becomes `MAX_DELAY`."""
    return float(min(max(seconds, 0.0), MAX_DELAY)) if seconds == seconds else MAX_DELAY


def _positive(name: str, seconds: float) -> float:
    return _number(name, seconds, 0, math.inf, "a number of seconds, 0 or more")


def _number(name: str, given: float, least: float, most: float, wanted: str) -> float:
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not (number and least <= given <= most and given < math.inf):  # NaN is not, either
        raise ConfigurationError(f"{name}={shown(given)}: wanted {wanted}")
    return float(min(given, sys.float_info.max))
