"""A job that this process holds, and has lost, is given back."""

from __future__ import annotations

import pytest
from builders import until
from clocks import PATIENCE

from fastsched import State, node


@pytest.fixture
def ran():
    return []


@pytest.fixture
def drop(scheduler, ran):
    """Has the started scheduler claim a job and drop it, as a dying thread would; its handle."""
    note = scheduler.job(kind="note")(ran.append)

    def drop():
        handle = note.options(delay=0.5).enqueue("dropped")  # claimed ahead of time
        until(lambda: scheduler._engine.node.backlog.remove(handle.id) is not None)
        return handle

    return drop


def test_a_job_that_is_held_and_is_nowhere_runs_after_all(scheduler, drop, ran, monkeypatch):
    monkeypatch.setattr(node, "STRAY_FOR", 0.0)
    with scheduler:
        handle = drop()
        scheduler._engine.node._reconcile()
        assert handle.wait(PATIENCE) is State.DONE
    assert ran == ["dropped"]
    stats = scheduler.store_stats()
    assert stats.done == stats.accepted == 1


def test_a_job_that_is_nowhere_for_a_moment_is_left_alone(scheduler, drop, ran):
    with scheduler:
        handle = drop()
        for _ in range(3):
            scheduler._engine.node._reconcile()
        assert handle.state() is State.CLAIMED
    assert handle.state() in (State.SCHEDULED, State.READY)  # the node has left
    assert ran == []
