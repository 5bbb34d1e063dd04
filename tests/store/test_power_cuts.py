"""The machine goes down with everything on it: that is nobody's crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastsched import State
from fastsched.stores import presence

from .lab import Lab, SqliteBase


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(SqliteBase(tmp_path))
    yield lab
    lab.close()


@pytest.mark.parametrize("same_boot", [True, False])
def test_only_what_died_since_the_machine_was_started_is_charged(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, same_boot: bool
) -> None:
    with monkeypatch.context() as patch:
        if not same_boot:
            patch.setattr(presence, "_boot_id", lambda: b"the boot before")
        doomed = lab.mortal_node()
    job = lab.claimed(doomed)
    lab.presences[doomed].enter(0, job)
    lab.kill(doomed)
    rescued = lab.store.rescue(3)
    assert (list(rescued.nodes), rescued.released) == ([doomed], 1)
    assert list(rescued.charged) == ([job.id] if same_boot else [])
    assert lab.job(job.id).crashes == int(same_boot)
    assert lab.state(job.id) is State.READY
