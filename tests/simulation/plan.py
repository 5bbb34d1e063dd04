"""What happens in a simulation, drawn from its seed: who works, what is asked, what goes wrong.

A plan is a list of events, each with its time in seconds from the beginning. Leaving some of them
out gives a smaller plan that runs as well: this is how a failure is shrunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

HEALED = 30.0
"""Seconds after which nothing goes wrong any more."""


class Work(NamedTuple):
    """A job to be offered: what its handler does, and how it is stored."""

    does: tuple[Any, ...]
    priority: int = 0
    delay: float = 0.0
    timeout: float | None = None
    deadline: float | None = None
    max_attempts: int = 3
    given_id: bool = False


class Event(NamedTuple):
    """Something that happens at a time, to a client or a node (by number) or to all."""

    at: float
    what: str
    whom: int | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __str__(self) -> str:
        whom = "" if self.whom is None else f" {self.whom}"
        facts = "".join(f" {name}={fact!r}" for name, fact in self.facts.items())
        return f"{self.at:7.3f}  {self.what}{whom}{facts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a seed decides before the run."""

    seed: int
    nodes: int
    workers: int
    knows_what_ran: bool
    """Whether the store is like SQLite; else like PostgreSQL."""
    lease: float
    fine: bool
    """Whether threads are overtaken between any two statements."""
    restless: float
    walls: tuple[float, ...]
    """By how much the wall clocks of the nodes, then of the clients, are wrong."""
    events: tuple[Event, ...] = field(default=())


CLIENTS = 2
_Deed = Callable[[Random], tuple[Any, ...]]


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"plan {seed}")
    nodes = random.choice((1, 2, 2, 3))
    like_sqlite = random.random() < 0.4
    skews = (0.0, 0.0, random.uniform(-7200, 7200), random.choice((-3600.0, 3600.0)))
    return Plan(
        seed=seed,
        nodes=nodes,
        workers=random.choice((1, 2, 3)),
        knows_what_ran=like_sqlite,
        lease=math.inf if like_sqlite else random.choice((4.0, 6.0, 10.0)),
        fine=random.random() < 0.3,
        restless=random.choice((0.02, 0.1, 0.3)),
        walls=tuple(random.choice(skews) for _ in range(nodes + CLIENTS)),
        events=tuple(
            sorted([*_requests(random, nodes), *_faults(random, nodes)], key=lambda e: e.at)
        ),
    )


# What is asked -----------------------------------------------------------------------------------


def _requests(random: Random, nodes: int) -> list[Event]:
    events = []
    deeds = _DEEDS
    if random.random() < 0.5:  # rare things meet more often where there are few kinds of them
        deeds = tuple(random.sample(_DEEDS, random.randint(2, 4)))
    for _ in range(random.randint(4, 12)):
        batch = [_work(random, deeds) for _ in range(random.choice((1, 1, 2, 3, 8)))]
        events.append(
            Event(_time(random), "enqueue", random.randrange(CLIENTS), {"jobs": tuple(batch)})
        )
    for what in ("cancel", "run_now"):
        events += [
            Event(_time(random), what, random.randrange(CLIENTS), {"nth": random.randrange(40)})
            for _ in range(random.choice((0, 0, 1, 3)))
        ]
    if random.random() < 0.2:
        events.append(Event(_time(random), "requeue", random.randrange(CLIENTS)))
    return events


def _work(random: Random, deeds: Sequence[_Deed]) -> Work:
    does = random.choice(deeds)(random)
    return Work(
        does,
        priority=random.choice((0, 0, 0, 5, -5)),
        delay=random.choice((0.0, 0.0, 0.0, random.uniform(0, 12))),
        timeout=random.choice((0.5, 1.0)) if does[0] == "overrun" else None,
        deadline=random.choice((0.5, 5.0)) if random.random() < 0.08 else None,
        given_id=random.random() < 0.4,
    )


def _seconds(random: Random) -> float:
    return round(random.choice((0.002, 0.02, 0.2, random.uniform(0, 2.5))), 3)


_DEEDS: tuple[_Deed, ...] = (
    *[lambda random: ("take", _seconds(random))] * 5,
    *[lambda random: ("effect", _seconds(random))] * 2,
    lambda random: ("fail", _seconds(random), random.randint(1, 4)),
    lambda random: ("snooze", random.randint(1, 2), random.choice((0.0, 0.5, 3.0))),
    lambda random: ("retry", random.randint(1, 4), random.choice((0.0, 0.5, 3.0))),
    lambda random: ("give up",),
    lambda random: (
        "overrun",
        random.choice(("asks", "feels", "deaf")),
        random.choice((0.6, 1.1, 4.0, 40.0)) * random.uniform(0.7, 1.3),
    ),
    lambda random: ("poison",) if random.random() < 0.5 else ("take", 0.1),
    lambda random: ("enqueue", random.randint(1, 3)),
)


# What goes wrong ---------------------------------------------------------------------------------


def _faults(random: Random, nodes: int) -> list[Event]:
    kinds = random.sample(sorted(_FAULTS), random.randint(0, 4))
    return [
        Event(_time(random), kind, *_FAULTS[kind](random, nodes))
        for kind in kinds
        for _ in range(random.choice((1, 1, 2, 4, 10)))
    ]


_Faulty = tuple[int | None, dict[str, Any]]


def _long(random: Random) -> float:
    return round(random.choice((0.05, 1.0, 5.0, 13.0)) * random.uniform(0.5, 1.5), 3)


def _node(random: Random, nodes: int) -> int:
    return random.randrange(nodes)


_FAULTS: dict[str, Callable[[Random, int], _Faulty]] = {
    "crash": lambda r, n: (_node(r, n), {"back": round(r.uniform(0.1, 3.0), 3)}),
    "stop": lambda r, n: (
        _node(r, n),
        {"grace": r.choice((0.0, 0.5, 5.0)), "back": round(r.uniform(0.1, 3.0), 3)},
    ),
    "pause": lambda r, n: (_node(r, n), {"lasts": _long(r)}),
    "outage": lambda r, n: (None, {"lasts": _long(r)}),
    "cut off": lambda r, n: (_node(r, n + CLIENTS), {"lasts": _long(r)}),
    "slow": lambda r, n: (None, {"lasts": _long(r), "by": r.choice((0.05, 0.3, 1.0))}),
    "cut": lambda r, n: (
        _node(r, n + CLIENTS),
        {"how": r.choice(("refused", "undone", "unanswered", "recovered"))},
    ),
    "lose hints": lambda r, n: (_node(r, n), {"lasts": _long(r)}),
    "delay hints": lambda r, n: (_node(r, n), {"lasts": _long(r), "by": r.uniform(0.1, 5.0)}),
    "double hints": lambda r, n: (_node(r, n), {"lasts": _long(r)}),
    "set clock": lambda r, n: (_node(r, n), {"by": r.choice((-3600.0, -1.0, 1.0, 3600.0))}),
}


def _time(random: Random) -> float:
    return round(random.uniform(0.0, HEALED - 5.0), 3)
