"""Callers and handlers of asyncio programs, on every store."""

from __future__ import annotations

import pytest

from fastsched import Scheduler


@pytest.fixture
def scheduler(make) -> Scheduler:
    """A scheduler on each store; not started."""
    scheduler: Scheduler = make()
    return scheduler
