"""Several nodes on one PostgreSQL and one Redis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.lab import ClusterLab
from fastsched import Scheduler


@pytest.fixture
def cluster() -> Iterator[Callable[..., Scheduler]]:
    """Makes schedulers, one for each node, stopped after the test: name it after the servers."""
    made: list[Scheduler] = []

    def make(store_url: str, redis: str | None = None, **options: Any) -> Scheduler:
        made.append(Scheduler(store_url, redis=redis, **{"workers": 2, **options}))
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.stop(0.0)


@pytest.fixture
def make_lab(tmp_path: Path) -> Iterator[Callable[..., ClusterLab]]:
    """Makes the laboratory of a test: `make_lab(url, redis=..., lease=...)`."""
    made: list[ClusterLab] = []

    def make(url: str, **settings: float | str) -> ClusterLab:
        made.append(ClusterLab(tmp_path, url, **settings))
        return made[-1]

    yield make
    for lab in made:
        lab.close()


@pytest.fixture
def dice() -> random.Random:
    """Random numbers that follow from the seed in the header of the test run."""
    return random.Random(random.random())
