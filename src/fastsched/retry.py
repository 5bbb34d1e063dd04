"""When to try again: pure functions of the attempt.

A backoff is called with the number of the failed attempt (1 after the first) and the exception, and
answers with seconds, or None for *give up*. Any such function will do; these are the usual ones.
No result is ever above `MAX_DELAY`, whatever the attempt.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastsched.errors import ConfigurationError

MAX_DELAY = 30 * 86_400.0
"""Longest delay before a retry, seconds: 30 days."""

Backoff = Callable[[int, BaseException | None], float | None]


def fixed(seconds: float) -> Backoff:
    """The same delay each time."""
    _positive("seconds", seconds)
    return lambda attempt, error: min(seconds, MAX_DELAY)


def linear(step: float, *, cap: float = 3600.0) -> Backoff:
    """`step` seconds more after every attempt, up to `cap`."""
    _positive("step", step)
    _positive("cap", cap)
    return lambda attempt, error: min(step * attempt, cap, MAX_DELAY)


def exponential(
    base: float = 1.0, *, factor: float = 2.0, cap: float = 3600.0, jitter: float = 0.5
) -> Backoff:
    """`base * factor ** (attempt - 1)` seconds up to `cap`, less a random part.

    `jitter` is that part's largest share, 0 to 1: it keeps jobs that failed together from coming
    back together.
    """
    _positive("base", base)
    _positive("cap", cap)
    if not 1 <= factor < math.inf:
        raise ConfigurationError(f"factor={factor!r}: wanted a number of at least 1")
    if not 0 <= jitter <= 1:
        raise ConfigurationError(f"jitter={jitter!r}: wanted a number from 0 to 1")
    ceiling = min(cap, MAX_DELAY)
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


def _positive(name: str, seconds: float) -> None:
    if not (isinstance(seconds, (int, float)) and 0 <= seconds < math.inf):
        raise ConfigurationError(f"{name}={seconds!r}: wanted a number of seconds, 0 or more")
