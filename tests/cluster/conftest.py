"""Several nodes on one PostgreSQL and one Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
