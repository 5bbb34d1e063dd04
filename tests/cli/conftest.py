"""A store with some jobs in it, and the command line pointed at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.processes import Worker
from fastsched import JobHandle, Scheduler
from fastsched.cli import commands


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def run(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command on the store, as if it were named in the environment."""
    monkeypatch.setenv("FASTSCHED_URL", store_url)
    return lambda *args, **kwargs: CliRunner().invoke(commands, list(args), **kwargs)


@pytest.fixture
def run_json(run: Callable[..., Result]) -> Callable[..., Any]:
    """The same with ``--json``; the value printed."""

    def call(*args: str) -> Any:
        result = run(*args, "--json")
        assert result.exit_code in (0, 1), result.output
        return json.loads(result.stdout)

    return call


class Jobs:
    """Jobs of two kinds in the store: `good` ones work, `bad` ones fail at once for good."""

    def __init__(self, url: str) -> None:
        self.scheduler = Scheduler(url, workers=2)
        self.good = self.scheduler.job(kind="good")(_good)
        self.bad = self.scheduler.job(kind="bad", max_attempts=1)(_bad)

    def dead(self, text: str = "no luck") -> str:
        """The id of a new dead letter."""
        handle = self.bad.enqueue(text)
        with self.scheduler:
            handle.wait(timeout=30)
        return handle.id

    def ready(self) -> JobHandle:
        return self.good.enqueue(1)

    def scheduled(self) -> JobHandle:
        return self.good.options(delay=3600).enqueue(1)

    def state(self, job_id: str) -> str:
        return str(self.scheduler.state(job_id))


def _good(number: int) -> None:
    pass


def _bad(text: str) -> None:
    raise ValueError(text)


@pytest.fixture
def jobs(store_url: str) -> Iterator[Jobs]:
    made = Jobs(store_url)
    yield made
    made.scheduler.stop()


@pytest.fixture
def worker(tmp_path: Path, store_url: str) -> Iterator[Callable[..., Worker]]:
    """Start ``fastsched worker`` as a process; it is gone when the test is over."""
    started: list[Worker] = []

    def start(*args: str) -> Worker:
        started.append(Worker(tmp_path, store_url, args))
        return started[-1]

    yield start
    for each in started:
        each.close()
