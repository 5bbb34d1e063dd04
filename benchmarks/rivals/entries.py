"""Who takes part."""

from __future__ import annotations

from dataclasses import dataclass

NEEDS: dict[str, tuple[str, ...]] = {
    "fastsched": (),
    "procrastinate": ("procrastinate", "psycopg[binary]"),
    "pgqueuer": ("pgqueuer[asyncpg]", "uvloop"),
    "oban": ("oban",),
    "huey": ("huey", "redis[hiredis]", "psycopg[binary]"),
    "saq": ("saq[postgres,redis,hiredis]", "psycopg[binary,pool]"),
    "arq": ("arq",),
    "celery": ("celery[redis]", "hiredis"),
    "dramatiq": ("dramatiq[redis]", "hiredis"),
    "rq": ("rq", "hiredis"),
}
"""What pip installs for each library; nothing for ours, which is measured where the runner runs."""

OLDEST_PYTHON = {"oban": (3, 12)}
"""What a library needs, if more than we do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One library on one store."""

    name: str
    library: str
    """Its module in `rivals.libraries`."""
    store: str
    """PostgreSQL, SQLite, Redis, or "PostgreSQL and Redis"."""
    jobs: int
    """In the backlog, and again at once: few for the slow, so that a run stays short."""
    singles: int = 500

    @property
    def ours(self) -> bool:
        return self.library == "fastsched"

    @property
    def needs(self) -> tuple[str, ...]:
        return NEEDS[self.library]

    @property
    def python(self) -> tuple[int, int]:
        """The oldest that it runs on."""
        return OLDEST_PYTHON.get(self.library, (3, 11))


BOTH = "PostgreSQL and Redis"
ENTRIES = (
    Entry(name="fastsched", library="fastsched", store="PostgreSQL", jobs=20_000, singles=800),
    Entry(name="fastsched", library="fastsched", store=BOTH, jobs=20_000, singles=800),
    Entry(name="Procrastinate", library="procrastinate", store="PostgreSQL", jobs=800, singles=300),
    Entry(name="PgQueuer", library="pgqueuer", store="PostgreSQL", jobs=10_000),
    Entry(name="Oban", library="oban", store="PostgreSQL", jobs=5_000),
    Entry(name="Huey", library="huey", store="PostgreSQL", jobs=1_000, singles=300),
    Entry(name="SAQ", library="saq", store="PostgreSQL", jobs=1_000, singles=300),
    Entry(name="SAQ", library="saq", store="Redis", jobs=3_000),
    Entry(name="arq", library="arq", store="Redis", jobs=2_000),
    Entry(name="Celery", library="celery", store="Redis", jobs=2_000),
    Entry(name="Dramatiq", library="dramatiq", store="Redis", jobs=5_000),
    Entry(name="RQ", library="rq", store="Redis", jobs=1_000, singles=300),
    Entry(name="Huey", library="huey", store="Redis", jobs=5_000),
    Entry(name="fastsched", library="fastsched", store="SQLite", jobs=20_000, singles=800),
    Entry(name="Huey", library="huey", store="SQLite", jobs=2_000),
)
