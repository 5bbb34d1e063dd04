"""The heap in use: the compiled one, or the pure-Python one where that cannot be loaded.

`FASTSCHED_HEAP=cython` or `FASTSCHED_HEAP=python` forces one; a forced one that cannot be loaded is
an `ImportError`.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Literal

from fastsched._heap_py import Entry, Id

__all__ = ["IMPLEMENTATION", "REASON", "Entry", "Id", "IndexedHeap"]

IMPLEMENTATION: Literal["cython", "python"]
REASON: str  # why this one, for people

_forced = os.environ.get("FASTSCHED_HEAP", "")
if _forced not in ("", "cython", "python"):
    raise ValueError(
        f"FASTSCHED_HEAP must be 'cython' or 'python', or not be set; it is {_forced!r}"
    )

if _forced == "python":
    IMPLEMENTATION = "python"
    REASON = "FASTSCHED_HEAP=python"
else:
    try:
        from fastsched import _heap
    except ImportError as error:
        _cure = (
            "reinstall with a C compiler at hand: "
            "FASTSCHED_REQUIRE_EXT=1 pip install --force-reinstall --no-binary fastsched fastsched"
        )
        if _forced:
            raise ImportError(
                f"FASTSCHED_HEAP=cython, but the compiled heap cannot be loaded ({error}); "
                f"{_cure}, or unset FASTSCHED_HEAP"
            ) from error
        IMPLEMENTATION = "python"
        REASON = f"the compiled heap cannot be loaded: {error}"
        warnings.warn(
            "fastsched runs on its pure-Python heap, which is much slower: the compiled one "
            f"cannot be loaded ({error}). To cure this, {_cure}; "
            "to accept it, set FASTSCHED_HEAP=python",
            RuntimeWarning,
            stacklevel=2,
        )
    else:
        IMPLEMENTATION = "cython"
        REASON = "FASTSCHED_HEAP=cython" if _forced else "the compiled heap loads"

if TYPE_CHECKING or IMPLEMENTATION == "python":
    from fastsched._heap_py import IndexedHeap
else:
    IndexedHeap = _heap.IndexedHeap
