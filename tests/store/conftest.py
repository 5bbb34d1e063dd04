"""One suite for every store: a test that takes `lab` runs once on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .lab import Lab, SqliteBase

BASES = {"sqlite": SqliteBase}


@pytest.fixture(params=BASES)
def lab(request, tmp_path) -> Iterator[Lab]:
    lab = Lab(BASES[request.param](tmp_path))
    yield lab
    lab.check_conservation()
    lab.close()


@pytest.fixture
def node(lab) -> str:
    """The id of a registered node."""
    return lab.node()
