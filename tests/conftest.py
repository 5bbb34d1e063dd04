"""For all suites: schedulers that are always stopped, a clock of one's own, no thread left over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clocks import PATIENCE, ManualClock

from fastsched import Scheduler

pytest_plugins = ["servers.fixtures"]


def pytest_configure() -> None:
    """A shell that runs the tests in the background has them ignore SIGINT, and their children."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """After every test: what the scheduler started has ended."""
    before = set(threading.enumerate())
    yield
    started = [t for t in threading.enumerate() if t not in before]
    ours = [t for t in started if t.name.startswith("fastsched-")]
    for thread in ours:
        thread.join(PATIENCE)
    left = [thread.name for thread in ours if thread.is_alive()]
    assert not left, f"threads left running: {left}"


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTSCHED_URL", raising=False)
    monkeypatch.delenv("FASTSCHED_REDIS_URL", raising=False)


@pytest.fixture
def make_scheduler(tmp_path: Path) -> Iterator[Callable[..., Scheduler]]:
    """Makes schedulers on one SQLite file of the test; they are stopped after it."""
    made: list[Scheduler] = []

    def make(store_url: str | None = None, **options: Any) -> Scheduler:
        scheduler = Scheduler(store_url or f"sqlite:///{tmp_path}/jobs.db", **options)
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        scheduler.stop(0.0)


@pytest.fixture
def scheduler(make_scheduler: Callable[..., Scheduler]) -> Scheduler:
    """A scheduler on a SQLite file; not started."""
    return make_scheduler(workers=2)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request, tmp_path) -> str:
    """A store of the test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    url: str = request.getfixturevalue("pg_url")
    return url


@pytest.fixture
def make(store_url) -> Iterator[Callable[..., Scheduler]]:
    """Makes schedulers on that store; they are stopped after the test."""
    made: list[Scheduler] = []

    def make(**options: Any) -> Scheduler:
        made.append(Scheduler(store_url, **{"workers": 2, **options}))
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.stop(0.0)
