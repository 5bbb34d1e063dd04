"""One entry, once: what is measured, and how."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from fastsched.servers import PrivatePostgres, PrivateRedis
from rivals.board import Board
from rivals.entries import Entry
from rivals.environments import Unavailable

PATIENCE = 60.0
"""Seconds for any one step."""
TRICKLED = 150
"""Jobs enqueued one by one, 10 to 30 ms apart, for the latency."""
FIRST = 20
"""Of those, so many are not counted: connections are made, plans are cached."""
HERE = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of one entry came to."""

    single: float
    """Jobs a second by one `enqueue` after another, in one thread, nobody working."""
    bulk: float
    """Jobs a second by `enqueue_many`, nobody working."""
    drain: float
    """Jobs a second from the first start to an empty store, the backlog being there before."""
    through: float
    """Jobs a second from before the first enqueue to an empty store, an idle worker waiting."""
    latencies: tuple[float, ...]
    """Seconds from before `enqueue` here to the first line of the job there."""


class Servers:
    """The PostgreSQL and the Redis of a run."""

    def __init__(self, postgres: PrivatePostgres, redis_: PrivateRedis) -> None:
        self.postgres = postgres
        self.redis = redis_

    @contextmanager
    def place(self, entry: Entry) -> Iterator[dict[str, str]]:
        """A fresh database, an empty Redis and an empty folder, as a program is told of them."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()
        url = self.postgres.create_database("rivals")
        try:
            with tempfile.TemporaryDirectory(prefix="rivals-") as folder:
                yield {
                    "RIVALS_POSTGRES": url,
                    "RIVALS_REDIS": self.redis.url,
                    "RIVALS_FOLDER": folder,
                    "RIVALS_STORE": entry.store,
                    "RIVALS_BOARD": str(Path(folder, "board")),
                }
        finally:
            self.postgres.drop_database("rivals")


def run(entry: Entry, python: Path, servers: Servers, scale: float) -> tuple[Round, str]:
    """Measure it once; the round, and its settings. Raises `Unavailable` when it does not run."""
    jobs, singles = max(int(entry.jobs * scale), 20), max(int(entry.singles * scale), 20)
    trickled = max(int(TRICKLED * min(scale, 1.0)), 10) + FIRST
    with servers.place(entry) as place, contextlib.ExitStack() as stack:
        board = Board(Path(place["RIVALS_BOARD"]), size=singles + 2 * jobs + trickled)
        program = stack.enter_context(_Program(entry, python, place))
        settings = program.ask("set up")["settings"]
        single = singles / program.ask("singles", first=0, count=singles)
        began, ended = program.ask("bulk", first=singles, count=jobs)
        bulk = jobs / (ended - began)
        if entry.store.startswith("PostgreSQL"):
            with psycopg.connect(place["RIVALS_POSTGRES"], autocommit=True) as db:
                db.execute("VACUUM ANALYZE")  # as autovacuum would have, given a minute

        worker = stack.enter_context(_Worker(entry, python, place))
        backlog = singles + jobs
        emptied = _emptied(board, 0, backlog, program, worker)
        drain = (backlog - 1) / (emptied - min(board.starts[:backlog]))

        began, _ = program.ask("bulk", first=backlog, count=jobs)
        through = jobs / (_emptied(board, backlog, jobs, program, worker) - began)

        first = backlog + jobs
        sent = program.ask("trickle", first=first, count=trickled)
        _emptied(board, first, trickled, program, worker)
        starts = board.starts[first : first + trickled]
        late = tuple(a - b for a, b in zip(starts, sent, strict=True))[FIRST:]
        return (
            Round(single=single, bulk=bulk, drain=drain, through=through, latencies=late),
            settings,
        )


def _emptied(board: Board, first: int, count: int, program: _Program, worker: _Worker) -> float:
    """When all of these have started and the store has nothing left."""
    if not board.wait(first, count, PATIENCE, worker.alive):
        cause = f"in {PATIENCE:.0f} s" if worker.alive() else "before the worker ended"
        missing = f"{board.missing(first, count):,} of {count:,} jobs"
        raise Unavailable(f"{missing} did not start {cause}{worker.last_words()}")
    end = time.monotonic() + PATIENCE
    while (asked := time.monotonic()) < end:
        if not program.ask("left"):
            return asked
        time.sleep(0.002)
    raise Unavailable(f"jobs that have run were still in the store after {PATIENCE:.0f} s")


class _Process:
    """A program of a library, in its environment, with what it says on its standard error."""

    role: str

    def __init__(self, entry: Entry, python: Path, place: dict[str, str]) -> None:
        self.entry = entry
        self.said = Path(place["RIVALS_FOLDER"], f"{self.role}.log")
        with self.said.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "-m", "rivals.program", entry.library, self.role],
                env=os.environ | place | {"PYTHONPATH": str(HERE)},
                cwd=HERE,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # so that its children can be ended with it
            )

    def alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        lines = self.said.read_text(errors="replace").strip().splitlines()
        return f"; it said: {lines[-1].strip().rstrip('.')}" if lines else ""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        # At once: all is measured, and its store goes next.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class _Program(_Process):
    """The one that enqueues."""

    role = "enqueue"

    def ask(self, order: str, **how: Any) -> Any:
        """Have it do something, and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": order, **how}) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise Unavailable(f"its program ended at {order!r}" + self.last_words())
        return json.loads(answer)


class _Worker(_Process):
    """The one that works."""

    role = "work"
