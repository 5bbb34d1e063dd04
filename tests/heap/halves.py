"""The two halves of the heap, by name."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

HALVES = {"cython": "fastsched._heap", "python": "fastsched._heap_py"}


def load(half: str) -> ModuleType:
    """The module of a half. Missing, it is a skip on a desk and a failure in CI."""
    try:
        return importlib.import_module(HALVES[half])
    except ImportError as error:
        text = f"the {half} half of the heap cannot be loaded: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
