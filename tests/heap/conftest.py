"""Both halves of the heap, as a fixture: a test that takes `Heap` runs once on each."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from .halves import HALVES, load

settings.register_profile(
    "heap",
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("heap-thorough", parent=settings.get_profile("heap"), max_examples=3000)
settings.load_profile(os.environ.get("FASTSCHED_HYPOTHESIS_PROFILE", "heap"))


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    load(name)
    return name


@pytest.fixture
def Heap(half: str) -> Any:
    return load(half).IndexedHeap


@pytest.fixture
def both() -> tuple[Any, Any]:
    """The classes of the compiled and of the pure-Python half."""
    return load("cython").IndexedHeap, load("python").IndexedHeap
