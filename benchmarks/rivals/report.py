"""From rounds to tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rivals.entries import Entry
from rivals.rounds import Round


@dataclass(slots=True, kw_only=True)
class Result:
    """What an entry came to in a run; `why` when it did not take part to the end."""

    entry: Entry
    rounds: list[Round] = field(default_factory=list)
    version: str = ""
    settings: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One figure: a number for each round, and whether more of it is better."""

    title: str
    of: Callable[[Round], float]
    more_is_better: bool = True

    def median(self, result: Result) -> float:
        return statistics.median(map(self.of, result.rounds))

    def ratio(self, ours: Result, theirs: Result) -> float:
        """How many times better ours is: the median over the rounds, each against its own."""
        pairs = zip(ours.rounds, theirs.rounds, strict=False)
        return statistics.median(
            self.of(a) / self.of(b) if self.more_is_better else self.of(b) / self.of(a)
            for a, b in pairs
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the others do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


COLUMNS = (
    Column("bulk enqueue, jobs/s", lambda r: r.bulk),
    Column("drain, jobs/s", lambda r: r.drain),
    Column("enqueue and run, jobs/s", lambda r: r.through),
    Column("single enqueue, jobs/s", lambda r: r.single),
    Column("start p50, ms", lambda r: percentile(r.latencies, 0.5) * 1e3, False),
    Column("start p99, ms", lambda r: percentile(r.latencies, 0.99) * 1e3, False),
)


def tables(results: Sequence[Result]) -> str:
    """Three tables in Markdown: figures, ratios, settings; then who is missing."""
    present = [result for result in results if result.rounds and not result.why]
    parts = [_figures(present)]
    if any(result.entry.ours for result in present):
        parts.append(_ratios(present))
    parts.append(_settings(present))
    missing = [f"* **{_title(r.entry)}** is missing: {r.why}." for r in results if r.why]
    if missing:
        parts.append("\n".join(missing))
    return "\n\n".join(parts)


def _figures(results: Sequence[Result]) -> str:
    head = ["", "kept in", *(column.title for column in COLUMNS)]
    rows = [
        [r.entry.name, r.entry.store, *(_number(column.median(r)) for column in COLUMNS)]
        for r in results
    ]
    return _table(head, rows)


def _ratios(results: Sequence[Result]) -> str:
    head = ["times as good as", "ours", *(column.title.partition(",")[0] for column in COLUMNS)]
    rows = []
    for theirs in results:
        ours = None if theirs.entry.ours else opponent(theirs.entry, results)
        if ours is not None:
            ratios = [column.ratio(ours, theirs) for column in COLUMNS]
            rows.append([_title(theirs.entry), _title(ours.entry), *map(_ratio, ratios)])
    return _table(head, rows)


def opponent(entry: Entry, results: Sequence[Result]) -> Result | None:
    """Which of ours an entry is held against: on its own database; for Redis, with Redis."""
    wanted = "PostgreSQL and Redis" if entry.store == "Redis" else entry.store
    ours = [result for result in results if result.entry.ours]
    return next((result for result in ours if result.entry.store == wanted), None)


def _settings(results: Sequence[Result]) -> str:
    rows = [
        [r.entry.name, r.entry.store, r.version, r.settings, f"{r.entry.jobs:,}"] for r in results
    ]
    return _table(["", "kept in", "version", "settings", "jobs"], rows)


def _title(entry: Entry) -> str:
    return f"{entry.name} ({entry.store})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(value: float) -> str:
    """Losses stand out."""
    text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    text = "<0.01" if value < 0.005 else text
    return text if value >= 1 else f"**{text}**"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
