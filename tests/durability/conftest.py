"""A laboratory for each test."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from durability.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def dice() -> random.Random:
    """Random numbers that follow from the seed in the header of the test run."""
    return random.Random(random.random())
